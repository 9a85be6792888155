"""Planted equivariance: 8 orientations, 2 phases and 2 scales of a gabor among ten other units.

`make bench NAME=equivariance` writes results/equivariance.json; it exits 1 where a bar is missed.
The whole family is to be found, written as loops, at a quarter of the bits of the programs that the
same run chooses where no families are sought; as planted, and with kernels disturbed by 3 %.
"""

import argparse
import ast
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.networks import gabors  # noqa: E402  (the repository is not a package)
from benchmarks.report import Report  # noqa: E402
from benchmarks.timed import minutes_of  # noqa: E402
from synth.assembly import LayerChoice  # noqa: E402
from synth.chain import load_choices  # noqa: E402
from synth.config import load_config  # noqa: E402
from synth.job import Job, load_job  # noqa: E402
from synth.multiplier import search_multiplier  # noqa: E402
from synth.prepared import prepared  # noqa: E402
from synth.stopwatch import Stopwatch  # noqa: E402
from synth.store import Store  # noqa: E402
from synth.threads import numeric_threads  # noqa: E402

NOISES, IMAGES, SHARE = (0.0, 0.03), 400, 0.25
CASE = """
import sys
from functools import partial
sys.path.insert(0, {root!r})
from benchmarks.networks import gabors
network = partial(gabors.network, {noise}, {seed})
probes = partial(gabors.images, {images}, {seed})
"""
CONFIG = """
[network]
factory = "case.py:network"
[probes]
inputs = "case.py:probes"
[search]
layers = ["0"]
engines = ["kernel"]
tags = ["core", "kernel", "colour"]
max_error = 1.0
[run]
controls = []
"""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    given = options.parse_args()
    report = Report("equivariance", given.seed)
    for noise in NOISES:
        with tempfile.TemporaryDirectory(prefix="equivariance-") as folder:
            row = measure(Path(folder), noise, given.jobs, given.seed)
        name = f"disturbed by {noise:.0%}" if noise else "as planted"
        report.rows.append({"network": name} | row)
        found = f"{row['planted']} of {row['largest']}"
        whole = row["planted"] == row["largest"] == len(gabors.PLANTED)
        report.check(f"{name}: planted units in the largest family", found, "32 of 32", whole)
        report.check(f"{name}: loops", row["loops"], ">= 2", row["loops"] >= 2)
        share = row["share"]
        report.check(f"{name}: share of separate bits", share, f"<= {SHARE}", share <= SHARE)
    return report.finish()


def measure(folder: Path, noise: float, jobs: int, seed: int) -> dict[str, Any]:
    """A run on the network with this noise, and what became of its family."""
    case = CASE.format(root=str(ROOT), noise=noise, seed=seed, images=IMAGES)
    (folder / "case.py").write_text(case, encoding="utf-8")
    (folder / "case.toml").write_text(f"{CONFIG}seed = {seed}\n", encoding="utf-8")
    out = folder / "run"
    minutes_of(folder / "case.toml", out, jobs, seed)
    job = load_job(load_config(folder / "case.toml", {"run.out": str(out)}))
    choice = load_choices(job, out)[0]
    family = max(choice.families, key=len, default=())
    order = gabors.order(seed)
    together = sum(choice.units[c].bits for c in family)
    by_itself = _separate(job).units
    separate = sum(by_itself[c].bits for c in family)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return {
        "families": [len(f) for f in choice.families],
        "largest": len(family),
        "planted": sum(order[c] < len(gabors.PLANTED) for c in family),
        "loops": _loops((out / "decompiled.py").read_text(encoding="utf-8"), len(family)),
        "bits": together,
        "bits_separate": separate,
        "share": together / separate if separate else 1.0,
        "fvu": max((choice.units[c].fvu_local for c in family), default=None),
        **{k: summary[k] for k in ("agreement", "units", "proved", "bits_share")},
    }


def _separate(job: Job) -> LayerChoice:
    """What the run would choose of the same fronts without families."""
    watch = Stopwatch()
    with (
        numeric_threads(job.config.run.jobs),
        Store(job.config.out) as store,
        prepared(job, job.network, store, watch) as found,
    ):
        fronts = tuple(replace(f, kin=(), joins=False) for f in found.chooser.fronts)
        chooser = replace(found.chooser, fronts=fronts)
        return search_multiplier(chooser.at, job.criteria)[-1].choices[0]


def _loops(text: str, members: int) -> int:
    """Of the assignment to so many units, the loops that its right side runs through."""
    found = [0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.GeneratorExp):
            targets = node.targets[0]
            if isinstance(targets, ast.Tuple) and len(targets.elts) == members:
                found.append(len(node.value.generators))
    return max(found)


if __name__ == "__main__":
    sys.exit(main())
