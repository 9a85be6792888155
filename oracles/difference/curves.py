"""Heads as the relaxations see them: a value, the slopes over a range, and where it has corners."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from oracles.claims import SMOOTH_ERROR
from oracles.difference.rounding import UNIT, Semantics

SMOOTH = float(SMOOTH_ERROR)
HAIR = 2.0**-40  # far more than the error of a derivative in float64


class NoTransformer(ValueError):
    """An operation that nothing here encloses; the message says what is lost by that."""


class Curve(ABC):
    """A function of one number with a derivative almost everywhere, elementwise on tensors."""

    straight = False
    """Whether it is straight between its corners."""

    @property
    def corners(self) -> Sequence[Tensor]:
        return ()

    @abstractmethod
    def value(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def error(self, x: Tensor) -> Tensor:
        """A bound of the error of `value` in float64."""

    @abstractmethod
    def executed(self, size: Tensor, semantics: Semantics) -> Tensor:
        """A bound of the networks' own error at all |x| <= size."""

    @abstractmethod
    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds of the derivative on a range."""


@dataclass(frozen=True, eq=False)
class Bent(Curve):
    """x for x > 0 and slope·x below, cut to low … high: tensors that broadcast over the units."""

    slope: Tensor
    low: Tensor
    high: Tensor
    straight = True

    def to(self, like: Tensor) -> "Bent":
        """The same on the device of a tensor."""
        return Bent(self.slope.to(like), self.low.to(like), self.high.to(like))

    @property
    def corners(self) -> Sequence[Tensor]:
        return torch.zeros_like(self.low), self.low, self.high

    def value(self, x: Tensor) -> Tensor:
        leaked = torch.where(x > 0, x, self.slope * x)
        return torch.minimum(torch.maximum(leaked, self.low), self.high)

    def error(self, x: Tensor) -> Tensor:
        return UNIT * self._rounded(x)

    def executed(self, size: Tensor, semantics: Semantics) -> Tensor:
        ends = sum(torch.where(e.isfinite(), e.abs(), 0.0) for e in (self.low, self.high))
        lost = 2.01 * semantics.unit * (self._rounded(size) + ends)  # of a parameter and a product
        return lost + semantics.tiny * (self._rounded(size) > 0)

    def _rounded(self, x: Tensor) -> Tensor:
        """The size of a product, where one is rounded."""
        product = (self.slope * x).abs()
        return torch.where((self.slope == 0) | (self.slope == 1), 0.0, product)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        below, above = upper <= self.low, lower >= self.high
        inside = ~(below | above)
        pieces = (
            (self.slope, inside & (lower < 0)),
            (torch.ones_like(self.slope), inside & ((upper > 0) | (lower >= 0))),
            (torch.zeros_like(self.slope), (lower < self.low) | (upper > self.high) | ~inside),
        )
        least = torch.stack([torch.where(here, slope, math.inf) for slope, here in pieces])
        most = torch.stack([torch.where(here, slope, -math.inf) for slope, here in pieces])
        return least.amin(0), most.amax(0)


def bent(slope: float = 0.0, low: float = -math.inf, high: float = math.inf) -> Bent:
    """A rectifier of one slope for all units; a clip has the slope 1."""
    return Bent(*(torch.tensor(v, dtype=torch.float64) for v in (slope, low, high)))


@dataclass(frozen=True)
class Smooth(Curve):
    """A named function, its derivative, and where that turns; it holds the word of the library that
    their float64 values are within 2⁻⁴⁵·(1 + |x|)."""

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    turns: tuple[float, ...]

    def value(self, x: Tensor) -> Tensor:
        return self.function(x)

    def error(self, x: Tensor) -> Tensor:
        return SMOOTH * (1 + x.abs())

    def executed(self, size: Tensor, semantics: Semantics) -> Tensor:
        if semantics.unit > UNIT:
            raise NoTransformer(
                f"no bound is known of {self.name} as {semantics.name} computes it: nothing can be "
                "claimed of the network's own rounding. Use the semantics 'real' or 'float64'."
            )
        return self.error(size) if semantics.unit else torch.zeros_like(size)

    def slopes(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        turned = [torch.full_like(lower, t).clamp(lower, upper) for t in self.turns]
        seen = torch.stack([self.derivative(x) for x in (lower, upper, *turned)])
        return seen.amin(0) - HAIR, seen.amax(0) + HAIR


def _sigmoid_slope(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * torch.sigmoid(-x)


def _silu_slope(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * (1 + x * torch.sigmoid(-x))


def _gelu_slope(x: Tensor) -> Tensor:
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return torch.erfc(-x / math.sqrt(2)) / 2 + x * density


def _hardswish_slope(x: Tensor) -> Tensor:
    return torch.where(x.abs() <= 3, x / 3 + 0.5, (x > 0).to(x))


def _hardsigmoid_slope(x: Tensor) -> Tensor:
    return (x.abs() <= 3).to(x) / 6


SILU_TURN = 2.3993572805154  # where its derivative is largest, to 1e-13; and least, below zero

SMOOTH_CURVES: Mapping[str, Smooth] = {
    one.name: one
    for one in (
        Smooth("sigmoid", torch.sigmoid, _sigmoid_slope, (0.0,)),
        Smooth("tanh", torch.tanh, lambda x: 1 - torch.tanh(x) ** 2, (0.0,)),
        Smooth("silu", F.silu, _silu_slope, (-SILU_TURN, SILU_TURN)),
        Smooth("gelu", F.gelu, _gelu_slope, (-math.sqrt(2), math.sqrt(2))),
        Smooth("hardsigmoid", F.hardsigmoid, _hardsigmoid_slope, (-3.0, 3.0)),
        Smooth("hardswish", F.hardswish, _hardswish_slope, (-3.0, 3.0)),
    )
}
