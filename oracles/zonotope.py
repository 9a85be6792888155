"""A zonotope in the plane: how far it reaches, and which side a point lies beyond.

Sorted by angle the generators are the sides, one after the other, and their sums the corners.
Floats find the side that matters; how far the zonotope reaches there is then exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import gcd

import numpy as np

Pair = tuple[Fraction, Fraction]
Normal = tuple[int, int]
AXES: tuple[Normal, ...] = ((1, 0), (0, 1))


@dataclass(frozen=True)
class _Sides:
    """Half of the sides, the others being opposite: unit `normals` (m, 2) from the center outwards,
    the `reach` (m,) from the center to each, and the normals in integers, as short as can be."""

    normals: np.ndarray
    reach: np.ndarray
    exact: list[Normal]


@dataclass(frozen=True)
class Zonotope:
    """All center + Σ tᵢ·generatorsᵢ with |tᵢ| <= 1, exactly."""

    generators: Sequence[tuple[int, int]]
    center: Pair

    def reach(self, normal: Normal) -> int:
        """The largest normal·(z − center) over the points z of the zonotope."""
        x, y = normal
        return sum([abs(x * a + y * b) for a, b in self.generators])

    def beyond(self, normal: Normal, point: Pair) -> Fraction:
        """How far a point lies beyond the zonotope along a normal, to whichever end: below zero
        between the two."""
        (x, y), (a, b), (c, d) = normal, point, self.center
        return abs(x * (a - c) + y * (b - d)) - self.reach(normal)

    @property
    def frame(self) -> Sequence[Normal]:
        """Normals of a box around it and, if it is a line, of that: how little a point lies beside
        a line is more than floats can say."""
        return (*AXES, *((y, -x) for x, y in _ends(self.generators)))

    def side(self, point: Pair) -> Normal:
        """A normal of the side that a point lies farthest beyond, or least far inside."""
        along = self._sides.normals @ self._from_center(point)
        return self._sides.exact[int(np.argmax(np.abs(along) - self._sides.reach))]

    def shares(self, point: Pair) -> np.ndarray:
        """The t (n,), in floats, of a point of the zonotope: it lies between the center and a point
        of a side, where all generators have an end but those along the side."""
        along = self._sides.normals @ self._from_center(point)
        reach = self._sides.reach
        used = np.divide(np.abs(along), reach, out=np.zeros_like(reach), where=reach > 0)
        share, side = float(used.max()), int(np.argmax(used))
        if not share:
            return np.zeros(len(self.generators))
        x, y = self._sides.exact[side]
        ends = np.sign(along[side]) * np.sign([float(x * a + y * b) for a, b in self.generators])
        direction = np.array([-y, x]) / max(abs(x), abs(y))
        lengths = np.where(ends == 0, self._floats @ direction, 0.0)
        rest = (self._from_center(point) / share - ends @ self._floats) @ direction
        middle = np.clip(rest / max(float(np.abs(lengths).sum()), np.finfo(float).tiny), -1, 1)
        return min(share, 1.0) * (ends + middle * np.sign(lengths))

    @cached_property
    def _one(self) -> int:
        """Above every generator: floats are of their ratios to it."""
        return 1 << max((max(abs(a), abs(b)) for a, b in self.generators), default=1).bit_length()

    @cached_property
    def _floats(self) -> np.ndarray:
        pairs = [(a / self._one, b / self._one) for a, b in self.generators]
        return np.array(pairs).reshape(-1, 2)

    def _from_center(self, point: Pair) -> np.ndarray:
        pairs = zip(point, self.center, strict=True)
        return np.array([float((p - c) / self._one) for p, c in pairs])

    @cached_property
    def _sides(self) -> _Sides:
        """The sides from the lowest corner to the highest, and the end of a mere line or point."""
        upper = [(a, b) if (b, a) > (0, 0) else (-a, -b) for a, b in self.generators if a or b]
        vectors = np.array([(a / self._one, b / self._one) for a, b in upper]).reshape(-1, 2)
        order = np.argsort(np.arctan2(vectors[:, 1], vectors[:, 0]), kind="stable")
        vectors = vectors[order]
        corners = 2 * (np.cumsum(vectors, axis=0) - vectors) - vectors.sum(0)
        normals = np.stack([vectors[:, 1], -vectors[:, 0]], axis=1)
        normals = normals / np.hypot(*vectors.T)[:, None]
        exact = [_short(upper[i][1], -upper[i][0]) for i in order.tolist()]
        reach = (normals * corners).sum(1)
        if not (last := _ends(upper)):
            return _Sides(normals, reach, exact)
        ends = np.array([(x / self._one, y / self._one) for x, y in last])
        ends /= np.hypot(*ends.T)[:, None]
        reach = np.append(0 * reach, np.abs(vectors @ ends.T).sum(0))  # its sides have no distance
        return _Sides(np.vstack([normals, ends]), reach, [*exact, *last])


def _ends(generators: Sequence[tuple[int, int]]) -> Sequence[Normal]:
    """The normals that no side has where all generators lie on one line, or are zero."""
    a, b = next(((a, b) for a, b in generators if a or b), (0, 0))
    if (a, b) == (0, 0):
        return AXES
    return () if any(a * y - b * x for x, y in generators) else [_short(a, b)]


def _short(x: int, y: int) -> Normal:
    """The shortest integers in a direction: that of a line is in few bits even if none else is."""
    common = gcd(x, y)
    return x // common, y // common
