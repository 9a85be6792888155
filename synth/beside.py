"""Fronts of units that are searched beside a network's own: directions, and deep programs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from synth.evidence import LayerEvidence
from synth.fronts import Candidate
from synth.search import UnitFailure, search_layer
from synth.store import Store

if TYPE_CHECKING:
    from synth.job import Job


def fronts_beside(
    job: "Job",
    evidence: LayerEvidence,
    store: Store,
    kind: str,
    failures: list[UnitFailure],
    told: Callable[[int, int], None],
) -> tuple[tuple[Candidate, ...], ...]:
    """The front of each unit, kept in `store` under `kind`; `told` hears how many are there."""
    units, found = evidence.layer.units, dict[int, tuple[Candidate, ...]]()
    told(0, units)
    how = {"workers": job.workers, "kind": kind, "failures": failures, "only_known": job.known}
    for channel, unit in search_layer(evidence, job.settings, store, job.records, **how):
        found[channel] = unit.front
        told(len(found), units)
    return tuple(found[c] for c in range(units))
