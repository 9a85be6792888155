"""Which of many roundings of a wide unit are worth a closer look: few, and far enough apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grammars.coding import row_cost
from synth.dead_zone import Roundings
from synth.evidence import LayerEvidence
from synth.metric import own_constants

APART = 1.15  # each is dearer than the last but one by this factor in bits
ALIKE = 1.03  # an advantage by less than this factor is none


@dataclass(frozen=True, eq=False)
class Rated:
    """K roundings, and of each (K,) about its `bits`, what it `loses` on probes, and the `reach` of
    its error: the largest of the pre-activation in the envelope."""

    found: Roundings
    bits: np.ndarray
    loses: np.ndarray
    reach: np.ndarray


def rated(evidence: LayerEvidence, channel: int, found: Roundings, loses: np.ndarray) -> Rated:
    """Roundings of unit `channel` that lose so much, with the rest of what is to be known."""
    part, ranges = evidence.layer.part(channel), evidence.ranges
    error = found.constants - own_constants(evidence, channel)
    low, high = (side[part].astype(np.float64) for side in (ranges.lower, ranges.upper))
    middle = error[:, :-1] @ (low + high) / 2 + error[:, -1]
    reach = np.abs(error[:, :-1]) @ (high - low) / 2 + np.abs(middle)
    return Rated(found, np.array([row_cost(row) for row in found.integers]), loses, reach)


def thinned(all_: Rated, places: Sequence[int]) -> list[int]:
    """Those of some roundings that lose less than all cheaper ones, cheapest first and apart."""
    bits, loses = all_.bits, all_.loses
    chosen: list[int] = []
    for i in sorted(places, key=lambda i: (bits[i], loses[i])):
        if chosen and loses[i] >= loses[chosen[-1]]:
            continue
        if len(chosen) > 1 and bits[i] < APART * bits[chosen[-2]]:
            chosen.pop()
        chosen.append(i)
    return chosen


def unlike(all_: Rated, places: Sequence[int], known: Sequence[int]) -> list[int]:
    """Those of some roundings to which no `known` one is alike: about as cheap and as good."""
    rows = list(known)
    figures = np.stack([all_.bits, all_.loses, all_.reach])
    return [i for i in places if not (figures[:, rows] <= ALIKE * figures[:, [i]]).all(0).any()]
