"""The affine step of a pair: weights·x + bias of two networks, and their difference.

With W, b of the original and W', b' of the replacement, Δ' = W'·Δ + (W' − W)·x + (b' − b).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from oracles.difference.pair import Pair, Range, Spread
from oracles.difference.rounding import Semantics, gamma, grown
from oracles.difference.zonotope import Blocks, Zonotope, each

Product = Callable[[Tensor, Tensor], Tensor]
"""(values (N, *in), weights) → (N, *out), linear in both, and positive where both are."""


@dataclass(frozen=True, eq=False)
class Affine:
    """`product(x, weight) + bias`: weight (units, ...) and bias (units, 1, ...) float64.

    Each value is a sum of at most `terms` products.
    """

    weight: Tensor
    bias: Tensor
    product: Product

    @cached_property
    def terms(self) -> int:
        return self.weight[0].numel()

    def __call__(self, values: Tensor) -> Tensor:
        return self.product(values, self.weight)

    def sizes(self, *values: Tensor) -> tuple[Tensor, ...]:
        """|weight| on values >= 0, rounded up."""
        together = self.product(torch.cat(values), self.weight.abs())
        return grown(together, self.terms).split([len(v) for v in values])


def dense(weight: Tensor, bias: Tensor) -> Affine:
    """x (N, ..., n) → (N, ..., units)."""
    return Affine(weight.double(), bias.double(), F.linear)


def convolution(
    weight: Tensor,
    bias: Tensor,
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Affine:
    """Maps (N, C, H, W) → (N, units, h, w), weight (units, C/groups, kh, kw)."""
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Affine(weight.double(), bias.double()[:, None, None], partial(_convolved, **how))


def _convolved(values: Tensor, weight: Tensor, **how: object) -> Tensor:
    """Without cuDNN, whose algorithms need not be sums of products."""
    with torch.backends.cudnn.flags(enabled=False):
        return F.conv2d(values, weight, **how)  # type: ignore[arg-type]


def through(zonotope: Zonotope, step: Affine, semantics: Semantics) -> Zonotope:
    """The values of one network behind an affine step as it computes it."""
    read, kept = step.sizes(zonotope.magnitude, zonotope.radius)
    load = grown(read + step.bias.abs(), 2)
    lost = gamma(step.terms + 2) * load + semantics.error(step.terms, load)
    radius = grown(kept + lost, 3)
    return Zonotope(step(zonotope.center) + step.bias, radius, _blocks(zonotope, step))


def affine(pair: Pair, original: Affine, replaced: Affine, semantics: Semantics) -> Pair:
    """Both networks through their own step, and the difference through both."""
    a, b = through(pair.original, original, semantics), through(pair.replaced, replaced, semantics)
    return Pair(a, b, *_difference(pair, original, replaced, semantics))


def _difference(
    pair: Pair, original: Affine, replaced: Affine, semantics: Semantics
) -> tuple[Zonotope, None, Range | None]:
    change = replace(
        replaced, weight=replaced.weight - original.weight, bias=replaced.bias - original.bias
    )
    d, a = pair.difference, pair.original
    read, kept = replaced.sizes(d.magnitude, d.radius)
    moved, beside = change.sizes(a.magnitude, a.radius)
    lost = gamma(replaced.terms + 5) * grown(read + moved + change.bias.abs(), 3)
    if semantics.unit:
        for zonotope, step in ((a, original), (pair.replaced, replaced)):
            (sizes,) = step.sizes(zonotope.magnitude)
            lost = lost + semantics.error(step.terms, grown(sizes + step.bias.abs(), 2))
    lost = grown(lost + beside, 4)
    blocks = _joined(_blocks(d, replaced), _blocks(a, change) if change.weight.any() else {})
    center = replaced(d.center) + change(a.center) + change.bias
    known = pair.spread and _known(pair.spread, replaced, center, blocks, lost)
    return Zonotope(center, grown(kept + lost, 1), blocks), None, known


def _known(spread: Spread, step: Affine, center: Tensor, blocks: Blocks, lost: Tensor) -> Range:
    """Bounds of the difference behind a step: its middle ± |weight|·extent, at its best and worst.

    `blocks` and `lost` are of the difference as the step has left it.
    """
    sized, extent = replace(step, weight=step.weight.abs()), spread.extent
    read, kept, own = step.sizes(extent.magnitude, extent.radius, spread.radius)
    radius = grown(lost + kept + own + gamma(step.terms + 4) * read, 5)
    still = {symbols: block for symbols, block in blocks.items() if symbols != spread.made}
    wide, far = _blocks(extent, sized), sized(extent.center)
    top = Zonotope(center + far, radius, _joined(still, wide))
    bottom = Zonotope(center - far, radius, _joined(still, wide, -1.0))
    return bottom.lower, top.upper


def _joined(one: Blocks, other: Blocks, sign: float = 1.0) -> Blocks:
    """one + sign·other, symbol by symbol."""
    joined = dict(one)
    for symbols, block in other.items():
        joined[symbols] = joined[symbols] + sign * block if symbols in joined else sign * block
    return joined


def _blocks(zonotope: Zonotope, step: Affine) -> Blocks:
    return {symbols: each(step, block) for symbols, block in zonotope.blocks.items()}
