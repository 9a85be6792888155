"""Deep programs of a job: fronts, and for each unit the cheapest that passes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from grammars.program import Node
from grammars.siblings import references
from oracles.claims import Refuted
from oracles.discrete import Answer
from synth.assembly import LayerChoice, Status, UnitChoice, opaque_unit
from synth.beside import fronts_beside
from synth.deep.evidence import deep_evidence
from synth.deep.reach import Reach
from synth.discrete.claims import deep_answer
from synth.evidence import LayerEvidence
from synth.fronts import Candidate, error_of, is_short
from synth.progress import Tell
from synth.proofs import epsilon_of
from synth.search import UnitFailure
from synth.store import DEEP_FRONT, Store

if TYPE_CHECKING:
    from synth.run import Job


@dataclass(frozen=True, eq=False)
class DeepPrograms:
    """What stands for each unit of a layer over an earlier bank.

    A unit is opaque if no candidate passes. Of the others something is proved where inputs are of
    few values (`answers`, unit by unit); over a box no oracle bounds their difference from a chain
    of layers yet. `fronts` are all candidates.
    """

    reach: Reach
    choice: LayerChoice
    answers: tuple[Answer | None, ...]
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
        picked = [_picked(job, reach, evidence, c, front) for c, front in enumerate(fronts)]
        layer = evidence.layer
        choice = LayerChoice(layer, layer.scope, tuple(unit for unit, _ in picked))
        answers = tuple(answer for _, answer in picked)
        yield DeepPrograms(reach, choice, answers, fronts, tuple(failures))


def _picked(
    job: "Job", reach: Reach, evidence: LayerEvidence, channel: int, front: Sequence[Candidate]
) -> tuple[UnitChoice, Answer | None]:
    """The cheapest candidate of a front whose FVU passes and that is not refuted, of those that
    read no sibling: units over a bank are no bank that a network has."""
    layer = evidence.layer
    able = (c for c in front if not references(c.program, layer.name))
    passing = (c for c in able if error_of(c) <= job.criteria.max_fvu)
    epsilon = epsilon_of(evidence.ranges, channel, job.criteria.max_error)
    for candidate in sorted(passing, key=lambda c: c.bits):
        answer = _answer(job, reach, channel, candidate.program, epsilon)
        if answer is None or not isinstance(answer.verdict, Refuted):
            return _unit(channel, candidate, layer.width), answer
    return opaque_unit(channel, layer.scope), None


def _answer(
    job: "Job", reach: Reach, channel: int, program: Node, epsilon: Fraction
) -> Answer | None:
    """What is so of a program at all inputs; None where they may be any."""
    if job.discrete is None:
        return None
    return deep_answer(job.discrete, reach, channel, program, epsilon)


def _unit(channel: int, best: Candidate, columns: int) -> UnitChoice:
    short = is_short(best.program, best.bits, columns)
    status = Status.PROGRAM if short else Status.ROUNDED
    return UnitChoice(
        channel, status, best.program, best.bits, best.fvu_select, best.fvu_select, best.engine
    )
