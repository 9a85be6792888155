"""A zonotope in the plane: how far it reaches, and which side a point lies beyond.

Sorted by angle the generators are the sides, one after the other, and their sums the corners.
Floats find the side that matters; how far the zonotope reaches there is then exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

Pair = tuple[Fraction, Fraction]
Normal = tuple[int, int]
AXES: tuple[Normal, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))


@dataclass(frozen=True)
class _Sides:
    """Half of the sides, the others being opposite: unit `normals` (m, 2) from the center outwards,
    the `reach` (m,) from the center to each, and the same normals in integers, exactly."""

    normals: np.ndarray
    reach: np.ndarray
    exact: list[Normal]


@dataclass(frozen=True)
class Zonotope:
    """All center + Σ tᵢ·generatorsᵢ with |tᵢ| <= 1, exactly."""

    generators: Sequence[tuple[int, int]]
    center: Pair

    def support(self, normal: Normal) -> Fraction:
        """The largest normal·z over the points z of the zonotope."""
        x, y = normal
        reach = sum([abs(x * a + y * b) for a, b in self.generators])
        return x * self.center[0] + y * self.center[1] + reach

    def side(self, point: Pair) -> Normal:
        """The outer normal of the side that a point lies farthest beyond, or least far inside."""
        along = self._sides.normals @ self._from_center(point)
        return self._outer(int(np.argmax(np.abs(along) - self._sides.reach)), along)

    def shares(self, point: Pair) -> np.ndarray:
        """The t (n,), in floats, of a point of the zonotope: it lies between the center and a point
        of a side, where all generators have an end but those along the side."""
        along = self._sides.normals @ self._from_center(point)
        reach = self._sides.reach
        used = np.divide(np.abs(along), reach, out=np.zeros_like(reach), where=reach > 0)
        share, (x, y) = float(used.max()), self._outer(int(np.argmax(used)), along)
        if not share:
            return np.zeros(len(self.generators))
        ends = np.sign([float(x * a + y * b) for a, b in self.generators])
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
        exact = [(upper[i][1], -upper[i][0]) for i in order.tolist()]
        ends = np.array([(a / self._one, b / self._one) for a, b in _ends(upper)]).reshape(-1, 2)
        ends = ends / np.hypot(*ends.T)[:, None]
        reach = np.append((normals * corners).sum(1), np.abs(vectors @ ends.T).sum(0))
        return _Sides(np.vstack([normals, ends]), reach, [*exact, *_ends(upper)])

    def _outer(self, index: int, along: np.ndarray) -> Normal:
        """The exact normal of a side, or of the side opposite, on which a point lies."""
        sign = -1 if along[index] < 0 else 1
        x, y = self._sides.exact[index]
        return sign * x, sign * y


def _ends(generators: Sequence[tuple[int, int]]) -> Sequence[Normal]:
    """The normals that no side has where generators, none of them zero, all lie on one line."""
    if not generators:
        return AXES[:2]
    a, b = generators[0]
    return () if any(a * y - b * x for x, y in generators) else [(a, b)]
