"""One pass over the patches of a layer: moments in blocks, envelope, statistics and extremes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from synth.layers import Layer
from synth.modules import apply_heads

CHUNK_FLOATS = 2**23  # numbers of patches that are held at once
BLOCK = 4096  # columns of one block of the Gram matrix, at most
EXTREMES = 32  # patches kept for each unit at its top, and as many at its threshold,
EXTREME_BYTES = 2**25  # as long as all of them, with the activations beside them, take no more


@dataclass(frozen=True, eq=False)
class Moments:
    """Over all fit patches x: `gram` (B, f+1, f+1), the mean of [x, 1][x, 1]ᵀ in blocks of columns.

    A layer has a block for each group; one of more than `BLOCK` columns has several of equal
    length, filled up with zeros, and what its blocks have to do with each other is not known.
    `cross` (fan+1, U) is the mean of [x, 1] · pre, of each unit's own columns with its
    pre-activation.
    """

    gram: np.ndarray
    cross: np.ndarray


def blocks_of(layer: Layer) -> tuple[int, int]:
    """How many blocks the moments of a layer have, and how many columns each."""
    parts = 1 if layer.groups > 1 else -(-layer.fan // BLOCK)
    return layer.groups * parts, -(-layer.fan // parts)


def row_bytes(layer: Layer) -> int:
    """What a kept patch takes, with pre-activations and activations there."""
    return 4 * layer.width + 16 * layer.units


def extreme_rows(layer: Layer) -> int:
    """How many patches are kept as extreme ones, at most; one at each top and threshold, always."""
    return max(2 * layer.units, EXTREME_BYTES // row_bytes(layer))


def activations(layer: Layer, pre: Tensor) -> Tensor:
    """The units (n, U) from their pre-activations."""
    return apply_heads(layer.heads, pre)


class Survey:
    """Streams over the fit patches of a layer, in float64, on the device of the patches."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.count = layer, 0
        self._streams = blocks_of(layer)[0] > layer.groups or not layer.affine
        self._gram: Tensor | float = 0.0
        self._cross: Tensor | float = 0.0
        self._sum: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0
        self._top, self._near = _Extremes(), _Extremes()

    def add(self, patches: Tensor, pre: Tensor) -> None:
        """A batch of patches (n, width), and the units' pre-activations (n, U) float64 there."""
        values = activations(self.layer, pre)
        rows = self._blocks(patches)
        self._gram += rows.mT @ rows
        if self._streams:
            self._cross += self._products(rows, pre)
        self._sum += values.sum(0)
        self._squares += (values**2).sum(0)
        self._bound(patches, values)
        self._top.add(pre, self.count)
        self._near.add(-pre.abs(), self.count)
        self.count += len(patches)

    @cached_property
    def moments(self) -> Moments:
        """Moments; where patches are few for a block, its covariances are shrunk (`_shrink`).

        The sums become them in place, because a wide layer's are large: no patches may follow.
        """
        gram = torch.as_tensor(self._gram).div_(self.count)
        size = gram.shape[1] - 1
        is_shrunk = self.count < 2 * (size + 1)
        if is_shrunk:
            _shrink(gram, size / (self.count + size))
        follows = not self._streams or (is_shrunk and self.layer.affine)
        cross = self._units(gram) if follows else torch.as_tensor(self._cross) / self.count
        return Moments(gram.cpu().numpy(), cross.cpu().numpy())

    @property
    def variance(self) -> Tensor:
        """(U,) variances; exactly zero for a constant unit, whatever the rounding of the sums."""
        mean, square = (torch.as_tensor(t) / self.count for t in (self._sum, self._squares))
        spread = (square - mean**2).clamp_min(torch.finfo(torch.float64).tiny)
        return torch.where(self.span > 0, spread, torch.zeros_like(spread))

    @property
    def span(self) -> Tensor:
        """(U,) ranges of the activations."""
        return self.high - self.low

    @property
    def extremes(self) -> np.ndarray:
        """Rows of the largest pre-activations, and of those nearest to zero, of any unit.

        Where they would be more than `extreme_rows`, each unit keeps as many as the others, the
        most extreme ones.
        """
        ranked = torch.cat([self._top.rows, self._near.rows], 1).cpu().numpy()  # (EXTREMES, 2U)
        rows, first = np.unique(ranked, return_index=True)
        rank = first // ranked.shape[1]
        kept = np.bincount(rank).cumsum() <= extreme_rows(self.layer)
        return rows[rank < max(1, kept.sum())]

    def _blocks(self, patches: Tensor) -> Tensor:
        """(B, n, f+1) float64: the columns of each block, and a column of ones."""
        count, size = blocks_of(self.layer)
        filled = F.pad(patches, (0, count * size - patches.shape[1]))
        rows = patches.new_ones(count, len(patches), size + 1, dtype=torch.float64)
        rows[..., :-1] = filled.unflatten(1, (count, size)).transpose(0, 1)
        return rows

    def _products(self, rows: Tensor, pre: Tensor) -> Tensor:
        """(fan+1, U): the columns of all blocks, and the ones, with each unit's pre-activation."""
        sums = rows.mT @ pre
        return torch.cat([sums[:, :-1].flatten(0, 1)[: self.layer.fan], sums[0, -1:]])

    def _units(self, gram: Tensor) -> Tensor:
        """(fan+1, U): what `cross` is under a Gram matrix, because units are affine."""
        layer, (count, size) = self.layer, blocks_of(self.layer)
        weight, bias = (torch.tensor(a).to(gram) for a in (layer.weight, layer.bias))
        filled = F.pad(weight, (0, count * size // layer.groups - layer.fan))
        own = filled.unflatten(1, (-1, size)).unflatten(0, (layer.groups, -1))  # (G, u, b, f)
        blocks = gram.unflatten(0, (layer.groups, -1))  # (G, b, f+1, f+1)
        sums = torch.einsum("gbij,gubj->gubi", blocks[..., :-1, :-1], own)
        sums = sums + blocks[:, None, :, :-1, -1] * bias.view(layer.groups, -1, 1, 1)
        means = torch.einsum("gbj,gubj->gu", blocks[..., -1, :-1], own).flatten() + bias
        return torch.cat([sums.flatten(0, 1).flatten(1)[:, : layer.fan], means[:, None]], 1).T

    def _bound(self, patches: Tensor, values: Tensor) -> None:
        ends = patches.amin(0), patches.amax(0), values.amin(0), values.amax(0)
        if self.count:
            low, high = torch.minimum, torch.maximum
            old = self.lower, self.upper, self.low, self.high
            ends = tuple(f(a, b) for f, a, b in zip((low, high) * 2, old, ends, strict=True))
        self.lower, self.upper, self.low, self.high = ends


def _shrink(gram: Tensor, share: float) -> None:
    """Makes the covariances of columns in `gram` (B, f+1, f+1) a `share` smaller, not variances.

    Fewer patches than columns say nothing of most directions; left alone, a fit would take them for
    free (Ledoit and Wolf 2004).
    """
    inner, means = gram[:, :-1, :-1], gram[:, :-1, -1]
    outer = means[:, :, None] * means[:, None, :]
    inner -= outer
    variances = share * inner.diagonal(dim1=1, dim2=2)
    inner *= 1 - share
    inner += outer
    inner.diagonal(dim1=1, dim2=2).add_(variances)


class _Extremes:
    """(EXTREMES, U) the rows of the largest values of each unit over a stream, in order."""

    def __init__(self) -> None:
        self.values = self.rows = torch.zeros(0)

    def add(self, values: Tensor, offset: int) -> None:
        top, rows = values.topk(min(EXTREMES, len(values)), dim=0)
        rows = rows + offset
        if self.rows.numel():
            top, rows = torch.cat([self.values, top]), torch.cat([self.rows, rows])
            top, order = top.topk(min(EXTREMES, len(top)), dim=0)
            rows = rows.gather(0, order)
        self.values, self.rows = top, rows
