"""Programs that were written by hand, beside those of the engines: measured anew, and tried."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grammars.parser import parse_program
from grammars.program import Node
from synth.by_hand.edits import HAND
from synth.engine import UnitEvidence
from synth.evidence import LayerEvidence
from synth.families.kin import Kin
from synth.fronts import Candidate, judge

if TYPE_CHECKING:
    from synth.job import Job

Units = tuple[tuple[Candidate, ...], ...]


class Hand:
    """The engine of programs that a person wrote: they stay as they are."""

    name = HAND

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Sequence[Node]:
        return ()

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        return None


def with_hand(job: "Job", evidence: LayerEvidence, fronts: Sequence[Sequence[Candidate]]) -> Units:
    """The fronts of a layer with what was written for its units.

    Where such programs are to come first, they stand alone in the front of a unit if any holds.
    """
    found = []
    for channel, front in enumerate(fronts):
        own = _measured(job, evidence, channel)
        if own and _first(job):
            epsilon = job.criteria.epsilon(evidence.ranges)[channel]
            held = tuple(c for c in own if job.criteria.hold(c, epsilon))
            found.append(held or tuple(front))
        else:
            found.append((*front, *own))
    return tuple(found)


def without_hand(job: "Job", units: Units, family: Kin) -> Kin:
    """A family without the units whose written programs come first."""
    if not _first(job):
        return family
    written = {c for c, front in enumerate(units) if front and all(k.engine == HAND for k in front)}
    return {channel: () if channel in written else own for channel, own in family.items()}


def _first(job: "Job") -> bool:
    return job.asked is not None and job.asked.hand_first


def _measured(job: "Job", evidence: LayerEvidence, channel: int) -> tuple[Candidate, ...]:
    """The written programs of a unit, whatever their file says of them."""
    texts = job.hand.get(f"{evidence.layer.name}[{channel}]", ())
    if not texts:
        return ()
    programs = [parse_program(text, job.records.names, job.grammar) for text in texts]
    unit = UnitEvidence(evidence, channel, job.grammar)
    return tuple(judge(unit, programs, [HAND] * len(programs)))
