"""Deep programs of a job: fronts, and for each unit the cheapest that passes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from grammars.siblings import references
from synth.assembly import LayerChoice, Status, UnitChoice, opaque_unit
from synth.beside import fronts_beside
from synth.deep.evidence import deep_evidence
from synth.deep.reach import Reach
from synth.evidence import LayerEvidence
from synth.fronts import Candidate, error_of, is_short
from synth.progress import Tell
from synth.search import UnitFailure
from synth.store import DEEP_FRONT, Store

if TYPE_CHECKING:
    from synth.run import Job


@dataclass(frozen=True, eq=False)
class DeepPrograms:
    """What stands for each unit of a layer over an earlier bank.

    A unit is opaque if no candidate's FVU passes; nothing is proved of the others, whose difference
    from a chain of layers no oracle bounds yet. `fronts` are all candidates, unit by unit.
    """

    reach: Reach
    choice: LayerChoice
    fronts: tuple[tuple[Candidate, ...], ...]
    failures: tuple[UnitFailure, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every unit has a program, so that the layers between may go."""
        return all(unit.program is not None for unit in self.choice.units)


def search_deep(job: "Job", store: Store, *, progress: Tell) -> Iterator[DeepPrograms]:
    """Deep programs of all layers of a job that ask for some; what `store` holds is not done
    again."""
    for reach in job.deep:
        evidence = deep_evidence(reach, job.probes, seed=job.config.run.seed)
        failures: list[UnitFailure] = []
        told = partial(progress, f"{reach.of.name} from {reach.source}")
        fronts = fronts_beside(job, evidence, store, DEEP_FRONT, failures, told)
        choice = _picked(evidence, fronts, job.criteria.max_fvu)
        yield DeepPrograms(reach, choice, fronts, tuple(failures))


def _picked(
    evidence: LayerEvidence, fronts: Sequence[Sequence[Candidate]], max_fvu: float
) -> LayerChoice:
    """The cheapest candidate of each front whose FVU passes, of those that read no sibling: units
    over a bank are no bank that a network has."""
    layer = evidence.layer
    units = []
    for channel, front in enumerate(fronts):
        able = (c for c in front if not references(c.program, layer.name))
        passing = (c for c in able if error_of(c) <= max_fvu)
        best = min(passing, key=lambda c: c.bits, default=None)
        units.append(
            opaque_unit(channel, layer.scope) if best is None else _unit(channel, best, layer.width)
        )
    return LayerChoice(layer, layer.scope, tuple(units))


def _unit(channel: int, best: Candidate, columns: int) -> UnitChoice:
    short = is_short(best.program, best.bits, columns)
    status = Status.PROGRAM if short else Status.ROUNDED
    return UnitChoice(
        channel, status, best.program, best.bits, best.fvu_select, best.fvu_select, best.engine
    )
