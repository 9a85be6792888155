"""Zonotopes over shared noise symbols, in batches of float64 tensors.

The values of a layer are center + Σ symbols·generators + e with |e| <= radius, elementwise. Symbols
come in blocks, each named by what made it; two zonotopes that hold a block of one name speak of the
same symbols there, so that what they share cancels in their difference. The radius has what is too
small to be worth a symbol, rounding above all: every step adds what its own rounding may have lost.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from oracles.difference.rounding import UNIT, down, gamma, grown, up

INPUT = "input"  # what symbols of inputs are called, where there is one input
FAINT = 2.0**-26  # of the largest value: what is smaller stays in the radius
FLUSHED = 2.0**-500  # above what a root loses where squares underflow
MOST = 1024  # symbols that one step may add; what is smallest beyond them stays in the radius


@dataclass(frozen=True)
class Symbols:
    """The name of a block of k noise symbols: each lies in −limit … limit, limits (B, k) or all 1.

    With `norm` 2 it is symbols/limits together that lie in the unit ball.
    """

    name: str
    norm: float = math.inf
    limits: Tensor | None = field(default=None, compare=False, repr=False)

    def reach(self, block: Tensor) -> Tensor:
        """The largest Σ symbols·generators (B, *shape) of a block (B or 1, k, *shape)."""
        sizes = block.abs()
        if self.norm == 2:
            return self._scaled(sizes).norm(dim=1) + FLUSHED
        if self.limits is None:
            return sizes.sum(1)
        return (self.limits[:, None] @ sizes.flatten(2))[:, 0].unflatten(1, block.shape[2:])

    def _scaled(self, sizes: Tensor) -> Tensor:
        if self.limits is None:
            return sizes
        return sizes * self.limits.view(*self.limits.shape, *(1,) * (sizes.dim() - 2))


Blocks = Mapping[Symbols, Tensor]


@dataclass(frozen=True, eq=False)
class Zonotope:
    """B zonotopes: `center` and `radius` (B, *shape), `blocks` (B or 1, k, *shape), float64."""

    center: Tensor
    radius: Tensor
    blocks: Blocks

    @cached_property
    def terms(self) -> int:
        """How many numbers are summed for one value."""
        return 2 + sum(block.shape[1] for block in self.blocks.values())

    @cached_property
    def reach(self) -> Tensor:
        """(B, *shape) the largest distance of a value from its center, rounded up."""
        parts = [symbols.reach(block) for symbols, block in self.blocks.items()]
        return grown(sum(parts, self.radius), self.terms)

    @cached_property
    def magnitude(self) -> Tensor:
        """(B, *shape) a bound of |center| + Σ |generators| + radius."""
        return up(self.center.abs() + self.reach)

    @cached_property
    def lower(self) -> Tensor:
        return down(self.center - self.reach)

    @cached_property
    def upper(self) -> Tensor:
        return up(self.center + self.reach)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "Zonotope":
        """All values moved, copied or dropped, by a function of tensors (N, *shape)."""
        blocks = {s: each(function, block) for s, block in self.blocks.items()}
        return Zonotope(function(self.center), function(self.radius), blocks)


def each(function: Callable[[Tensor], Tensor], block: Tensor) -> Tensor:
    """A function of tensors (N, *shape) on every generator of a block (B, k, *shape)."""
    return function(block.flatten(0, 1)).unflatten(0, block.shape[:2])


def point(center: Tensor) -> Zonotope:
    """The known values (B, *shape)."""
    return Zonotope(center, torch.zeros_like(center), {})


def ball(center: Tensor, radii: Tensor, norm: float, name: str = INPUT) -> Zonotope:
    """All x with |(x − center)/radii| <= 1 in a norm, inf or 2; center and radii (B, *shape).

    The generators are those of the unit ball, so that what is linear is done once for all B. Of
    several inputs each has a name of its own.
    """
    limits = radii.flatten(1)
    units = torch.eye(limits.shape[1]).to(limits).view(1, -1, *radii.shape[1:])
    blocks = {Symbols(name, norm, limits): units}
    return Zonotope(center, torch.zeros_like(center), blocks)


def box(lower: Tensor, upper: Tensor, name: str = INPUT) -> Zonotope:
    """All x with lower <= x <= upper, (B, *shape) each, and no more than rounding beyond."""
    around = enclosing(lower, upper)
    return ball(around.center, around.radius, math.inf, name)


def enclosing(lower: Tensor, upper: Tensor) -> Zonotope:
    """Values of which nothing but these ends is known."""
    center = (lower + upper) / 2
    return Zonotope(center, up(torch.maximum(up(upper - center), up(center - lower))), {})


def plus(a: Zonotope, b: Zonotope, sign: float = 1.0) -> Zonotope:
    """a + b or, with the sign −1, a − b: what they share is added by symbol."""
    blocks = dict(a.blocks)
    for symbols, block in b.blocks.items():
        blocks[symbols] = blocks[symbols] + sign * block if symbols in blocks else sign * block
    lost = gamma(2) * (a.magnitude + b.magnitude)
    radius = grown(a.radius + b.radius + lost, 3)
    return Zonotope(a.center + sign * b.center, radius, blocks)


def affinely(zonotope: Zonotope, scale: Tensor, shift: Tensor) -> Zonotope:
    """scale·x + shift, elementwise: (B or 1, *shape) each."""
    size = scale.abs()
    lost = gamma(4) * (size * zonotope.magnitude + shift.abs())
    radius = grown(size * zonotope.radius + lost, 4)
    blocks = {s: block * scale[:, None] for s, block in zonotope.blocks.items()}
    return Zonotope(scale * zonotope.center + shift, radius, blocks)


def widened(zonotope: Zonotope, error: Tensor) -> Zonotope:
    """The zonotope with an error added to its radius."""
    return Zonotope(zonotope.center, grown(zonotope.radius + error, 1), zonotope.blocks)


def fresh(zonotope: Zonotope, name: str) -> Zonotope:
    """The radius made symbols of its own, a symbol a value, where it is large enough to tell.

    Later layers see then that an error is the same error wherever it is read.
    """
    radius = zonotope.radius.flatten(1)
    scale = zonotope.magnitude.flatten(1).amax(1, keepdim=True)
    count = int((radius > (FAINT * scale).clamp_min(UNIT**16)).sum(1).max()) if len(radius) else 0
    if not count:
        return zonotope
    largest, places = radius.topk(min(count, MOST), dim=1)
    block = radius.new_zeros(*largest.shape, radius.shape[1])
    block.scatter_(2, places[:, :, None], largest[:, :, None])
    left = radius.scatter(1, places, 0.0).view_as(zonotope.radius)
    added = {Symbols(name): block.unflatten(2, zonotope.radius.shape[1:])}
    return Zonotope(zonotope.center, left, {**zonotope.blocks, **added})
