"""Formulas by their values on samples, and which of them are one function.

Two are one if no two values differ by more than rounding. Keys of the values say which two may be:
these are compared, and what is not found equal stays.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

SAME = 1e-5  # two are one where no two values differ by more than this share of the largest
KEYED = 512  # steps of a key in the largest value,
OFFSETS = (0.0, 0.5)  # of which keys start


@dataclass(frozen=True, eq=False)
class Rows:
    """Formulas by their values (m, n) float32 on the samples, prices (m,), likeness (m,), which is
    r² of the target with them, and how they are made: `operation` (m,), −1 for an input, and places
    (m, 2) of its arguments among those that are stored."""

    values: Tensor
    bits: Tensor
    likeness: Tensor
    operation: Tensor
    places: Tensor

    def __len__(self) -> int:
        return len(self.bits)

    def at(self, which: Tensor) -> "Rows":
        return Rows(*(part.index_select(0, which) for part in self.fields))

    def first(self, count: int) -> "Rows":
        """A view of so many at most."""
        return Rows(*(part[:count] for part in self.fields))

    def beside(self, *others: "Rows") -> "Rows":
        parts = zip(*(r.fields for r in (self, *others)), strict=True)
        return Rows(*(torch.cat(part) for part in parts))

    @property
    def fields(self) -> tuple[Tensor, ...]:
        return self.values, self.bits, self.likeness, self.operation, self.places

    @property
    def ranked(self) -> "Rows":
        """Those most like the target first."""
        return self.at(self.likeness.argsort(descending=True, stable=True))

    @property
    def standard(self) -> "Rows":
        """With values of mean zero and size one, of which the largest is above zero: the same for
        formulas that differ by a factor and a constant."""
        values = self.values - self.values.mean(1, keepdim=True)
        values = values / values.norm(dim=1, keepdim=True)
        largest = values.gather(1, values.abs().argmax(1, keepdim=True))
        return replace(self, values=values * largest.sign())

    @property
    def distinct(self) -> "Rows":
        """The first row of each function, in order."""
        return self.at(_first_of_each(self.values, torch.arange(len(self)), _signs(self.values)))


class Shelf:
    """Different formulas in order, so many at most. Memory is taken as they come."""

    def __init__(self, most: int, samples: int) -> None:
        values, likeness = torch.empty(most, samples), torch.empty(most)
        bits, operation, places = (torch.empty(most, *s, dtype=torch.long) for s in ((), (), (2,)))
        self._space, self._count = Rows(values, bits, likeness, operation, places), 0
        nothing = torch.empty(0, dtype=torch.long)
        self._keys = dict.fromkeys(OFFSETS, (nothing, nothing))

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> Rows:
        """A view of all."""
        return self._space.first(self._count)

    @property
    def room(self) -> int:
        return len(self._space) - self._count

    def fresh(self, values: Tensor) -> Tensor:
        """(k,) the first row of each function among values (m, n) that is not here, in order."""
        signs, left = _signs(values), torch.arange(len(values))
        for offset, (keys, places) in self._keys.items():
            own = _keys(signs[:, left], offset)
            found = torch.searchsorted(keys, own).clamp_max(len(keys) - 1)
            near = (keys[found] == own).nonzero()[:, 0] if len(keys) else left[:0]
            same = _equal(values, left[near], self._space.values, places[found[near]])
            left = _but(left, near[same])
        return _first_of_each(values, left, signs)

    def add(self, rows: Rows) -> None:
        """Puts other formulas, none of which is here, behind those that are."""
        start, self._count = self._count, self._count + len(rows)
        for part, other in zip(self._space.fields, rows.fields, strict=True):
            part[start : self._count] = other
        signs = _signs(rows.values)
        for offset, (keys, order) in self._keys.items():
            self._keys[offset] = _merged(keys, order, *_keys(signs, offset).sort(), start)


def _merged(
    keys: Tensor, order: Tensor, more: Tensor, behind: Tensor, start: int
) -> tuple[Tensor, Tensor]:
    """Sorted keys and the places of their rows, with more among them, of rows from `start` on.

    A sort of both together would take several times as long.
    """
    at = torch.searchsorted(keys, more, right=True).numpy()
    return (
        torch.from_numpy(np.insert(keys.numpy(), at, more.numpy())),
        torch.from_numpy(np.insert(order.numpy(), at, behind.numpy() + start)),
    )


def _first_of_each(values: Tensor, left: Tensor, signs: Tensor) -> Tensor:
    """Of rows `left` (m,) of a table of values the first of each function, in order."""
    for offset in OFFSETS:
        keys, order = _keys(signs[:, left], offset).sort(stable=True)
        twice = (keys[1:] == keys[:-1]).nonzero()[:, 0]
        one, other = order[twice], order[twice + 1]
        left = _but(left, other[_equal(values, left[one], values, left[other])])
    return left


def _but(left: Tensor, places: Tensor) -> Tensor:
    """What is left without that at some places."""
    kept = torch.ones(len(left), dtype=torch.bool)
    kept[places] = False
    return left[kept]


def _signs(values: Tensor) -> Tensor:
    """(3, m) what tells functions apart: two projections, in the largest value, and its size."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(values.shape[1], 2, generator=generator).T.contiguous()
    largest = _largest(values)
    return torch.stack([values @ first / largest, values @ second / largest, largest.log2()])


def _keys(signs: Tensor, offset: float) -> Tensor:
    """(m,) int64 that are hardly ever equal for different values, and are for equal ones unless
    rounding parts them: hardly ever for two offsets."""
    first, second, size = (signs * KEYED + offset).round().long()
    return first * 2**40 + second * 2**20 + size


def _equal(a: Tensor, here: Tensor, b: Tensor, there: Tensor) -> Tensor:
    """(k,) whether rows of two tables are the same but for rounding."""
    some = a.index_select(0, here)
    apart = _largest(some - b.index_select(0, there))
    return apart <= SAME * _largest(some)


def _largest(values: Tensor) -> Tensor:
    """(m,) the largest size of a value in each row."""
    return torch.maximum(values.amax(1), -values.amin(1))
