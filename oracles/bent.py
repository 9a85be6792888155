"""Cells that bound two heads of any form: found in floats, kept if exact arithmetic says the same.

Over a box the pairs (a, a') fill a zonotope. Its columns, sorted by the slope qᵢ/wᵢ, are the edges
of a chain from its leftmost point to its rightmost: ascending along the bottom, descending along
the top. Between neighbouring corners the chain itself is the best line. A cell whose bound is above
the goal is halved; near the worst pair cells become small, elsewhere they need not be.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from oracles.cells import Cell, Cover, Side, covered_bound
from oracles.claims import (
    JUMPS,
    Affine,
    Box,
    Proved,
    Refuted,
    Unknown,
    Verdict,
    below,
    gap_at,
)
from oracles.heads import Bend, bend_of, float_head

SLACK = 2.0**-7  # of the largest difference found: a bound need not be nearer to it,
NEGLIGIBLE = 2.0**-10  # nor below this share of epsilon
CELLS, HALVINGS = 4096, 48
GRID = 2**30  # of slopes of lines
ZOOMS, SAMPLES = 2, 129


@dataclass(frozen=True, eq=False)
class _Chain:
    """The corners (m + 1,) of one side of the zonotope from left to right, and the point (n,) and
    the order of the columns that they come from."""

    a: np.ndarray
    p: np.ndarray
    order: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def at(self, a: np.ndarray) -> np.ndarray:
        return np.interp(a, self.a, self.p)

    def point(self, a: float) -> np.ndarray:
        """The point (n,) of the box at which the chain is reached."""
        edge = int(np.clip(np.searchsorted(self.a, a) - 1, 0, len(self.order) - 1))
        point = self.first.copy()
        done, here = self.order[:edge], self.order[edge]
        point[done] = self.last[done]
        width = self.a[edge + 1] - self.a[edge]
        share = (a - self.a[edge]) / width if width > 0 else 0.0
        point[here] += np.clip(share, 0, 1) * (self.last[here] - point[here])
        return point


@dataclass(frozen=True, eq=False)
class _Plane:
    """A pair of heads over the zonotope of their pre-activations, in floats."""

    outer: Affine
    inner: Affine
    bottom: _Chain
    top: _Chain

    @classmethod
    def of(cls, outer: Affine, inner: Affine, box: Box) -> "_Plane":
        return cls(outer, inner, _chain(outer, inner, box, 1), _chain(outer, inner, box, -1))

    @property
    def bends(self) -> tuple[Bend, Bend]:
        return bend_of(self.outer.head), bend_of(self.inner.head)

    def worst(self, a: np.ndarray) -> np.ndarray:
        """The a' at which the inner head is least, for each a."""
        turn, low = self.bends[1].turn, self.bottom.at(a)
        return low if turn is None else np.clip(float(turn[0]), low, self.top.at(a))

    def apart(self, a: np.ndarray) -> np.ndarray:
        """outer − inner where that is largest, for each a."""
        return float_head(self.outer.head, a) - float_head(self.inner.head, self.worst(a))

    def peak(self) -> tuple[float, np.ndarray]:
        """The largest difference that a search finds, and its point (n,) of the box."""
        low, high = self.bottom.a[0], self.bottom.a[-1]
        kinks = [float(kink) for kink in self.bends[0].kinks]
        near = [end for kink in kinks for end in (kink, np.nextafter(kink, np.inf))]
        spread = np.linspace(low, high, SAMPLES)
        found = np.unique(np.clip([*self.bottom.a, *self.top.a, *spread, *near], low, high))
        for _ in range(ZOOMS):
            best = int(np.argmax(self.apart(found)))
            first, last = found[max(best - 1, 0)], found[min(best + 1, len(found) - 1)]
            found = np.unique(np.append(np.linspace(first, last, SAMPLES), found[best]))
        best = found[[int(np.argmax(self.apart(found)))]]
        return float(self.apart(best)[0]), self._point(best)

    def _point(self, a: np.ndarray) -> np.ndarray:
        wanted, low, high = (f(a)[0] for f in (self.worst, self.bottom.at, self.top.at))
        share = (wanted - low) / (high - low) if high > low else 0.0
        below_, above = self.bottom.point(a[0]), self.top.point(a[0])
        return below_ + share * (above - below_)


def _chain(outer: Affine, inner: Affine, box: Box, side: int) -> _Chain:
    w, q = outer.weights, inner.weights
    rises = np.where(w != 0, w > 0, side * q > 0)  # columns that move a' alone: at their best end
    first, last = np.where(rises, (box.lower, box.upper), (box.upper, box.lower))
    last = np.where(w != 0, last, first)
    along, across = w * (last - first), q * (last - first)
    slopes = np.divide(across, along, out=np.zeros_like(along), where=along > 0)
    order = np.argsort(side * slopes, kind="stable")
    order = order[along[order] > 0] if (along > 0).any() else order[:1]
    a, p = (
        affine.bias + affine.weights @ first + np.concatenate([[0.0], np.cumsum(steps[order])])
        for affine, steps in ((outer, along), (inner, across))
    )
    return _Chain(a, p, order, first, last)


def prove_bent(unit: Affine, program: Affine, box: Box, epsilon: Fraction) -> Verdict:
    """Decide ``sup over a box (n,) |unit − program| <= epsilon`` for heads of any form.

    The bound is within a hundredth of the largest difference, or far below epsilon. Unknown where
    epsilon lies too near to the supremum for `CELLS` cells.
    """
    planes = [_Plane.of(unit, program, box), _Plane.of(program, unit, box)]
    highest, point = max((plane.peak() for plane in planes), key=lambda peak: peak[0])
    replayed = gap_at(unit, program, point)
    if replayed > epsilon:
        return Refuted(point, below(replayed))
    bound, goal = Fraction(0), _goal(highest, float(epsilon))
    for plane in planes:
        sides = Side.of(plane.outer), Side.of(plane.inner)
        bound = max(bound, covered_bound(*sides, box, _cover(plane, goal)))
    if bound <= epsilon:
        return Proved("enclosed", bound)
    gap = f"{below(replayed):.9g} <= sup <= {below(bound):.9g}, epsilon {below(epsilon):.9g}"
    return Unknown(f"cells do not tell: {gap}")


def float_bound(unit: Affine, program: Affine, box: Box) -> float:
    """About what `prove_bent` will prove of a pair, in floats, which alone prove nothing."""
    planes = _Plane.of(unit, program, box), _Plane.of(program, unit, box)
    return max(plane.peak()[0] for plane in planes) * (1 + SLACK)


def _goal(highest: float, epsilon: float) -> float:
    """What every cell's bound should not exceed."""
    near = highest * (1 + SLACK)
    if highest < epsilon:
        near = min(near, (highest + epsilon) / 2)
    return max(near, NEGLIGIBLE * epsilon)


def _cover(plane: _Plane, goal: float) -> Cover:
    """Cells of which each has a bound below the goal, if so many will do."""
    low, high = plane.bottom.a[0], plane.bottom.a[-1]
    hair = 2.0**-50 * max(abs(low), abs(high), 2.0**-900, high - low, *_sizes(plane.outer))
    kinks = (float(kink) for kink in plane.bends[0].kinks)
    ends = np.array([low - hair, *sorted(k for k in kinks if low < k < high), high + hair])
    starts, ends, done = ends[:-1], ends[1:], []
    for halving in range(HALVINGS):
        cells = _Cells.of(plane, starts, ends)
        middle = starts / 2 + ends / 2
        split = (cells.bounds() > goal) & (starts < middle) & (middle < ends)
        split &= (len(done) + 2 * len(starts) < CELLS) & (halving < HALVINGS - 1)
        done += cells.listed(~split)
        starts, ends, middle = starts[split], ends[split], middle[split]
        starts, ends = np.concatenate([starts, middle]), np.concatenate([middle, ends])
        if not len(starts):
            break
    done.sort()
    return Cover(float(done[0][0]), tuple(cell for _, _, cell in done))


def _sizes(affine: Affine) -> tuple[float, ...]:
    return abs(affine.bias), float(np.abs(affine.weights).sum())


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells (C,) of one plane, with a line a' = slope·a + offset and its side for each."""

    plane: _Plane
    starts: np.ndarray
    ends: np.ndarray
    sides: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, plane: _Plane, starts: np.ndarray, ends: np.ndarray) -> "_Cells":
        middle, turn = starts / 2 + ends / 2, plane.bends[1].turn
        slopes, offsets = _edge(plane.bottom, middle)
        sides = np.ones(len(starts), dtype=np.int64)
        if turn is not None:
            above = _edge(plane.top, middle)
            rises = _ends_of(np.minimum, slopes, offsets, starts, ends) >= float(turn[1]) + 1e-9
            falls = _ends_of(np.maximum, *above, starts, ends) <= float(turn[0]) - 1e-9
            sides = np.where(rises, 1, np.where(falls, -1, 0))
            slopes, offsets = np.where(falls & ~rises, above, (slopes, offsets))
        return cls(plane, starts, ends, sides, slopes, offsets)

    def bounds(self) -> np.ndarray:
        """What cells.py says of each cell, in floats."""
        stops = np.sort(self._stops(), axis=1)
        low, high = stops[:, :-1], stops[:, 1:]
        inside = low / 2 + high / 2
        above = np.maximum(self._apart(low, inside), self._apart(high, inside))
        return (above + self._curvature()[:, None] * (high - low) ** 2 / 8).max(1)

    def listed(self, chosen: np.ndarray) -> list[tuple[float, float, Cell]]:
        """(start, end, cell) of some."""
        parts = (self.starts, self.ends, self.sides, self.slopes)
        return [
            (start, end, Cell(end, side, Fraction(round(slope * GRID), GRID)))
            for start, end, side, slope in zip(*(p[chosen].tolist() for p in parts), strict=True)
        ]

    def _stops(self) -> np.ndarray:
        """(C, S) both ends, and where the line meets a kink."""
        stops, moves = [self.starts, self.ends], (self.slopes != 0) & (self.sides != 0)
        for kink in self.plane.bends[1].kinks:
            wanted = float(kink) - self.offsets
            at = np.divide(wanted, self.slopes, out=self.starts.copy(), where=moves)
            stops.append(np.clip(at, self.starts, self.ends))
        return np.stack(stops, axis=1)

    def _apart(self, at: np.ndarray, inside: np.ndarray) -> np.ndarray:
        outer, inner = self.plane.outer.head, self.plane.inner.head
        above = float_head(outer, inside if outer.op in JUMPS else at)
        line = self.slopes[:, None] * (inside if inner.op in JUMPS else at) + self.offsets[:, None]
        least = float(self.plane.bends[1].least)
        return above - np.where(self.sides[:, None] == 0, least, float_head(inner, line))

    def _curvature(self) -> np.ndarray:
        (outer, inner), square = self.plane.bends, self.slopes**2
        first, second = float(outer.curvature), float(inner.curvature)
        apart = first + np.where(self.sides == 0, 0, square * second)
        if outer.third is None or self.plane.outer.head != self.plane.inner.head:
            return apart
        ends = (np.abs(a - self.slopes * a - self.offsets) for a in (self.starts, self.ends))
        distance = np.maximum(*ends)
        near = np.abs(1 - square) * first + square * float(outer.third) * distance
        return np.where(self.sides == 0, apart, np.minimum(apart, near))


def _edge(chain: _Chain, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset (C,) of the chain's edges at some a, the slope on the grid."""
    edge = np.clip(np.searchsorted(chain.a, a) - 1, 0, len(chain.a) - 2)
    width = chain.a[edge + 1] - chain.a[edge]
    rise = chain.p[edge + 1] - chain.p[edge]
    slopes = np.divide(rise, width, out=np.zeros_like(width), where=width > 0)
    slopes = np.round(slopes * GRID) / GRID
    return slopes, chain.p[edge] - slopes * chain.a[edge]


def _ends_of(
    least: np.ufunc, slopes: np.ndarray, offsets: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    return least(slopes * starts + offsets, slopes * ends + offsets)
