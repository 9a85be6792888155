"""Samples of a network's inputs, in memory or mapped from files, read a batch at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BATCH = 256  # probes run at once; fixed, so that sums have one order

Batch = tuple[Tensor, ...]
"""One tensor (n, ...) float32 for each input of the network."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """N samples: an array (N, ...) of real numbers for each input of the network.

    Arrays may be memory-mapped: rows are read and made float32 a batch at a time. `rows` are the
    samples' places in the arrays, in order; by default all. ValueError for arrays of unequal
    length, or none.
    """

    arrays: tuple[np.ndarray, ...]
    rows: np.ndarray

    def __init__(self, arrays: Sequence[np.ndarray | Tensor], rows: np.ndarray | None = None):
        held = tuple(a.numpy() if isinstance(a, Tensor) else a for a in arrays)
        lengths = {len(a) for a in held}
        if len(lengths) != 1:
            raise ValueError(f"inputs of {sorted(lengths)} samples: expected as many of each")
        object.__setattr__(self, "arrays", held)
        object.__setattr__(self, "rows", np.arange(*lengths) if rows is None else rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of a sample of each input, without the batch."""
        return tuple(tuple(a.shape[1:]) for a in self.arrays)

    def take(self, places: np.ndarray) -> "Inputs":
        """The samples at `places` (m,) of these; nothing is read yet."""
        return Inputs(self.arrays, self.rows[places])

    def batch(self, start: int = 0, stop: int | None = None) -> Batch:
        """Samples `start` … `stop` as tensors; all of them by default."""
        rows = self.rows[start:stop]
        return tuple(torch.from_numpy(np.asarray(a[rows], dtype=np.float32)) for a in self.arrays)

    def batches(self, size: int = BATCH) -> Iterator[Batch]:
        """All samples in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.batch(start, start + size)
