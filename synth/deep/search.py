"""Deep programs of a job: fronts, and for each unit the cheapest that passes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
    from synth.job import Job


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
        answer = partial(_answer, job, reach, evidence)
        choice, answers = _picked(evidence, fronts, job.criteria.max_fvu, answer)
        yield DeepPrograms(reach, choice, answers, fronts, tuple(failures))


def _picked(
    evidence: LayerEvidence,
    fronts: Sequence[Sequence[Candidate]],
    max_fvu: float,
    answer: Callable[[int, Node], Answer | None],
) -> tuple[LayerChoice, tuple[Answer | None, ...]]:
    """The cheapest candidate of each front whose FVU passes and that its `answer` does not refute,
    of those that read no sibling: units over a bank are no bank that a network has."""
    layer, units, answers = evidence.layer, [], []
    for channel, front in enumerate(fronts):
        able = (c for c in front if not references(c.program, layer.name))
        passing = sorted((c for c in able if error_of(c) <= max_fvu), key=lambda c: c.bits)
        answered = ((c, answer(channel, c.program)) for c in passing)
        best, said = next((pair for pair in answered if not _is_refuted(pair[1])), (None, None))
        units.append(
            opaque_unit(channel, layer.scope) if best is None else _unit(channel, best, layer.width)
        )
        answers.append(said)
    return LayerChoice(layer, layer.scope, tuple(units)), tuple(answers)


def _is_refuted(answer: Answer | None) -> bool:
    return answer is not None and isinstance(answer.verdict, Refuted)


def _answer(
    job: "Job", reach: Reach, evidence: LayerEvidence, channel: int, program: Node
) -> Answer | None:
    """What is so of a program at all inputs; None where they may be any, or where its unit is
    not of a layer."""
    if job.discrete is None or reach.target not in job.network.nodes:
        return None
    epsilon = epsilon_of(evidence.ranges, channel, job.criteria.max_error)
    return deep_answer(job.discrete, reach, channel, program, epsilon)


def _unit(channel: int, best: Candidate, columns: int) -> UnitChoice:
    short = is_short(best.program, best.bits, columns)
    status = Status.PROGRAM if short else Status.ROUNDED
    return UnitChoice(
        channel, status, best.program, best.bits, best.fvu_select, best.fvu_select, best.engine
    )
