"""What a run costs in units and in probes: both grow about as the run does.

`make bench NAME=scaling` writes results/scaling.json and results/scaling.svg; it exits 1 where a
bar is missed. About a quarter of an hour on two cores.

Networks have random weights. For the growth in units a hidden layer has 10 to 1,000 of them, each
of 64 weights, and a fixed mean makes the answers of them; in probes, 300 to 30,000 are given to a
convolutional network. `benchmarks/googlenet.py` measures a large network as a whole.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.plot import Line, save_plot  # noqa: E402  (the repository is not a package)
from benchmarks.report import RESULTS, Report  # noqa: E402
from benchmarks.timed import timed_run  # noqa: E402

UNITS = (10, 30, 100, 300, 1000)
PROBES = (300, 1000, 3000, 10_000, 30_000)
LARGEST_EXPONENT = 1.1


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    given = options.parse_args()
    report = Report("scaling", given.seed)
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        sizes = {"units": UNITS, "probes": PROBES}
        lines = [_growth(report, Path(name), w, s, given.jobs) for w, s in sizes.items()]
        save_plot(RESULTS / "scaling.svg", "seconds of a run", lines)
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
        row = timed_run(folder / f"{what}_{size}", case, jobs)
        seconds.append(row["seconds"])
        report.rows.append({"network": f"{size} {what}"} | row)
    logs = np.log(sizes), np.log(seconds)
    whole = float(np.polyfit(*logs, 1)[0])
    last = float((logs[1][-1] - logs[1][-3]) / (logs[0][-1] - logs[0][-3]))
    for name, value in (("", whole), (", last decade", last)):
        bar = f"<= {LARGEST_EXPONENT}"
        report.check(f"exponent in {what}{name}", value, bar, value <= LARGEST_EXPONENT)
    return Line(what, tuple(map(float, sizes)), tuple(seconds))


if __name__ == "__main__":
    sys.exit(main())
