"""Fewer bits beside the best point, where bits do not grow with the multiplier.

Where little is paid for a nat, layers are so rough that units behind them find no program that
passes, or only a longer one. A search that no divergence stops ends there, though dearer points
have fewer bits and lose less. Walks are spent where there is a sign of that: a cheaper point that
has more bits, units that keep their weights though they need not at the next point above, or a wide
range of which nothing is known where all is accepted.
"""

import math
from collections.abc import Callable, Sequence

from synth.choice import Point
from synth.picking import Criteria
from synth.preference import SAME, fewest_bits

LOOKS = 6  # walks, at most
APART = math.log(2)  # of two multipliers: between nearer ones little changes
UNKNOWN = math.log(150)  # between neighbours: of so wide a range too little is known

Pair = tuple[Point, Point]


def beside_best(
    at: Callable[[float], Point], points: Sequence[Point], criteria: Criteria, *, most: int
) -> list[Point]:
    """The points, and more in the middle, in logs, between the best and its neighbours: up to
    `most` in all, as long as there is a sign of fewer bits there."""
    found = [*points]
    for _ in range(min(LOOKS, most - len(points))):
        sides = [pair for pair in _sides(found, criteria) if _width(pair) > APART]
        if not sides:
            break
        below, above = max(sides, key=_width)
        found.append(at(math.sqrt(below.multiplier * above.multiplier)))
    return found


def _sides(points: Sequence[Point], criteria: Criteria) -> list[Pair]:
    """The best point with those neighbours towards which fewer bits may lie."""
    best, ordered = fewest_bits(points, criteria), sorted(points, key=lambda p: p.multiplier)
    if not best.accepted(criteria):
        return []
    place, least = ordered.index(best), SAME * best.spoken
    below = [(p, best) for p in ordered[max(place - 1, 0) : place]]
    above = [(best, p) for p in ordered[place + 1 : place + 2]]
    if any(p.bits > best.bits + least for p, _ in below):
        return [*(pair for pair in below if pair[0].accepted(criteria)), *above]
    whole = all(p.accepted(criteria) for p in points)
    return [
        pair
        for pair in above
        if best.kept > pair[1].kept + least or (whole and _width(pair) > UNKNOWN)
    ]


def _width(pair: Pair) -> float:
    below, above = pair
    return math.log(above.multiplier / below.multiplier)
