"""The multiplier of a choice: bits per nat, searched for the fewest bits that select accepts.

Beyond what the dearest programs lose, the divergence of a choice falls about as one over its
multiplier: a bit more for a weight takes three quarters of what its rounding costs, so that at the
best exchange m each weight costs 1/(2 ln 2 · m) nats. Secants of log divergence over log multiplier
thus lead to the limit in few steps, each of which is a walk through the network. Divergence is a
staircase in small networks, and agreement may be what refuses: steps are held so near to the
middle of the bracket that at most two more are needed than by bisection (the projection of
the method ITP, Oliveira and Takahashi 2020).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from synth.choice import Point
from synth.picking import Criteria
from synth.preference import SAME, fewest_bits, least_kl
from synth.valley import beside_best

MULTIPLIERS = (1e1, 1e9)  # bits per nat between which the search runs,
DEAREST = 1e11  # and up to this where the bits are given
WIDTH = math.log(1.01)  # of the bracket of multipliers in the end, if nothing else ends the search
AIM = 0.995  # of the largest divergence: where steps are meant to lead,
NEAR = 0.99  # and from where on an accepted point leaves nothing to be gained
JUMP = 1.05  # of divergence between refused and accepted: it is a staircase, with steps up again,
STEP = 2 ** (1 / 12)  # of multipliers below the limit, of which some may then be accepted
TINY = 1e-9  # of the largest divergence: as good as none
LEAST = 1e-30  # nats that may be lost beyond the dearest point, even where that loses all there is
SLOPES = (-4.0, -0.2)  # of log divergence over log multiplier that are believed
FREE = 2  # steps that may go anywhere, before any must make up for those that gained little
MOST = 13  # points
NARROW = 0.05  # of a bracket: at least as much of it is left out
EXPECTED = 6  # points that are tried in a network of many units


def search_points(at: Callable[[float], Point], criteria: Criteria) -> tuple[Point, ...]:
    """Points at the multipliers that were tried, the one that the criteria choose last."""
    if criteria.most_bits is None:
        return search_multiplier(at, criteria)
    return search_bits(at, criteria.most_bits)


def search_multiplier(at: Callable[[float], Point], criteria: Criteria) -> tuple[Point, ...]:
    """Points at the multipliers that were tried, the chosen one last.

    The chosen point has the fewest bits of those that select accepts, or the least KL where it
    accepts none. Where bits do not grow with the multiplier it is looked for beside the best one.
    """
    search = _Search(criteria, [at(MULTIPLIERS[1])])
    while not search.ended:
        search.add(at(math.exp(search.next())))
    if search.is_staircase:
        limit, left = search.best.multiplier, MOST - len(search.points)
        search.points += [at(limit / STEP**i) for i in range(1, left + 1)]
    points = beside_best(at, search.points, criteria, most=MOST)
    return _last(points, fewest_bits(points, criteria))


def search_bits(at: Callable[[float], Point], bits: int) -> tuple[Point, ...]:
    """Points at the multipliers that were tried, the chosen one last: the least KL of those of at
    most `bits`.

    Where none has so few, the one of fewest bits. Both ends are tried first, because all that is
    known may have fewer bits; then false positions between them, where an end that stays twice
    counts half (the Illinois method, Dowell and Jarratt 1971). Bits may be fewer between the ends
    than at either, so two that are too many do not end it.
    """

    def over(point: Point) -> float:
        """How many bits there are too many; a little is left, so that they end below the limit."""
        return point.bits - bits + SAME / 2 * point.spoken

    points = [at(MULTIPLIERS[0]), at(DEAREST)]
    ends = [(math.log(p.multiplier), over(p)) for p in points]
    moved = -1
    while len(points) < MOST and ends[1][1] > 0 and not _few_apart(points, ends, bits):
        points.append(at(math.exp(_false_position(*ends))))
        before, moved = moved, int(over(points[-1]) > 0)
        ends[moved] = math.log(points[-1].multiplier), over(points[-1])
        if moved == before:
            place, value = ends[1 - moved]
            ends[1 - moved] = place, value / 2
    return _last(points, least_kl(points, bits))


def _last(points: Sequence[Point], chosen: Point) -> tuple[Point, ...]:
    return (*(p for p in points if p is not chosen), chosen)


def _few_apart(points: Sequence[Point], ends: Sequence[tuple[float, float]], bits: int) -> bool:
    """Whether a further point would bring next to nothing."""
    near = any(0 <= bits - p.bits <= SAME * p.spoken for p in points)
    return near or ends[1][0] - ends[0][0] <= WIDTH


def _false_position(low: tuple[float, float], high: tuple[float, float]) -> float:
    """Where a line through both ends is zero, not too near to them; the middle if it is nowhere."""
    (start, below), (end, above) = low, high
    share = below / (below - above) if below < 0 else 0.5
    return start + (end - start) * min(max(share, NARROW), 1 - NARROW)


@dataclass(eq=False)
class _Search:
    """All points so far, the dearest first, and the bracket in logs of multipliers.

    `high` is accepted, and `low` refused, or the least multiplier before anything is.
    """

    criteria: Criteria
    points: list[Point]
    low: float = math.log(MULTIPLIERS[0])
    high: float = math.log(MULTIPLIERS[1])
    refused: Point | None = None
    best: Point = field(init=False)

    def __post_init__(self) -> None:
        self.best = self.points[0]

    def add(self, point: Point) -> None:
        self.points.append(point)
        if point.accepted(self.criteria):
            self.high, self.best = math.log(point.multiplier), point
        else:
            self.low, self.refused = math.log(point.multiplier), point

    @property
    def ended(self) -> bool:
        """Whether nothing is accepted at all, or a further point would save next to nothing."""
        best = self.best
        if not best.accepted(self.criteria) or len(self.points) == MOST:
            return True
        same = self.refused is not None and best.bits - self.refused.bits <= SAME * best.spoken
        return same or self.high - self.low <= WIDTH or self._is_near

    @property
    def is_staircase(self) -> bool:
        """Whether the divergence jumps over its limit between refused and accepted."""
        refused, best = self.refused, self.best
        if refused is None or self._is_near:
            return False
        return refused.kl > max(JUMP * best.kl, self.criteria.max_kl)

    @property
    def _is_near(self) -> bool:
        return self._excess(self.best) >= math.log(NEAR / AIM)

    def next(self) -> float:
        """The log of the multiplier to try next: by a secant, if that is safe."""
        wanted = self._secant()
        if wanted <= self.low and self.refused is None:
            return self.low
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        whole = math.log(MULTIPLIERS[1] / MULTIPLIERS[0])
        allowed = whole * 2.0 ** (FREE - len(self.points)) - half
        free = min(max(allowed, 0.0), half - WIDTH / 2)
        return min(max(wanted, middle - free), middle + free)

    def _secant(self) -> float:
        """Where the line through the two points nearest to the limit meets what is aimed at.

        The dearest point, which others are measured from, is none of them.
        """
        latest = [*reversed(self.points[1:] or self.points)]
        known = sorted(latest, key=lambda p: abs(self._excess(p)))[:2]
        (x, y), *other = ((math.log(p.multiplier), self._excess(p)) for p in known)
        slope = -1.0
        for a, b in other:
            slope = min(max((b - y) / (a - x), SLOPES[0]), SLOPES[1])
        return x - y / slope

    def _excess(self, point: Point) -> float:
        """The log of the divergence beyond that of the dearest point, over what is aimed at."""
        floor = self.points[0].kl if len(self.points) > 1 else 0.0
        most = max(self.criteria.max_kl - floor, LEAST)
        return math.log(max(TINY * most, min(most / TINY, point.kl - floor)) / (AIM * most))
