"""The largest of several values in both networks, by max(x, y) = x + relu(y − x)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn import functional as F

from oracles.difference.bend import bent_pair
from oracles.difference.curves import bent
from oracles.difference.pair import Pair
from oracles.difference.rounding import REAL
from oracles.difference.sums import added

Two = tuple[int, int]


def larger(one: Pair, other: Pair, name: str) -> Pair:
    """The elementwise maximum. It is exact in floats: only what encloses it loses."""
    relu = bent().to(one.original.center)
    above = bent_pair(added(other, one, -1.0, REAL), relu, name, REAL)
    return added(one, above, 1.0, REAL)


def largest(pairs: Sequence[Pair], name: str) -> Pair:
    """The elementwise maximum of several."""
    top = pairs[0]
    for place, other in enumerate(pairs[1:]):
        top = larger(top, other, f"{name}:{place}")
    return top


def max_pooled(
    pair: Pair, name: str, *, window: Two, stride: Two, padding: Two, dilation: Two, size: Two
) -> Pair:
    """Maxima over windows of maps (B, C, H, W), with `size` rows and columns of them.

    Places outside a map count as a number that is nowhere above the map.
    """
    spans = [s * (n - 1) + 1 for s, n in zip(stride, size, strict=True)]
    ends = []
    for axis, there in enumerate(pair.original.center.shape[2:]):
        reach = dilation[axis] * (window[axis] - 1) + spans[axis]
        ends.append(max(0, reach - padding[axis] - there))
    wide = _padded(pair, (padding[1], ends[1], padding[0], ends[0]))

    def cell(top: int, left: int) -> Pair:
        rows = slice(top, top + spans[0], stride[0])
        columns = slice(left, left + spans[1], stride[1])
        return wide.mapped(lambda maps: maps[:, :, rows, columns])

    offsets = [range(0, k * d, d) for k, d in zip(window, dilation, strict=True)]
    return largest([cell(top, left) for top in offsets[0] for left in offsets[1]], name)


def _padded(pair: Pair, ends: tuple[int, int, int, int]) -> Pair:
    """Maps with a margin of the least that is anywhere in them, in either network."""
    if not any(ends):
        return pair
    around = pair.mapped(lambda maps: F.pad(maps, ends))
    outside = 1 - F.pad(torch.ones_like(pair.original.center), ends)
    floor = torch.minimum(pair.original.lower.amin(), pair.replaced.lower.amin())
    a, b = (replace(z, center=z.center + floor * outside) for z in around.parts[:2])
    return Pair(a, b, around.difference)
