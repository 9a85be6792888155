"""Points over the whole trade-off between bits and faithfulness, and a choice from them.

Bits do not always grow with the multiplier: where little is paid for a nat, layers are so rough
that units behind them find no program that passes, and keep their weights. So a limit that is far
from what a run was chosen by is looked for on the whole curve, then beside the best point of it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from synth.choice import Point
from synth.multiplier import DEAREST, MULTIPLIERS, WIDTH
from synth.picking import Criteria
from synth.preference import best_of

POINTS = 12  # of a curve
BESIDE = 6  # points more, next to the best


At = Callable[[float], Point]


def spread(at: At, count: int) -> list[Point]:
    """`count` points, at least two, in the order of their multipliers: both ends, and again and
    again the middle, in logs, of the two neighbours whose bits are farthest apart.

    So no walk is spent where bits do not change any more. Programs are large, and left out: `at` is
    to know them.
    """
    points = [_lean(at(multiplier)) for multiplier in (MULTIPLIERS[0], DEAREST)]
    while len(points) < count:
        _put(points, at, *max(pairwise(points), key=_gap))
    return points


def search_curve(at: At, criteria: Criteria) -> tuple[Point, ...]:
    """Points of the whole curve and beside the best of them, the one that is chosen last."""
    points = spread(at, POINTS)
    for _ in range(BESIDE):
        sides = [pair for pair in _beside(points, criteria) if _width(pair) > WIDTH]
        if not sides:
            break
        _put(points, at, *max(sides, key=_width))
    best = best_of(points, criteria)
    return (*(p for p in points if p is not best), at(best.multiplier))


def _beside(points: Sequence[Point], criteria: Criteria) -> list[tuple[Point, Point]]:
    """The best point with the neighbours towards which a better one may lie."""
    best = best_of(points, criteria)
    below, above = ([pair for pair in pairwise(points) if pair[side] is best] for side in (1, 0))
    if criteria.most_bits is None:
        return below if best.accepted(criteria) else above
    return above if best.bits <= criteria.most_bits else [*below, *above]


def _put(points: list[Point], at: At, below: Point, above: Point) -> None:
    """A point more, in the middle between two."""
    points.append(_lean(at(math.sqrt(below.multiplier * above.multiplier))))
    points.sort(key=lambda point: point.multiplier)


def _lean(point: Point) -> Point:
    return replace(point, choices=())


def _gap(pair: tuple[Point, Point]) -> tuple[float, float]:
    """How far two neighbours are apart: in logs of bits, where a point between may divide them."""
    below, above = pair
    bits = abs(math.log(above.bits / below.bits))
    return (bits if _width(pair) > WIDTH else 0.0), _width(pair)


def _width(pair: tuple[Point, Point]) -> float:
    below, above = pair
    return math.log(above.multiplier / below.multiplier)
