"""Which of some points is best: none is, that another one has fewer bits than at no more KL."""

from collections.abc import Sequence

from synth.choice import Point
from synth.picking import Criteria

SAME = 2.5e-3  # of the bits of programs: as little between two points is not worth a walk


def best_of(points: Sequence[Point], criteria: Criteria) -> Point:
    """The point that the criteria choose."""
    if criteria.most_bits is None:
        return fewest_bits(points, criteria)
    return least_kl(points, criteria.most_bits)


def fewest_bits(points: Sequence[Point], criteria: Criteria) -> Point:
    """That of the fewest bits that select accepts; the least KL where it accepts none."""
    accepted = [p for p in points if p.accepted(criteria)]
    return min(accepted, key=_by_bits) if accepted else min(points, key=_by_kl)


def least_kl(points: Sequence[Point], bits: int) -> Point:
    """That of the least KL of those of at most `bits`; the fewest bits where none has so few."""
    few = [p for p in points if p.bits <= bits]
    return min(few, key=_by_kl) if few else min(points, key=_by_bits)


def _by_bits(point: Point) -> tuple[float, float]:
    return point.bits, point.kl


def _by_kl(point: Point) -> tuple[float, float]:
    return point.kl, point.bits
