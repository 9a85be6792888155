"""What each engine finds for units of two networks, how often Operon fails, how fast we enumerate.

`make bench NAME=engines` prints the table and writes results/engines.json; it exits 1 where a bar
is missed. `--data FOLDER` holds data/mnist.npz and nets/mnist_lenet1.safetensors. `--only
throughput` writes results/engines_throughput.json in half a minute.

Of each layer some units, evenly spread, are searched by all engines, dear ones too, whatever the
cheap ones find. An engine has *improved* a unit if a program of its own is on the unit's front, and
*shortened* it if the shortest program that passes is its own. Units are searched side by side, each
in one thread.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.lenets import lenet_job  # noqa: E402  (the repository is not a package)
from benchmarks.report import Report  # noqa: E402
from grammars.program import tap  # noqa: E402
from synth.config import load_config  # noqa: E402
from synth.engine import UnitEvidence  # noqa: E402
from synth.evidence import LayerEvidence, gather  # noqa: E402
from synth.formulas.library import SAMPLES, Library  # noqa: E402
from synth.formulas.samples import Samples  # noqa: E402
from synth.fronts import error_of  # noqa: E402
from synth.job import Job, load_job  # noqa: E402
from synth.schedule import EngineTally, SearchedUnit, search_unit  # noqa: E402
from synth.search import GrammarSpec, SearchSettings  # noqa: E402

GRAMMAR = GrammarSpec(tags=("core", "formula"))
ENGINES = ("linear", "template", "enumeration", "operon")
BUDGET, MAX_FVU = 1000, 0.05
UNITS = 8  # of each layer
ALWAYS = -1.0  # no program has an error below it: dear engines are asked for every unit
INPUTS, TRIED = 8, 1_000_000  # of the formulas whose enumeration is timed
PER_SECOND = 1_000_000


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared")
    options.add_argument("--only", choices=("throughput",))
    given = options.parse_args()
    name = f"engines_{given.only}" if given.only else "engines"
    report, tally = Report(name, given.seed), EngineTally()
    _throughput(report, given.jobs)
    if given.only:
        return report.finish()
    with tempfile.TemporaryDirectory(prefix="engines-") as name:
        for network, job in _jobs(Path(name), given.data, given.jobs, given.seed).items():
            _network(report, network, job, tally, given.jobs, given.seed)
    asked, stopped = (tally.rows["operon"][key] for key in ("asked", "stopped"))
    rate = sum(stopped.values()) / asked
    report.check("fits of Operon that failed", rate, "reported", True)
    return report.finish()


def _jobs(folder: Path, data: Path, jobs: int, seed: int) -> dict[str, Job]:
    digits = {"run.out": str(folder / "digits"), "run.jobs": jobs, "run.seed": seed}
    return {
        "digits_mlp100": load_job(load_config(ROOT / "examples/digits_mlp100.toml", digits)),
        "mnist_lenet1": lenet_job(folder, "lenet1", data, jobs, seed),
    }


def _network(report: Report, name: str, job: Job, total: EngineTally, jobs: int, seed: int) -> None:
    """Some units of each layer, and a row for each engine."""
    tally, shortened, units = EngineTally(), Counter[str](), 0
    for evidence in gather(job.network, job.probes, seed=seed):
        chosen = _spread(evidence.layer.units)
        searched: Sequence[Any] = Parallel(n_jobs=jobs)(
            delayed(_unit)(evidence, c, seed) for c in chosen
        )  # type: ignore[assignment]
        for unit in searched:
            tally.add(unit)
            total.add(unit)
            if (engine := _shortest(unit)) is not None:
                shortened[engine] += 1
            units += 1
    for engine, row in tally.rows.items():
        report.rows.append(
            {
                "network": f"{name}, {engine}",
                "units": units,
                "improved_share": round(row["improved"] / units, 3),
                "shortened_share": round(shortened[engine] / units, 3),
                "seconds_a_unit": round(tally.seconds[engine] / units, 2),
                **{key: row[key] for key in ("proposed", "points", "stopped")},
            }
        )


def _spread(units: int) -> list[int]:
    return np.unique(np.linspace(0, units - 1, UNITS).round().astype(int)).tolist()


def _unit(evidence: LayerEvidence, channel: int, seed: int) -> SearchedUnit:
    torch.set_num_threads(1)
    grammar = GRAMMAR.load()
    engines = SearchSettings(GRAMMAR, ENGINES).load()
    unit = UnitEvidence(evidence, channel, grammar)
    return search_unit(unit, engines, budget=BUDGET, seed=seed, max_fvu=ALWAYS)


def _shortest(unit: SearchedUnit) -> str | None:
    """The engine of the shortest program that passes, of those alike in bits the cheapest one."""
    passing = [c for c in unit.front if error_of(c) <= MAX_FVU]
    best = min(passing, key=lambda c: (c.bits, ENGINES.index(c.engine)), default=None)
    return None if best is None else best.engine


def _throughput(report: Report, jobs: int) -> None:
    """Formulas that are tried in a second, by a process on each core."""
    Parallel(n_jobs=jobs)(delayed(_enumerated)(10_000) for _ in range(jobs))  # they start
    start = time.perf_counter()
    tried: Sequence[Any] = Parallel(n_jobs=jobs)(delayed(_enumerated)(TRIED) for _ in range(jobs))  # type: ignore[assignment]
    rate = round(sum(tried) / (time.perf_counter() - start))
    bar = f">= {PER_SECOND:,} on two cores"
    report.check("formulas tried in a second", rate, bar, rate >= PER_SECOND)


def _enumerated(budget: int) -> int:
    torch.set_num_threads(1)
    grammar = GRAMMAR.load()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(INPUTS, SAMPLES, generator=generator, dtype=torch.float64)
    target = inputs[0] * inputs[1] + torch.cos(inputs[2])
    taps = tuple(tap("x", i) for i in range(INPUTS))
    return Library(Samples(inputs, target, taps, grammar), budget).tried


if __name__ == "__main__":
    sys.exit(main())
