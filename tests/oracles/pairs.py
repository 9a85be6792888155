"""Small random networks with a replacement each: what the tests of differences share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from oracles.difference.affine import Affine, affine, dense
from oracles.difference.bend import bent_pair
from oracles.difference.curves import SMOOTH_CURVES, Curve, bent
from oracles.difference.pair import Pair, same
from oracles.difference.rounding import REAL, Semantics
from oracles.difference.zonotope import Zonotope

CURVES: dict[str, Curve] = {
    "relu": bent(),
    "leaky": bent(0.125),
    "steep": bent(1.5),
    "falling": bent(-0.5),
    "relu6": bent(1.0, 0.0, 6.0),
    "clip": bent(1.0, -0.5, 0.25),
    **SMOOTH_CURVES,
}


@dataclass(frozen=True, eq=False)
class Nets:
    """Steps of both networks, with the head of each but the last."""

    original: Sequence[Affine]
    replaced: Sequence[Affine]
    curve: Curve

    def carried(self, inputs: Zonotope, semantics: Semantics = REAL) -> Pair:
        pair, last = same(inputs), len(self.original) - 1
        for place, (one, other) in enumerate(zip(self.original, self.replaced, strict=True)):
            pair = affine(pair, one, other, semantics)
            if place < last:
                pair = bent_pair(pair, self.curve, f"head{place}", semantics)
        return pair

    def values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (N, K) of both in float64."""
        return self._run(self.original, x), self._run(self.replaced, x)

    def apart(self, x: Tensor) -> Tensor:
        one, other = self.values(x)
        return other - one

    def _run(self, steps: Sequence[Affine], x: Tensor) -> Tensor:
        for place, step in enumerate(steps):
            x = step(x) + step.bias
            x = self.curve.value(x) if place < len(steps) - 1 else x
        return x


def dense_nets(sizes: Sequence[int], curve: Curve, *, seed: int, change: float) -> Nets:
    """Dense networks of these sizes; weights of the replacement are off by about `change`."""
    made = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=made, dtype=torch.float64)

    pairs = list(pairwise(sizes))
    first = [(drawn(m, n) / math.sqrt(n), drawn(m) / 4) for n, m in pairs]
    second = [(w + change * drawn(*w.shape), b + change * drawn(*b.shape)) for w, b in first]
    return Nets([dense(*p) for p in first], [dense(*p) for p in second], curve)


def ascended(nets: Nets, lower: Tensor, upper: Tensor, *, seed: int, steps: int = 8) -> Tensor:
    """(K,) the largest |difference| that sampling, corners and gradient ascent have found."""
    made = torch.Generator().manual_seed(seed)
    share = torch.rand(24, *lower.shape, generator=made, dtype=torch.float64)
    x = lower + (upper - lower) * torch.cat([share, share.round(), share[:1] * 0 + 0.5])
    best = nets.apart(x).abs().amax(0)
    for place in range(len(best)):
        y = x
        for step in range(steps):
            y = y.detach().requires_grad_()
            (slope,) = torch.autograd.grad(nets.apart(y)[:, place].abs().sum(), y)
            y = y.detach() + slope.sign() * (upper - lower) * 0.3 * 0.9**step
            y = torch.minimum(torch.maximum(y, lower), upper)
            best = torch.maximum(best, nets.apart(y).abs().amax(0).detach())
    return best
