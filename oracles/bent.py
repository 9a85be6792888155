"""Cells that bound two heads of any form: found in floats, kept if exact arithmetic says the same.

Between neighbouring corners of the zonotope of pairs (plane.py) its edge is the best line. A cell
whose bound is above the goal is halved; near the worst pair cells become small, elsewhere they need
not be.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from oracles.cells import Side, covered_bound
from oracles.claims import (
    JUMPS,
    Affine,
    Box,
    Certificate,
    Proved,
    Refuted,
    Unknown,
    Verdict,
    below,
    gap_at,
)
from oracles.covers import Cell, Cover
from oracles.heads import float_head
from oracles.plane import Chain, Plane

SLACK = 2.0**-7  # of the largest difference found: a bound need not be nearer to it,
NEGLIGIBLE = 2.0**-10  # nor below this share of epsilon
CELLS, HALVINGS = 4096, 48
GRID = 2**30  # of slopes of lines


def prove_bent(unit: Affine, program: Affine, box: Box, epsilon: Fraction) -> Verdict:
    """Decide ``sup over a box (n,) |unit − program| <= epsilon`` for heads of any form.

    The bound is within a hundredth of the largest difference, or far below epsilon. Unknown where
    epsilon lies too near to the supremum for `CELLS` cells.
    """
    planes = [Plane.of(unit, program, box), Plane.of(program, unit, box)]
    highest, point = max((plane.peak() for plane in planes), key=lambda peak: peak[0])
    replayed = gap_at(unit, program, point)
    if replayed > epsilon:
        return Refuted(point, below(replayed))
    goal = _goal(highest, float(epsilon))
    covers = [_cover(plane, goal) for plane in planes]
    one, other = Side.of(unit), Side.of(program)
    bounds = covered_bound(one, other, box, covers[0]), covered_bound(other, one, box, covers[1])
    bound = max(Fraction(0), *bounds)
    if bound <= epsilon:
        if {unit.head.op, program.head.op} & {*JUMPS}:  # the checker knows no limits
            return Proved("enclosed", bound)
        return Proved("checked", bound, Certificate(covers=tuple(covers)))
    gap = f"{below(replayed):.9g} <= sup <= {below(bound):.9g}, epsilon {below(epsilon):.9g}"
    return Unknown(f"cells do not tell: {gap}")


def float_bound(unit: Affine, program: Affine, box: Box) -> float:
    """About what `prove_bent` will prove of a pair, in floats, which alone prove nothing."""
    planes = Plane.of(unit, program, box), Plane.of(program, unit, box)
    return max(plane.peak()[0] for plane in planes) * (1 + SLACK)


def _goal(highest: float, epsilon: float) -> float:
    """What every cell's bound should not exceed."""
    near = highest * (1 + SLACK)
    if highest < epsilon:
        near = min(near, (highest + epsilon) / 2)
    return max(near, NEGLIGIBLE * epsilon)


def _cover(plane: Plane, goal: float) -> Cover:
    """Cells of which each has a bound below the goal, if so many will do."""
    low, high, hair = plane.bottom.a[0], plane.bottom.a[-1], plane.hair
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


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells (C,) of one plane, with a line a' = slope·a + offset and its side for each."""

    plane: Plane
    starts: np.ndarray
    ends: np.ndarray
    sides: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, plane: Plane, starts: np.ndarray, ends: np.ndarray) -> "_Cells":
        middle, turn = starts / 2 + ends / 2, plane.bends[1].turn
        slopes, offsets = _edge(plane.bottom, middle)
        sides = np.ones(len(starts), dtype=np.int64)
        if turn is not None:
            margin = 1e-9 + 4 * plane.hair
            above = _edge(plane.top, middle)
            rises = _ends_of(np.minimum, slopes, offsets, starts, ends) >= float(turn[1]) + margin
            falls = _ends_of(np.maximum, *above, starts, ends) <= float(turn[0]) - margin
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


def _edge(chain: Chain, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
