"""Which of many roundings of a wide unit are worth a closer look: few, and far enough apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from grammars.coding import row_costs
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

    @property
    def figures(self) -> np.ndarray:
        """(3, K): all that is known, the less the better."""
        return np.stack([self.bits, self.loses, self.reach])


def rated(evidence: LayerEvidence, channel: int, found: Roundings, loses: np.ndarray) -> Rated:
    """Roundings of unit `channel` that lose so much, with the rest of what is to be known."""
    part, ranges = evidence.layer.part(channel), evidence.ranges
    error = found.constants - own_constants(evidence, channel)
    low, high = (side[part].astype(np.float64) for side in (ranges.lower, ranges.upper))
    middle = error[:, :-1] @ (low + high) / 2 + error[:, -1]
    reach = np.abs(error[:, :-1]) @ (high - low) / 2 + np.abs(middle)
    return Rated(found, row_costs(found.integers), loses, reach)


def best_of(pools: Sequence[Rated]) -> Iterator[tuple[np.ndarray, float]]:
    """Constants (fan+1,) and step of the roundings that are worth a closer look: of each pool, if
    they are unlike those of the pools before."""
    known: list[np.ndarray] = []
    for pool in pools:
        places = [
            i for i in thinned(pool.bits, pool.loses) if not _alike(pool.figures[:, i], known)
        ]
        known += [pool.figures[:, i] for i in places]
        yield from ((pool.found.constants[i], float(pool.found.steps[i])) for i in places)


def thinned(bits: np.ndarray, loses: np.ndarray, apart: float = APART) -> list[int]:
    """Those of (K,) that lose less than all cheaper ones, cheapest first and apart."""
    chosen: list[int] = []
    for i in np.lexsort((loses, bits)).tolist():
        if chosen and loses[i] >= loses[chosen[-1]]:
            continue
        if len(chosen) > 1 and bits[i] < apart * bits[chosen[-2]]:
            chosen.pop()
        chosen.append(i)
    return chosen


def _alike(figures: np.ndarray, known: Sequence[np.ndarray]) -> bool:
    """Whether some known rounding is about as cheap and as good as one of these figures (3,)."""
    return bool(known) and bool((np.stack(known) <= ALIKE * figures).all(1).any())
