"""What a run costs: in units, in probes, and for GoogLeNet at 224 × 224.

`make bench NAME=scaling` writes results/scaling.json and results/scaling.svg; it exits 1 where a
bar is missed. About an hour on two cores, most of it GoogLeNet; `--only growth` leaves that out.

Networks have random weights. For the growth in units a hidden layer has 10 to 1,000 of them, each
of 64 weights, and a fixed mean makes the answers of them; in probes, 300 to 30,000 are given to a
convolutional network. GoogLeNet sees images of 1/f noise, as photographs have; its batch norms are
set on them, so that activations keep their size through its 22 layers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.memory import Peak  # noqa: E402  (the repository is not a package)
from benchmarks.plot import Line, save_plot  # noqa: E402
from benchmarks.report import RESULTS, Report  # noqa: E402

UNITS = (10, 30, 100, 300, 1000)
PROBES = (300, 1000, 3000, 10_000, 30_000)
LARGEST_EXPONENT = 1.1
MINUTES, GIGABYTES = 60, 8
IMAGES = 500
HEAD = f"import sys\nfrom functools import partial\nsys.path.insert(0, {str(ROOT)!r})\n"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--only", choices=("growth", "googlenet"))
    given = options.parse_args()
    report, lines = Report("scaling", given.seed), []
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        folder = Path(name)
        if given.only != "googlenet":
            lines.append(_growth(report, folder, "units", UNITS, given.jobs))
            lines.append(_growth(report, folder, "probes", PROBES, given.jobs))
            save_plot(RESULTS / "scaling.svg", "seconds of a run", lines)
        if given.only != "growth":
            _googlenet(report, folder / "googlenet", given.jobs)
    return report.finish()


def _growth(report: Report, folder: Path, what: str, sizes: Sequence[int], jobs: int) -> Line:
    """Runs of growing size; the slope of log seconds over log size, as a whole and at the end."""
    seconds = []
    for size in sizes:
        case = f"""
            from benchmarks.networks import growth
            both = growth.network, growth.inputs
            network, inputs = (partial(f, {what!r}, {size}) for f in both)
        """
        row = _run(folder / f"{what}_{size}", case, jobs)
        seconds.append(row["seconds"])
        report.rows.append({"network": f"{size} {what}"} | row)
    logs = np.log(sizes), np.log(seconds)
    whole = float(np.polyfit(*logs, 1)[0])
    last = float((logs[1][-1] - logs[1][-3]) / (logs[0][-1] - logs[0][-3]))
    for name, value in (("", whole), (", last decade", last)):
        bar = f"<= {LARGEST_EXPONENT}"
        report.check(f"exponent in {what}{name}", value, bar, value <= LARGEST_EXPONENT)
    return Line(what, tuple(map(float, sizes)), tuple(seconds))


def _googlenet(report: Report, out: Path, jobs: int) -> None:
    case = f"""
        from benchmarks.networks import googlenet
        network, inputs = googlenet.network, partial(googlenet.images, {IMAGES}, 0)
    """
    few = "[search]\npatches_per_weight = 0.2\n"  # of its last layer, with one patch an image
    row = _run(out, case, jobs, few)
    report.rows.append({"network": "GoogLeNet, 224 x 224, random weights"} | row)
    minutes, memory = row["seconds"] / 60, row["peak_gib"] * 2**30 / 1e9
    report.check("GoogLeNet: minutes", minutes, f"<= {MINUTES}", minutes <= MINUTES)
    report.check("GoogLeNet: gigabytes", memory, f"<= {GIGABYTES}", memory <= GIGABYTES)


def _run(out: Path, case: str, jobs: int, more: str = "") -> dict[str, Any]:
    """One `synth run`, as a user starts it: seconds, memory of all its processes, and figures.

    `case` is Python that makes `network` and `inputs`. No controls: they are runs of their own.
    """
    config, factory = out.with_suffix(".toml"), out.with_suffix(".py")
    factory.write_text(HEAD + textwrap.dedent(case), encoding="utf-8")
    config.write_text(
        f'[network]\nfactory = "{factory.name}:network"\n'
        f'[probes]\ninputs = "{factory.name}:inputs"\n[run]\ncontrols = []\n{more}',
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "synth", "run", str(config)]
    command += ["--out", str(out), "--jobs", str(jobs)]
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        peak = Peak.of(process)
    seconds = time.perf_counter() - start
    if process.returncode not in (0, 1):
        raise SystemExit(f"synth run ended with {process.returncode}")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    timing = json.loads((out / "timing.json").read_text(encoding="utf-8"))
    figures = {k: summary[k] for k in ("units", "bits_share", "agreement", "proved", "unknown")}
    return (
        {"seconds": round(seconds, 1), "peak_gib": round(peak / 2**30, 2)}
        | figures
        | {"stages": timing["seconds"]}
    )


if __name__ == "__main__":
    sys.exit(main())
