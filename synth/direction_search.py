"""Programs for the directions of a job: fronts, for each the cheapest that passes, and proofs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from synth.assembly import LayerChoice
from synth.beside import fronts_beside
from synth.directions import Directions, gather_directions, why_not
from synth.evidence import LayerEvidence, Ranges
from synth.fronts import Candidate
from synth.picking import Fronts, Picker
from synth.progress import Tell
from synth.proofs import UnitProof, settled
from synth.search import UnitFailure
from synth.store import DIRECTION_FRONT, Store

if TYPE_CHECKING:
    from synth.job import Job

PRICELESS = 1e300  # nats: no direction is ablated, whatever the answers depend on
TIGHTER, STEPS = 4.0, 8  # each stricter choice allows so much less FVU than the one before


@dataclass(frozen=True, eq=False)
class DirectionPrograms:
    """What stands for each direction of a bank, with proofs in order.

    A direction is `opaque` if no candidate passes, as one of the `failures` has none. `stricter`
    are choices of less and less FVU, for the bank's replacement; without an inverse there are none.
    """

    directions: Directions
    choice: LayerChoice
    ranges: Ranges
    proofs: tuple[UnitProof, ...]
    failures: tuple[UnitFailure, ...]
    stricter: tuple[LayerChoice, ...]


def search_directions(job: "Job", store: Store, *, progress: Tell) -> Iterator[DirectionPrograms]:
    """Programs for all directions of a job, bank by bank; what `store` holds is not done again."""
    seed = job.config.run.seed
    for directions, evidence in gather_directions(
        job.network, job.probes, job.directions, seed=seed
    ):
        failures: list[UnitFailure] = []
        told = partial(progress, f"directions of {directions.key}")
        fronts = fronts_beside(job, evidence, store, DIRECTION_FRONT, failures, told)
        picked = _picked(job, evidence, fronts, job.criteria.max_fvu)
        ranges = {evidence.layer.name: evidence.ranges}
        max_error = job.criteria.max_error
        (choice,), proofs = settled([picked], ranges, job.grammar, max_error=max_error)
        steps = range(1, STEPS) if why_not(directions) is None else ()
        bars = (job.criteria.max_fvu * TIGHTER**-i for i in steps)
        stricter = tuple(_picked(job, evidence, fronts, bar) for bar in bars)
        found = tuple(proofs), tuple(failures), stricter
        yield DirectionPrograms(directions, choice, evidence.ranges, *found)


def _picked(
    job: "Job",
    evidence: LayerEvidence,
    fronts: tuple[tuple[Candidate, ...], ...],
    max_fvu: float,
) -> LayerChoice:
    """The cheapest candidate of each front whose FVUs and bound pass, on original sources."""
    costs = tuple(np.full(len(front), PRICELESS) for front in fronts)
    priced = Fronts(evidence.layer, fronts, costs, joins=False)
    criteria = replace(job.criteria, max_fvu=max_fvu)
    return Picker(priced, evidence, None, criteria, job.grammar, {}).choice(0.0)
