"""LeNet-1 and LeNet-5 on MNIST at 3, 5, 8 and 15 % of their bits, against three baselines.

`make bench NAME=lenets` prints the tables and writes results/lenets.json and a picture for each
network; it exits 1 where a bar is missed. `--data FOLDER` holds data/mnist.npz and
nets/mnist_lenet1.safetensors, nets/mnist_lenet5.safetensors.

Programs are fitted and chosen on 10,000 training images; the 10,000 test images only judge. One
search gives the fronts of a network; a point is the choice of least KL on select within its bits.
Neither ε nor a unit's own FVU decides, as nothing like them holds the baselines: over the box of
all inputs, a claim of a quarter of a range costs a unit of 784 weights a fifth of its bits, however
little its FVU needs, and a unit on which little depends may be far from itself. What is proved of
each point all the same, and the FVUs in situ, are in its row.

Baselines are curves, as `benchmarks/baseline_curves.py` says.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.baseline_curves import EVERY, Measured, at, compared, curves  # noqa: E402
from benchmarks.networks import lenets  # noqa: E402  (the repository is not a package)
from benchmarks.plot import Line, save_plot  # noqa: E402
from benchmarks.report import RESULTS, Report  # noqa: E402
from oracles.claims import Proved  # noqa: E402
from synth.assembly import original_bits, source_bits  # noqa: E402
from synth.backends import connected  # noqa: E402
from synth.choice import Point  # noqa: E402
from synth.config import load_config  # noqa: E402
from synth.job import Job, load_job  # noqa: E402
from synth.leftovers import working  # noqa: E402
from synth.multiplier import search_bits  # noqa: E402
from synth.prepared import Prepared, prepared  # noqa: E402
from synth.proofs import settled  # noqa: E402
from synth.stopwatch import Stopwatch  # noqa: E402
from synth.store import Store  # noqa: E402
from synth.summary import coverage, validated  # noqa: E402
from synth.threads import numeric_threads  # noqa: E402

NETWORKS = ("lenet1", "lenet5")
SHARES = (0.03, 0.05, 0.08, 0.15)
# agreement of two prototypes that chose supports and dyadic weights, by their share of bits
PROTOTYPES = {"lenet1": ((0.035, 0.981), (0.053, 0.989), (0.072, 0.991))}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared")
    options.add_argument("--only", choices=NETWORKS)
    given = options.parse_args()
    names = NETWORKS if given.only is None else (given.only,)
    missing = [str(f) for n in names for f in lenets.files(given.data, n) if not f.is_file()]
    if missing:
        options.error(f"{missing[0]} is missing: --data names the folder that holds data/, nets/")
    report = Report("lenets", given.seed)
    for name in names:
        with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
            job = lenet_job(Path(folder), name, given.data, given.jobs, given.seed)
            _network(report, name, job)
    return report.finish()


def lenet_job(folder: Path, name: str, data: Path, jobs: int, seed: int) -> Job:
    """A run of a LeNet that accepts whatever there is, into a folder."""
    config = lenets.case(folder, data, name)
    given = {"run.out": str(folder / "run"), "run.jobs": jobs, "run.seed": seed}
    return load_job(load_config(config, given))


def _network(report: Report, name: str, job: Job) -> None:
    out, watch = job.config.out, Stopwatch()
    threads = numeric_threads(job.config.run.jobs)
    with working(out), connected(job.workers), Store(out) as store, threads:
        with prepared(job, job.network, store, watch) as found:
            with watch.stage("choice"):
                points = _points(job, found)
            ours = [
                _row(report, name, job, found, *pair) for pair in zip(SHARES, points, strict=True)
            ]
        report.rows.append({"network": name, "seconds": watch.seconds})
        measured = curves(job, EVERY)
    for what, curve in measured.items():
        for rival in curve:
            report.rows.append({"network": f"{name}, {what} at {rival.share:.1%}"} | vars(rival))
        report.checks += compared(name, ours, what, curve)
    for share, agreement in PROTOTYPES.get(name, ()):
        mine = at(ours, share)
        what = f"{name}: agreement at {share:.1%} of the bits, against a prototype"
        report.check(what, mine.agreement, f">= {agreement}", mine.agreement >= agreement)
    lines = [_line("programs", ours), *(_line(what, curve) for what, curve in measured.items())]
    save_plot(RESULTS / f"{name}.svg", f"{name}: KL in nats by share of bits", lines)


def _points(job: Job, found: Prepared) -> list[Point]:
    """The choice of least KL within each share of the bits."""
    known = lru_cache(maxsize=None)(found.chooser.at)
    original = original_bits(job.network.layers)
    return [search_bits(known, int(share * original))[-1] for share in SHARES]


def _row(
    report: Report, name: str, job: Job, found: Prepared, share: float, point: Point
) -> Measured:
    """Prove a point's programs, judge them on the test images, and add its row."""
    choices, proofs = settled(
        point.choices,
        found.ranges,
        job.grammar,
        max_error=lenets.MAX_ERROR,
        jobs=job.config.run.jobs,
    )
    held_out = validated(job, choices, found.ranges)
    bits = source_bits(choices, job.grammar) / original_bits(job.network.layers)
    proved = [p for p in proofs if isinstance(p.verdict, Proved)]
    ratios = [p.bound_over_std for p in proved if p.bound_over_std is not None]
    row = {
        "bits_share": bits,
        **{k: getattr(held_out, k) for k in ("agreement", "kl_mean", "accuracy_change")},
        "accuracy_change_interval": held_out.accuracy_change_interval,
        "verdict": held_out.verdict,
        **{k: v for k, v in coverage(choices).items() if k != "coverage_weights"},
        "proved": len(proved),
        "bound_over_std": float(np.median(ratios)) if ratios else None,
        "fvu_in_situ": held_out.fvu_in_situ.median,
    }
    label = f"{name} at {share:.0%} of the bits"
    report.rows.append({"network": label} | row)
    report.check(f"{label}: share of bits", bits, f"<= {share}", bits <= share)
    opaque = row["units"]["opaque"]
    report.check(f"{label}: opaque units", opaque, "0", opaque == 0)
    return Measured(bits, held_out.kl_mean, held_out.agreement, held_out.accuracy_replaced)


def _line(name: str, curve: Sequence[Measured]) -> Line:
    return Line(name, tuple(m.share for m in curve), tuple(m.kl for m in curve))


if __name__ == "__main__":
    sys.exit(main())
