"""How much rounding may change: that of our own float64, and that of the networks as they run.

A sum of n products in floats is off by at most γₙ·Σ|wᵢxᵢ|, γₙ = n·u/(1 − n·u), in any order and
with or without fused products (Higham 2002, section 3.1); not so with Winograd's or Fourier's
convolutions or TF32. Whatever is computed here is off itself, by the same law with u = 2⁻⁵³.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

UNIT = 2.0**-53
TINY = 2.0**-1000  # above all underflows of float64 in one step together


@dataclass(frozen=True)
class Semantics:
    """How both networks compute: in real numbers (`unit` 0), or in floats of a unit roundoff.

    `tiny` bounds what one underflow loses, flushed to zero or not; above `largest` they overflow.
    """

    name: str
    unit: float
    tiny: float
    largest: float

    def error(self, terms: int, load: Tensor) -> Tensor:
        """What rounding adds, at most, to sums of `terms` products whose sizes add up to `load`.

        Two roundings a sum beside: a weight that is stored rounded, and a bias that is added.
        Infinite where such a sum may overflow.
        """
        if not self.unit:
            return torch.zeros_like(load)
        error = gamma(terms + 2, self.unit) * load + (2 * terms + 2) * self.tiny
        return torch.where(load + error < self.largest, error, math.inf)


REAL = Semantics("real", 0.0, 0.0, math.inf)
FLOAT64 = Semantics("float64", UNIT, 2.0**-1022, 2.0**1023)
FLOAT32 = Semantics("float32", 2.0**-24, 2.0**-126, 2.0**127)
SEMANTICS = {one.name: one for one in (REAL, FLOAT64, FLOAT32)}


def gamma(terms: int, unit: float = UNIT) -> float:
    """γ of a number of roundings, rounded up; infinite where it says nothing."""
    share = terms * unit
    return share / (1 - share) * (1 + 2.0**-40) if share < 1 else math.inf


def grown(sums: Tensor, terms: int) -> Tensor:
    """A bound of sums of `terms` positive products from what floats make of them."""
    return sums * (1 + gamma(2 * terms + 2)) + TINY


def down(values: Tensor) -> Tensor:
    """The next float64 below."""
    return torch.nextafter(values, torch.full_like(values, -math.inf))


def up(values: Tensor) -> Tensor:
    """The next float64 above."""
    return torch.nextafter(values, torch.full_like(values, math.inf))
