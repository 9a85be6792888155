"""Bottom-up enumeration: all short formulas over some inputs, once for each function that they are.

Formulas grow from cheap to dear. Two that have the same values on all samples are one
(observational equivalence, Albarghouthi et al. 2013; Udupa et al. 2013): the cheaper one stays.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from grammars.program import Node
from synth.formulas.operations import Operation, leaf_bits, operations_of
from synth.formulas.rows import Rows, Shelf
from synth.formulas.samples import Samples

SAMPLES = 256  # on which formulas are compared
PIECE = 1024  # formulas that are evaluated at once: their values stay in a cache
CHUNK = 4096  # that are told apart at once
STORED = 30_000  # formulas that longer ones are made of, at most
BEST = 48  # kept of each price for their likeness to the target
FLAT = 1e-6  # of the mean square: a variance below is that of a constant
LARGEST = 1e12  # values beyond are those of no formula
NONE = -1.0  # likeness of what is no formula
FLOAT, COPIES = 4, 4  # bytes of a value, and arrays of a block's values that are there at once


@dataclass(frozen=True)
class Piece:
    """Formulas of one operation, by its number: on all pairs of two ranges of those stored, or on
    one range, beside which stands range(1)."""

    operation: int
    left: range
    right: range

    def __len__(self) -> int:
        return len(self.left) * len(self.right)


@dataclass(frozen=True, eq=False)
class Block:
    """Some thousand formulas of one price: those of each piece by values (k, n), and all (m,) by
    likeness."""

    pieces: list[Piece]
    bits: int
    parts: list[Tensor]
    likeness: Tensor

    @property
    def values(self) -> Tensor:
        """(m, n) on the samples."""
        return torch.cat(self.parts)

    def at(self, which: Tensor) -> Rows:
        """Some of them, in their order."""
        sizes = torch.tensor([len(p) for p in self.pieces])
        of = torch.searchsorted(sizes.cumsum(0), which, right=True)
        inner = which - (sizes.cumsum(0) - sizes)[of]
        made = [(p.operation, p.left.start, p.right.start, len(p.right)) for p in self.pieces]
        operation, left, right, width = torch.tensor(made)[of].T
        places = torch.stack([left + inner // width, right + inner % width], 1)
        each = inner.split(of.bincount(minlength=len(sizes)).tolist())
        values = torch.cat([v.index_select(0, i) for v, i in zip(self.parts, each, strict=True)])
        return Rows(
            values, torch.full_like(which, self.bits), self.likeness[which], operation, places
        )


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
        self._target = (target / target.norm().clamp_min(1e-300)).float()
        self._shelf = Shelf(STORED, len(target))
        self._shelf.add(self._inputs())
        self._levels = {int(self.stored.bits[0]): range(len(self.stored))}
        self._best = [self.stored]
        self._grow()

    @property
    def stored(self) -> Rows:
        return self._shelf.rows

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
        count = len(values)
        bits = torch.full((count,), leaf_bits(self.samples.grammar, count))
        places = torch.arange(count)[:, None].expand(-1, 2)
        rows = Rows(
            values, bits, self._likeness(self._moments(values)), torch.full((count,), -1), places
        )
        return rows.at((rows.likeness > NONE).nonzero()[:, 0]).distinct

    def _moments(self, values: Tensor) -> Tensor:
        """(3, m) mean and mean square of values, and their product with the target."""
        square = torch.linalg.vecdot(values, values) / values.shape[1]
        return torch.stack([values.mean(1), square, values @ self._target])

    def _likeness(self, moments: Tensor) -> Tensor:
        """(m,) r² of the target with values that are finite and vary; NONE for others."""
        mean, square, along = moments
        spread = square - mean**2
        likeness = (along**2 / (spread * len(self._target))).clamp(0, 1)
        able = (spread > FLAT * square) & (square < LARGEST**2)  # false for what is not a number
        return likeness.where(able, NONE)

    def _grow(self) -> None:
        dearest = max(o.bits for o in self.operations)
        bits = min(self._levels)
        while self.tried < self.budget and bits <= 2 * max(self._levels) + dearest:
            bits += 1
            self._add(bits)

    def _add(self, bits: int) -> None:
        """Stores what is new of a price, as long as there is room, and keeps the best of it."""
        start, best = len(self._shelf), _Best(self.stored.first(0))
        for block in self._blocks(bits):
            if self._shelf.room:
                able = (block.likeness > NONE).nonzero()[:, 0]
                fresh = able[self._shelf.fresh(block.values.index_select(0, able))]
                self._shelf.add(block.at(fresh[: self._shelf.room]))
            best.add(block)
        if len(self._shelf) > start:
            self._levels[bits] = range(start, len(self._shelf))
        self._best.append(best.settled())

    def _blocks(self, bits: int) -> Iterator[Block]:
        """All formulas of a price, a few thousand at a time, until the budget is spent."""
        for pieces in _together(self._pieces(bits)):
            parts, moments = [], []
            for piece in pieces:
                parts.append(self._values(piece))
                moments.append(self._moments(parts[-1]))
            yield Block(pieces, bits, parts, self._likeness(torch.cat(moments, 1)))

    def _values(self, piece: Piece) -> Tensor:
        """(m, n) of the formulas of a piece."""
        operation, values = self.operations[piece.operation], self.stored.values
        here, there = (values[part.start : part.stop] for part in (piece.left, piece.right))
        if operation.arity == 1:
            return operation.apply(here)
        return operation.apply(here[:, None], there[None]).flatten(0, 1)

    def _pieces(self, bits: int) -> Iterator[Piece]:
        for number, operation in enumerate(self.operations):
            for left, right in self._arguments(operation, bits - operation.bits):
                if self.tried >= self.budget:
                    return
                piece = Piece(number, left, right)
                self.tried += len(piece)
                yield piece

    def _arguments(self, operation: Operation, bits: int) -> Iterator[tuple[range, range]]:
        """Ranges of the stored arguments that cost so much together."""
        for price, own in self._levels.items():
            if operation.arity == 1:
                if price == bits:
                    yield from ((part, range(1)) for part in _split(own, PIECE))
                continue
            other = self._levels.get(bits - price, range(0))
            if not len(other) or (operation.symmetric and other.start < own.start):
                continue  # the other way round it was there already
            for right in _split(other, PIECE):
                yield from ((left, right) for left in _split(own, max(1, PIECE // len(right))))


def library_bytes() -> float:
    """What a full library holds, with the block that it evaluates: values, and little beside."""
    return FLOAT * SAMPLES * (STORED + COPIES * CHUNK)


def _split(places: range, size: int) -> Iterator[range]:
    return (places[i : i + size] for i in range(0, len(places), size))


def _together(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces in order, so many at a time that they are a few thousand formulas."""
    held: list[Piece] = []
    for piece in pieces:
        if held and sum(map(len, held)) + len(piece) > CHUNK:
            yield held
            held = []
        held.append(piece)
    if held:
        yield held


class _Best:
    """The formulas of a price that are most like the target, all different."""

    def __init__(self, nothing: Rows) -> None:
        self._kept, self._waiting = nothing, list[Rows]()

    def add(self, block: Block) -> None:
        """Takes what may be among them: those that wait are compared with others together."""
        able = (block.likeness > self._least).nonzero()[:, 0]
        if not len(able):
            return
        ranked = able[block.likeness[able].argsort(descending=True, stable=True)]
        for part in ranked.split(2 * BEST):
            if float(block.likeness[part[0]]) <= self._least:
                break
            self._waiting.append(block.at(part.sort().values))
            if sum(map(len, self._waiting)) >= 2 * BEST:
                self.settled()

    def settled(self) -> Rows:
        """Those most like the target first."""
        if self._waiting:
            together = self._kept.beside(*self._waiting)
            self._kept, self._waiting = together.ranked.standard.distinct.first(BEST), []
        return self._kept

    @property
    def _least(self) -> float:
        """The likeness that a formula must exceed."""
        return float(self._kept.likeness[-1]) if len(self._kept) == BEST else NONE
