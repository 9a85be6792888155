"""Pairs of pre-activations over a box, in floats: where two heads differ most.

The pairs (a, a') fill a zonotope of the plane. Its columns, sorted by the slope qᵢ/wᵢ, are the
edges of a chain from its leftmost point to its rightmost: ascending along the bottom, descending
along the top.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from oracles.claims import Affine, Box
from oracles.heads import Bend, bend_of, float_head

ZOOMS, SAMPLES = 2, 129


@dataclass(frozen=True, eq=False)
class Chain:
    """The corners (m + 1,) of one side of the zonotope from left to right, and the point (n,) and
    the order of the columns that they come from."""

    a: np.ndarray
    p: np.ndarray
    order: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def at(self, a: np.ndarray) -> np.ndarray:
        """a' on the chain for some a."""
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
class Plane:
    """A pair of heads over the zonotope of their pre-activations, in floats."""

    outer: Affine
    inner: Affine
    bottom: Chain
    top: Chain

    @classmethod
    def of(cls, outer: Affine, inner: Affine, box: Box) -> "Plane":
        """That of a unit and a program, or of a program and a unit."""
        return cls(outer, inner, chain_of(outer, inner, box, 1), chain_of(outer, inner, box, -1))

    @property
    def bends(self) -> tuple[Bend, Bend]:
        """How the two heads bend."""
        return bend_of(self.outer.head), bend_of(self.inner.head)

    @cached_property
    def hair(self) -> float:
        """More than what sums of floats are off by, in either pre-activation."""
        chains = self.bottom, self.top
        reach = np.abs([point for c in chains for point in (c.first, c.last)]).max(0)
        sides = self.outer, self.inner
        sizes = [float(np.abs(s.weights) @ reach) + abs(s.bias) for s in sides]
        return 2.0**-50 * (len(reach) + 2) * max(2.0**-900, *sizes)

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


def chain_of(outer: Affine, inner: Affine, box: Box, side: int) -> Chain:
    """The bottom of the zonotope for `side` 1, its top for −1."""
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
    return Chain(a, p, order, first, last)
