"""True differences of small planted pairs, exactly, by enumerating vertices.

Nothing here is shared with the oracles that are measured: no multipliers, no relaxation, no solver;
fractions from end to end. Between the lines where something bends, a difference of heads made of
straight pieces is straight, so that |difference| is largest at a vertex of some piece.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key
from itertools import combinations

Point = tuple[Fraction, Fraction]
Line = tuple[Fraction, Fraction, Fraction]
"""p·x + q·y + r = 0."""

NOWHERE: Point = (Fraction(0), Fraction(0))


@dataclass(frozen=True)
class Bent:
    """max(low·a, high·a) of a = weights·x + bias."""

    weights: Sequence[float]
    bias: float
    low: float
    high: float

    def at(self, a: Fraction) -> Fraction:
        return max(Fraction(self.low) * a, Fraction(self.high) * a)


def unit_difference(
    first: Bent, second: Bent, lower: Sequence[float], upper: Sequence[float]
) -> Fraction:
    """sup |first − second| over a box of any dimension.

    The pairs (a, a') of pre-activations fill a polygon in the plane, the image of the box, whose
    edges are the columns sorted by angle. Vertices of pieces are its corners, the points where its
    edges cross the axes, and the origin if it lies inside.
    """
    corners = _image(first, second, lower, upper)
    points = [*corners, *_on_axes(corners)]
    if _inside(NOWHERE, corners):
        points.append(NOWHERE)
    return max(abs(first.at(a) - second.at(b)) for a, b in points)


def plane_difference(
    value: Callable[[Point], Fraction], lines: Iterable[Line], lower: Point, upper: Point
) -> Fraction:
    """sup |value| over a box of two inputs, for a value that bends on these lines alone: at the
    crossings of lines and sides."""
    sides = [
        *((Fraction(1), Fraction(0), -end) for end in (lower[0], upper[0])),
        *((Fraction(0), Fraction(1), -end) for end in (lower[1], upper[1])),
    ]
    crossings = {c for pair in combinations([*lines, *sides], 2) for c in _crossing(*pair)}
    inside = (
        c for c in crossings if all(a <= x <= b for a, x, b in zip(lower, c, upper, strict=True))
    )
    return max(abs(value(point)) for point in inside)


def _image(
    first: Bent, second: Bent, lower: Sequence[float], upper: Sequence[float]
) -> list[Point]:
    """The corners of the image of a box, against the clock; two for a line, one for a point."""
    start_a, start_b, edges = Fraction(first.bias), Fraction(second.bias), []
    for w, q, low, high in zip(first.weights, second.weights, lower, upper, strict=True):
        a, b = Fraction(w), Fraction(q)
        width = Fraction(high) - Fraction(low)
        start_a, start_b = start_a + a * Fraction(low), start_b + b * Fraction(low)
        edge = a * width, b * width
        if edge < NOWHERE:  # start from the other end of it
            start_a, start_b = start_a + edge[0], start_b + edge[1]
            edge = -edge[0], -edge[1]
        if edge != NOWHERE:
            edges.append(edge)
    edges.sort(key=cmp_to_key(lambda e, f: -1 if _cross(e, f) > 0 else int(_cross(e, f) < 0)))
    corners, here = [], (start_a, start_b)
    for x, y in (*edges, *((-x, -y) for x, y in edges)):
        corners.append(here)
        here = here[0] + x, here[1] + y
    return corners or [here]


def _on_axes(corners: Sequence[Point]) -> Iterator[Point]:
    """Where the sides of a polygon cross the axes."""
    for (a, b), (c, d) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if a * c < 0:
            yield Fraction(0), b + (d - b) * -a / (c - a)
        if b * d < 0:
            yield a + (c - a) * -b / (d - b), Fraction(0)


def _inside(point: Point, corners: Sequence[Point]) -> bool:
    """Whether a point lies in a polygon, whose corners are told against the clock."""
    if len(corners) == 1:
        return point == corners[0]
    sides = zip(corners, [*corners[1:], corners[0]], strict=True)
    if any(_cross(_less(d, c), _less(point, c)) < 0 for c, d in sides):
        return False
    low, high = min(corners), max(corners)
    return low <= point <= high  # a polygon without area is a segment


def _crossing(one: Line, other: Line) -> Iterator[Point]:
    (a, b, c), (d, e, f) = one, other
    if area := a * e - b * d:
        yield (b * f - c * e) / area, (c * d - a * f) / area


def _cross(a: Point, b: Point) -> Fraction:
    return a[0] * b[1] - a[1] * b[0]


def _less(a: Point, b: Point) -> Point:
    return a[0] - b[0], a[1] - b[1]
