"""A network and its replacement together: a zonotope each, and one of their difference.

The difference is carried from layer to layer as a zonotope of its own (VeryDiff 2024, after ReluDiff
and NeuroDiff 2020): bounding the two networks apart and subtracting would lose all that they share.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oracles.difference.rounding import down, up
from oracles.difference.zonotope import Zonotope, fresh, plus

Range = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Pair:
    """Values of one layer in both networks on the same inputs, and `difference`: replaced − original."""

    original: Zonotope
    replaced: Zonotope
    difference: Zonotope

    @cached_property
    def ranges(self) -> tuple[Range, Range, Range]:
        """(lower, upper) (B, *shape) of the three, each as the two others allow as well."""
        a, b, d = ((z.lower, z.upper) for z in (self.original, self.replaced, self.difference))
        d = _within(d, (down(b[0] - a[1]), up(b[1] - a[0])))
        b = _within(b, (down(a[0] + d[0]), up(a[1] + d[1])))
        a = _within(a, (down(b[0] - d[1]), up(b[1] - d[0])))
        return a, b, d

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "Pair":
        """All values moved, copied or dropped, in both networks alike."""
        return Pair(*(z.mapped(function) for z in self.parts))

    @property
    def parts(self) -> tuple[Zonotope, Zonotope, Zonotope]:
        return self.original, self.replaced, self.difference


def same(zonotope: Zonotope) -> Pair:
    """What both networks read: the difference is zero."""
    nothing = torch.zeros_like(zonotope.center)
    return Pair(zonotope, zonotope, Zonotope(nothing, nothing, {}))


def apart(original: Zonotope, replaced: Zonotope) -> Pair:
    """Values that no step has carried together: their difference is what symbols make of it."""
    return Pair(original, replaced, plus(replaced, original, -1.0))


def symbolised(pair: Pair, name: str) -> Pair:
    """Errors made symbols of each of the three (`zonotope.fresh`)."""
    names = (f"{name}:original", f"{name}:replaced", f"{name}:difference")
    return Pair(*(fresh(z, n) for z, n in zip(pair.parts, names, strict=True)))


def _within(own: Range, other: Range) -> Range:
    return torch.maximum(own[0], other[0]), torch.minimum(own[1], other[1])
