"""A network and its replacement together: a zonotope each, and one of their difference.

The difference is carried from layer to layer as a zonotope of its own (VeryDiff 2024, after
ReluDiff and NeuroDiff 2020): bounding the two networks apart would lose all that they share.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from oracles.difference.rounding import down, up
from oracles.difference.zonotope import Symbols, Zonotope, plus

Range = tuple[Tensor, Tensor]
Move = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Spread:
    """The difference is some middle ± `extent`, a zonotope of values >= 0.

    The middle is the difference without the block `made`, and with `radius` for its own: the block
    stands for the extent at its largest, everywhere and at once.
    """

    extent: Zonotope
    radius: Tensor
    made: Symbols

    def mapped(self, function: Move) -> "Spread":
        return Spread(self.extent.mapped(function), function(self.radius), self.made)


@dataclass(frozen=True, eq=False)
class Pair:
    """Values of a layer in both networks on the same inputs; `difference` is replaced − original.

    `spread` is known behind a head; `known` bounds the difference from beside, (lower, upper).
    """

    original: Zonotope
    replaced: Zonotope
    difference: Zonotope
    spread: Spread | None = None
    known: Range | None = None

    @cached_property
    def ranges(self) -> tuple[Range, Range, Range]:
        """(lower, upper) (B, *shape) of the three, each as the two others allow as well."""
        a, b, d = ((z.lower, z.upper) for z in self.parts)
        d = within(d, self.known or d)
        d = within(d, (down(b[0] - a[1]), up(b[1] - a[0])))
        b = within(b, (down(a[0] + d[0]), up(a[1] + d[1])))
        a = within(a, (down(b[0] - d[1]), up(b[1] - d[0])))
        return a, b, d

    @property
    def parts(self) -> tuple[Zonotope, Zonotope, Zonotope]:
        return self.original, self.replaced, self.difference

    def mapped(self, function: Move) -> "Pair":
        """All values moved, copied or dropped, in both networks alike."""
        a, b, d = (z.mapped(function) for z in self.parts)
        spread = self.spread and self.spread.mapped(function)
        known = self.known and (function(self.known[0]), function(self.known[1]))
        return Pair(a, b, d, spread, known)


def pair_of(three: Sequence[Zonotope]) -> Pair:
    """A pair of its original, its replaced and its difference, and nothing known beside."""
    original, replaced, difference = three
    return Pair(original, replaced, difference)


def same(zonotope: Zonotope) -> Pair:
    """What both networks read: the difference is zero."""
    nothing = torch.zeros_like(zonotope.center)
    return Pair(zonotope, zonotope, Zonotope(nothing, nothing, {}))


def apart(original: Zonotope, replaced: Zonotope) -> Pair:
    """Values that no step has carried together: their difference is what symbols make of it."""
    return Pair(original, replaced, plus(replaced, original, -1.0))


def within(own: Range, other: Range) -> Range:
    """What lies in both."""
    return torch.maximum(own[0], other[0]), torch.minimum(own[1], other[1])
