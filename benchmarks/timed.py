"""One `synth run` of a benchmark, as a user starts it: what it takes, and what it gives."""

import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import Peak

ROOT = Path(__file__).parent.parent
HEAD = f"import sys\nfrom functools import partial\nsys.path.insert(0, {str(ROOT)!r})\n"


def command_of(config: Path, out: Path, jobs: int, *more: str) -> list[str]:
    """`synth run`, as a user types it."""
    return synth("run", str(config), "--out", str(out), "--jobs", str(jobs), *more)


def synth(*words: str) -> list[str]:
    """A command of synth by this Python."""
    return [sys.executable, "-m", "synth", *words]


def cost_of(config: Path, out: Path, jobs: int, *more: str) -> tuple[float, float]:
    """Seconds of one `synth run`, and GiB of all its processes together at the most. SystemExit
    where it is not finished."""
    start = time.perf_counter()
    command = command_of(config, out, jobs, *more)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        peak = Peak.of(process)
    if process.returncode not in (0, 1):
        raise SystemExit(f"synth run ended with {process.returncode}")
    return time.perf_counter() - start, peak / 2**30


def minutes_of(config: Path, out: Path, jobs: int, seed: int) -> float:
    """The same of a configuration that is there, in minutes."""
    return cost_of(config, out, jobs, "--seed", str(seed))[0] / 60


def timed_run(out: Path, case: str, jobs: int, more: str = "") -> dict[str, Any]:
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
    seconds, peak = cost_of(config, out, jobs)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    timing = json.loads((out / "timing.json").read_text(encoding="utf-8"))
    figures = {k: summary[k] for k in ("units", "bits_share", "agreement", "proved", "unknown")}
    return (
        {"seconds": round(seconds, 1), "peak_gib": round(peak, 2)}
        | figures
        | {"stages": timing["seconds"]}
    )
