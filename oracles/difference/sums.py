"""Sums, multiples, means and concatenations of pairs: what is linear and needs no weights."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from oracles.difference.pair import Move, Pair, pair_of
from oracles.difference.rounding import Semantics, gamma, grown
from oracles.difference.zonotope import Zonotope, affinely, each, plus, widened


def added(one: Pair, other: Pair, sign: float, semantics: Semantics) -> Pair:
    """one + other or, with the sign −1, one − other."""
    a, b, d = (plus(x, y, sign) for x, y in zip(one.parts, other.parts, strict=True))
    sizes = [x.magnitude + y.magnitude for x, y in zip(one.parts, other.parts, strict=True)]
    return executed((a, b, d), sizes[0], sizes[1], 1, semantics)


def scaled(pair: Pair, scale: Tensor, shift: Tensor, semantics: Semantics) -> Pair:
    """scale·x + shift in both networks, elementwise; tensors that broadcast over *shape."""
    shape = pair.original.center.shape[1:]
    scale, shift = (torch.broadcast_to(values, shape)[None] for values in (scale, shift))
    a, b = (affinely(z, scale, shift) for z in (pair.original, pair.replaced))
    d = affinely(pair.difference, scale, torch.zeros_like(shift))
    sizes = [scale.abs() * z.magnitude + shift.abs() for z in (pair.original, pair.replaced)]
    return executed((a, b, d), sizes[0], sizes[1], 1, semantics)


def averaged(pair: Pair, function: Move, terms: int, semantics: Semantics) -> Pair:
    """Means or sums of at most `terms` values each, by a function of tensors (N, *shape)."""
    sizes = [grown(function(z.magnitude), terms + 1) for z in pair.parts]
    a, b, d = (
        Zonotope(
            function(z.center),
            grown(function(z.radius), terms + 1) + grown(gamma(terms + 2) * size, 1),
            {s: each(function, block) for s, block in z.blocks.items()},
        )
        for z, size in zip(pair.parts, sizes, strict=True)
    )
    return executed((a, b, d), sizes[0], sizes[1], terms, semantics)


def joined(pairs: Sequence[Pair], join: Callable[[list[Tensor]], Tensor]) -> Pair:
    """Values of several pairs side by side, by a function of tensors (N, *shape) each."""
    threes = zip(*(p.parts for p in pairs), strict=True)
    return pair_of([_joined(three, join) for three in threes])


def executed(
    three: Sequence[Zonotope],
    original: Tensor,
    replaced: Tensor,
    terms: int,
    semantics: Semantics,
) -> Pair:
    """A pair with the rounding of both networks, which sum `terms` products of these sizes."""
    if not semantics.unit:
        return pair_of(three)
    a, b = (semantics.error(terms, grown(size, 2)) for size in (original, replaced))
    errors = (a, b, grown(a + b, 1))
    return pair_of([widened(z, error) for z, error in zip(three, errors, strict=True)])


def _joined(parts: Sequence[Zonotope], join: Callable[[list[Tensor]], Tensor]) -> Zonotope:
    blocks = {}
    for symbols in dict.fromkeys(s for z in parts for s in z.blocks):
        known = next(z.blocks[symbols] for z in parts if symbols in z.blocks)
        count = max(len(z.blocks[symbols]) for z in parts if symbols in z.blocks)
        wide = []
        for z in parts:
            block = z.blocks.get(symbols)
            if block is None:
                block = known.new_zeros(1, known.shape[1], *z.center.shape[1:])
            wide.append(block.expand(count, *block.shape[1:]).flatten(0, 1))
        blocks[symbols] = join(wide).unflatten(0, (count, known.shape[1]))
    return Zonotope(join([z.center for z in parts]), join([z.radius for z in parts]), blocks)
