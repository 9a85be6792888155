"""Samples of a network's inputs, in memory or mapped from files, read a batch at a time."""

import hashlib
import math
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synth.keys import content_key

BATCH = 256  # samples run at once; fixed, so that sums have one order
HELD = 2**23  # numbers that the largest value of a batch may have: 32 MiB, near the cache
WIDEST = 16  # the largest value that a network computes, in sizes of its input, as a rule

Batch = tuple[Tensor, ...]
"""One tensor (n, ...) float32 for each input of the network."""


def batch_size(numbers: int, *, held: int = HELD) -> int:
    """How many samples to run at once where each takes so many of `held` numbers.

    BATCH, or the power of two below it that fits, at least 1. It follows from shapes alone, so
    that sums have one order on every machine.
    """
    fitting = max(held // max(numbers, 1), 1)
    return min(BATCH, 1 << (fitting.bit_length() - 1))


@dataclass(frozen=True, eq=False)
class Inputs:
    """N samples: an array (N, ...) of real numbers for each input of the network.

    Arrays may be memory-mapped: rows are read and made float32 a batch at a time. `rows` are the
    samples' places in the arrays, in order; by default all. Batches are on `device`. ValueError for
    arrays of unequal length, or none.
    """

    arrays: tuple[np.ndarray, ...]
    rows: np.ndarray
    device: str

    def __init__(
        self,
        arrays: Sequence[np.ndarray | Tensor],
        rows: np.ndarray | None = None,
        *,
        device: str = "cpu",
    ):
        held = tuple(a.detach().numpy() if isinstance(a, Tensor) else a for a in arrays)
        lengths = {len(a) for a in held}
        if len(lengths) != 1:
            raise ValueError(f"inputs of {sorted(lengths)} samples: expected as many of each")
        object.__setattr__(self, "arrays", held)
        object.__setattr__(self, "rows", np.arange(*lengths) if rows is None else rows)
        object.__setattr__(self, "device", device)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of a sample of each input, without the batch."""
        return tuple(tuple(a.shape[1:]) for a in self.arrays)

    def take(self, places: np.ndarray) -> "Inputs":
        """The samples at `places` (m,) of these; nothing is read yet."""
        return Inputs(self.arrays, self.rows[places], device=self.device)

    def on(self, device: str) -> "Inputs":
        """The same samples in batches on a device."""
        return Inputs(self.arrays, self.rows, device=device)

    def batch(self, start: int = 0, stop: int | None = None) -> Batch:
        """Samples `start` … `stop` as tensors; all of them by default."""
        rows = self.rows[start:stop]
        return tuple(torch.from_numpy(_read(a, rows)).to(self.device) for a in self.arrays)

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        """All samples in order, `size` at a time; by default BATCH, or fewer if they are large."""
        return (part.batch() for part in self.cut(size))

    def cut(self, size: int | None = None) -> list["Inputs"]:
        """The same batches; nothing of them is read yet."""
        size = size or batch_size(WIDEST * sum(map(math.prod, self.shapes)))
        starts = range(0, len(self), size)
        return [Inputs(self.arrays, self.rows[i : i + size], device=self.device) for i in starts]

    def digest(self) -> str:
        """A hash of the samples as float32: the same whatever they are read from."""
        hashes = [hashlib.blake2b(digest_size=16) for _ in self.arrays]
        for batch in self.batches():
            for hashed, values in zip(hashes, batch, strict=True):
                hashed.update(np.asarray(values.cpu().numpy(), dtype="<f4").data)
        return content_key(len(self), self.shapes, [h.hexdigest() for h in hashes])


def _read(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A copy of some rows, float32; pages of a mapped file do not stay in the process."""
    values = np.ascontiguousarray(array[rows], dtype=np.float32)
    if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_DONTNEED)
    return values
