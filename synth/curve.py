"""The trade-off between bits and faithfulness as a curve of points among the fronts of a run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from synth.assembling import known_job
from synth.assembly import assemble
from synth.choice import Point
from synth.figures import finite
from synth.footprint import check_memory
from synth.leftovers import working
from synth.outputs import accuracy, reading_of, run_batches
from synth.points import kept_points
from synth.prepared import prepared
from synth.progress import Tell
from synth.spread import spread
from synth.stopwatch import Stopwatch
from synth.store import Store
from synth.summary import coverage
from synth.threads import numeric_threads

if TYPE_CHECKING:
    from pathlib import Path

    from synth.folder import Finished
    from synth.job import Job

Row = dict[str, Any]


def curve_of(
    run: "Finished",
    count: int,
    *,
    short: bool = False,
    config: "Path | None" = None,
    progress: Tell,
) -> Row:
    """What `curve.json` holds: so many points from the fewest bits to the most, and the run's own.

    The points stay in the run's store. Everything is measured on select, before programs are
    proved; held-out is not opened. Raises InputError as `known_job` does.
    """
    job = known_job(run, config)
    check_memory(job)
    criteria = replace(job.criteria, short=job.criteria.short or short)
    with working(run.folder), Store(run.folder) as store, numeric_threads(job.config.run.jobs):
        how = {"criteria": criteria, "progress": progress}
        with prepared(job, job.network, store, Stopwatch(), **how) as found:
            at = kept_points(job, found.chooser, store, progress)
            judged = _Judged(job, run.summary, at)
            own = _own(run) if criteria.short == job.criteria.short else None
            multipliers = {p.multiplier for p in spread(at, count)} | ({own} if own else set())
            rows = [judged.row(multiplier) for multiplier in sorted(multipliers)]
    figures = {"bits_original": run.summary["bits_original"], "accuracy_original": judged.accuracy}
    return finite({"short": criteria.short, **figures, "own": own, "points": rows})


@dataclass(frozen=True, eq=False)
class _Judged:
    """Points with what select says of them; `summary` is that of the run."""

    job: "Job"
    summary: Row
    at: Callable[[float], Point]

    def row(self, multiplier: float) -> Row:
        """The figures of one point, as `summary.json` counts them."""
        point, job, whole = self.at(multiplier), self.job, self.summary["bits_original"]
        bits = point.bits + self.summary["bits_opaque_nodes"]
        spoken = [c for c in point.choices if not c.is_opaque]
        outputs = self._outputs(assemble(job.network, spoken, job.grammar))
        return {
            "multiplier": multiplier,
            "bits": bits,
            "bits_share": bits / whole,
            "kl": point.kl,
            "agreement": point.agreement,
            "accuracy": self._accuracy(outputs),
            "short_coverage_units": coverage(point.choices)["short_coverage_units"],
        }

    @property
    def accuracy(self) -> float | None:
        """That of the original."""
        return self._accuracy(self._original)

    def _accuracy(self, outputs: Tensor) -> float | None:
        labels = self.job.parts.select.labels
        return None if labels is None else accuracy(outputs, labels, reading_of(self._original))

    @cached_property
    def _original(self) -> Tensor:
        return self._outputs(self.job.network.module)

    def _outputs(self, module: nn.Module) -> Tensor:
        """(N, K) on select."""
        return run_batches(module, self.job.parts.select.inputs, pick=self.job.network.judge)


def _own(run: "Finished") -> float | None:
    """The multiplier of a run's own choice."""
    points, kl = run.summary["operating_points"], run.summary["select"]["kl"]
    return next((p["multiplier"] for p in points if p["kl"] == kl), None)
