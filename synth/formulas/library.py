"""Bottom-up enumeration: all short formulas over some inputs, once for each function that they are.

Formulas grow from cheap to dear. Two that have the same values on all samples are one
(observational equivalence, Albarghouthi et al. 2013; Udupa et al. 2013): the cheaper one stays.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from grammars.program import Node
from synth.formulas.operations import Operation, leaf_bits, operations_of
from synth.formulas.samples import Samples

SAMPLES = 256  # on which formulas are compared,
SAME = 1e-5  # and are one where no two values differ by more than this share of the largest
KEYED = 512  # steps of a key in the largest value,
OFFSETS = (0.0, 0.5)  # of which keys start
CHUNK = 4096  # formulas that are evaluated at once
STORED = 30_000  # formulas that longer ones are made of, at most
BEST = 48  # kept of each price for their likeness to the target
FLAT = 1e-6  # of the mean square: a variance below is that of a constant
LARGEST = 1e12  # values beyond are those of no formula


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
        return Rows(*(part[which] for part in self.fields))

    def beside(self, *others: "Rows") -> "Rows":
        parts = zip(*(r.fields for r in (self, *others)), strict=True)
        return Rows(*(torch.cat(part) for part in parts))

    @property
    def fields(self) -> tuple[Tensor, ...]:
        return self.values, self.bits, self.likeness, self.operation, self.places

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
        rows = self
        for offset in OFFSETS:
            keys, order = rows.sorted_keys(offset)
            again = torch.zeros(len(rows), dtype=torch.bool)
            twice = (keys[1:] == keys[:-1]).nonzero()[:, 0]
            pair = rows.values[order[twice]], rows.values[order[twice + 1]]
            again[order[twice + 1]] = _equal(*pair)
            rows = rows.at((~again).nonzero()[:, 0])
        return rows

    def without(self, known: "Rows") -> "Rows":
        """The rows of functions that are not among those known."""
        rows = self
        for offset in OFFSETS:
            keys, order = known.sorted_keys(offset)
            own = rows.keys(offset)
            found = torch.searchsorted(keys, own).clamp_max(len(keys) - 1)
            same = keys[found] == own
            same[same.clone()] = _equal(rows.values[same], known.values[order[found[same]]])
            rows = rows.at((~same).nonzero()[:, 0])
        return rows

    def sorted_keys(self, offset: float) -> tuple[Tensor, Tensor]:
        """The keys in order, and the rows that have them."""
        if offset not in self._sorted:
            keys, order = self.keys(offset).sort(stable=True)
            self._sorted[offset] = keys, order
        return self._sorted[offset]

    def keys(self, offset: float) -> Tensor:
        """(m,) int64 that are hardly ever equal for different values, and are for equal ones unless
        rounding parts them: hardly ever for two offsets."""
        generator = torch.Generator().manual_seed(0)
        rays = torch.randn(self.values.shape[1], 2, generator=generator)
        largest = self.values.abs().amax(1, keepdim=True)
        parts = torch.cat([(self.values @ rays) / largest, largest.log2()], 1) * KEYED + offset
        first, second, size = parts.round().long().T
        return first * 2**40 + second * 2**20 + size

    @cached_property
    def _sorted(self) -> dict[float, tuple[Tensor, Tensor]]:
        return {}


class Library:
    """Formulas over the inputs of some samples, of which `tried` were evaluated.

    `stored` are the first ones, from cheap to dear, all different, and `best` those of each price
    that are most like the target. Formulas of one price are tried in one order, so that a budget
    always gives the same.
    """

    def __init__(self, samples: Samples, budget: int) -> None:
        self.samples, self.budget, self.tried = samples, budget, 0
        self.operations = operations_of(samples.grammar)
        target = samples.target - samples.target.mean()
        unit = (target / target.norm().clamp_min(1e-300)).float()
        self._looks = torch.stack([torch.full_like(unit, 1 / len(unit)), unit], 1)
        self._levels: dict[int, range] = {}
        self.stored, self._best = self._inputs(), list[Rows]()
        self._levels[int(self.stored.bits[0])] = range(len(self.stored))
        self._best.append(self.stored)
        self._grow()

    @cached_property
    def best(self) -> Rows:
        """The formulas of each price that are most like the target."""
        return self._best[0].beside(*self._best[1:])

    def programs(self, rows: Rows) -> list[Node]:
        """What the rows are, as programs."""
        return [self._program(o, p) for o, p in zip(rows.operation, rows.places, strict=True)]

    def _program(self, operation: Tensor, places: Tensor) -> Node:
        if operation < 0:
            return self.samples.taps[int(places[0])]
        made, stored = self.operations[int(operation)], self.stored
        inner = places[: made.arity].tolist()
        return made.build(*(self._program(stored.operation[i], stored.places[i]) for i in inner))

    def _inputs(self) -> Rows:
        values = self.samples.inputs.float()
        places = torch.arange(len(values))[:, None].expand(-1, 2)
        bits = leaf_bits(self.samples.grammar, len(values))
        operation = torch.full((len(values),), -1)
        rows = self._rated(values, bits, operation, places)
        return rows.distinct

    def _rated(self, values: Tensor, bits: int, operation: Tensor, places: Tensor) -> Rows:
        """The rows of new values that are finite and vary."""
        mean, along = (values @ self._looks).T
        square = torch.linalg.vecdot(values, values) / values.shape[1]
        spread = square - mean**2
        likeness = (along**2 / (spread * values.shape[1])).clamp(0, 1)
        rows = Rows(values, torch.full((len(values),), bits), likeness, operation, places)
        able = (spread > FLAT * square) & (square < LARGEST**2)  # false for what is not a number
        return rows if able.all() else rows.at(able.nonzero()[:, 0])

    def _grow(self) -> None:
        dearest = max(o.bits for o in self.operations)
        bits = min(self._levels)
        while self.tried < self.budget and bits <= 2 * max(self._levels) + dearest:
            bits += 1
            self._add(bits, self._made(bits))

    def _add(self, bits: int, parts: Iterator[Rows]) -> None:
        """Stores what is new of a price, as long as there is room, and keeps the best of it."""
        fresh, best = list[Rows](), list[Rows]()
        room = STORED - len(self.stored)
        for rows in parts:
            top = rows.likeness.topk(min(2 * BEST, len(rows))).indices
            best.append(rows.at(top.sort().values))
            if room > 0:
                fresh.append(rows.without(self.stored))
        if fresh:
            together = fresh[0].beside(*fresh[1:])
            kept = together.distinct
            kept = kept.at(torch.arange(min(room, len(kept))))
            self._levels[bits] = range(len(self.stored), len(self.stored) + len(kept))
            self.stored = self.stored.beside(kept)
            if not len(kept):
                del self._levels[bits]
        if best:
            together = best[0].beside(*best[1:])
            ranked = together.at(together.likeness.argsort(descending=True, stable=True))
            found = ranked.standard.distinct
            self._best.append(found.at(torch.arange(min(BEST, len(found)))))

    def _made(self, bits: int) -> Iterator[Rows]:
        """All formulas of a price, a few thousand at a time, until the budget is spent."""
        values = self.stored.values
        for number, operation in enumerate(self.operations):
            for left, right in self._arguments(operation, bits - operation.bits):
                if self.tried >= self.budget:
                    return
                here, there = values[left.start : left.stop], values[right.start : right.stop]
                if operation.arity == 1:
                    made, places = operation.apply(here), _pairs(left, range(1))
                else:
                    made = operation.apply(here[:, None], there[None]).flatten(0, 1)
                    places = _pairs(left, right)
                self.tried += len(places)
                yield self._rated(made, bits, torch.full((len(places),), number), places)

    def _arguments(self, operation: Operation, bits: int) -> Iterator[tuple[range, range]]:
        """Ranges of the stored arguments that cost so much together."""
        for price, own in self._levels.items():
            if operation.arity == 1:
                if price == bits:
                    yield from ((part, part) for part in _split(own, CHUNK))
                continue
            other = self._levels.get(bits - price, range(0))
            if not len(other) or (operation.symmetric and other.start < own.start):
                continue  # the other way round it was there already
            for right in _split(other, CHUNK):
                yield from ((left, right) for left in _split(own, max(1, CHUNK // len(right))))


def _split(places: range, size: int) -> Iterator[range]:
    return (places[i : i + size] for i in range(0, len(places), size))


def _pairs(left: range, right: range) -> Tensor:
    """(k, 2) all pairs of two ranges."""
    return torch.cartesian_prod(
        torch.arange(left.start, left.stop), torch.arange(right.start, right.stop)
    )


def _equal(a: Tensor, b: Tensor) -> Tensor:
    """(k,) whether two rows of values are the same but for rounding."""
    return (a - b).abs().amax(1) <= SAME * a.abs().amax(1)
