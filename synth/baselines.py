"""Baselines: what plain rounding, pruning and an entropy code make of the same weights.

Rounded and pruned units are written as programs, so that the coder of programs prices them too,
with positions, exponents and biases. The lossless code of the original has a decoder.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from grammars.coding import encode, program_bits
from grammars.grammar import Grammar
from grammars.program import Node, linear, tap
from grammars.scope import Scope
from grammars.stream import BitReader, BitWriter
from synth.assembly import LayerChoice, Status, UnitChoice
from synth.engine import with_head
from synth.layers import Layer
from synth.rounding import BIAS_SHIFT

COARSEST, FINEST = -2, 24  # log2 of the levels: all weights become zero, all 24 bits are kept
STEPS = 16  # precisions tried between two powers of two
SHARES = 256  # shares of kept weights tried
PRECISIONS = (6, 7, 8)  # bits of the weights that pruning keeps, the sign included

Rows = list[np.ndarray]  # for each layer (U, F+1) float64: the weights and the bias of each unit


def rounded_at(layers: Sequence[Layer], bits: int, grammar: Grammar) -> list[LayerChoice]:
    """Plain rounding of all weights, at the highest precision whose source takes at most `bits`.

    The network has one number of levels; a step is the power of two at or below the largest weight
    over the levels, of the unit or of its layer, whichever changes the weights less (see
    `pruned_at`). Biases are four times as fine. Bits that are left halve the steps of the units
    that change most. Where no precision fits, all weights become zero: `source_bits` tells.
    """
    coder = _Coder(layers, grammar)
    found = (_rounded_within(coder, bits, common=common) for common in (False, True))
    return coder.choices(min(found, key=coder.change), "rounding")


def _rounded_within(coder: "_Coder", bits: int, *, common: bool) -> Rows:
    def rounded(index: int) -> Rows:
        levels = 2.0 ** (COARSEST + index / STEPS)
        return [_rounded(row, levels, common=common) for row in coder.rows]

    index = coder.largest(rounded, (FINEST - COARSEST) * STEPS, bits)
    base, finer = rounded(index), rounded(index + STEPS)
    order = coder.by_change(base)

    def refined(count: int) -> Rows:
        rows = [row.copy() for row in base]
        for layer, unit in order[:count]:
            rows[layer][unit] = finer[layer][unit]
        return rows

    return refined(coder.largest(refined, len(order), bits))


def pruned_at(layers: Sequence[Layer], bits: int, grammar: Grammar) -> list[LayerChoice]:
    """Magnitude pruning: the largest share of every layer's weights that takes at most `bits`.

    What is kept is rounded to 6, 7 or 8 bits: whichever changes the weights least, in squares
    relative to each layer's own. Where no share fits, no weight is kept: `source_bits` tells.
    """
    coder = _Coder(layers, grammar)

    def pruned(precision: int) -> Rows:
        def at(index: int) -> Rows:
            return [_rounded(_kept(r, index / SHARES), 2.0 ** (precision - 2)) for r in coder.rows]

        return at(coder.largest(at, SHARES, bits))

    found = (pruned(precision) for precision in PRECISIONS)
    return coder.choices(min(found, key=coder.change), "pruning")


class _Coder:
    """Rows of constants as the source of layers; every row is priced once."""

    def __init__(self, layers: Sequence[Layer], grammar: Grammar) -> None:
        self.layers, self.grammar = layers, grammar
        self.scopes = [layer.scope for layer in layers]
        self.rows: Rows = [np.column_stack([la.weight, la.bias]).astype(float) for la in layers]
        self.known: dict[tuple[int, int, bytes], int] = {}

    def largest(self, rows_at: Callable[[int], Rows], last: int, bits: int) -> int:
        """The last index in 0 … `last` whose rows take at most `bits`, or 0 if none does."""
        low, high = 0, last + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.bits(rows_at(middle)) <= bits else (low, middle)
        return low

    def bits(self, rows: Rows) -> int:
        """The length of the stream that `choices` make."""
        units = ((i, c, row) for i, layer in enumerate(rows) for c, row in enumerate(layer))
        return len(encode([], self.grammar)) + sum(self._unit_bits(*unit) for unit in units)

    def choices(self, rows: Rows, engine: str) -> list[LayerChoice]:
        """Every unit as a program of its head over its row."""
        return [
            LayerChoice(layer, self.scopes[i], tuple(self._units(i, rows[i], engine)))
            for i, layer in enumerate(self.layers)
        ]

    def change(self, rows: Rows) -> float:
        """Squared changes of the weights over the squares of all weights, summed over layers."""
        pairs = zip(self.rows, rows, strict=True)
        terms = ((((a - b)[:, :-1] ** 2).sum(), (a[:, :-1] ** 2).sum()) for a, b in pairs)
        return sum(float(change / total) for change, total in terms if total)

    def by_change(self, rows: Rows) -> list[tuple[int, int]]:
        """(layer, unit) of all units, those first whose weights change most."""
        changes = [((a - b) ** 2).sum(1) for a, b in zip(self.rows, rows, strict=True)]
        units = [(-float(v), i, c) for i, part in enumerate(changes) for c, v in enumerate(part)]
        return [(layer, unit) for _, layer, unit in sorted(units)]

    def _units(self, index: int, rows: np.ndarray, engine: str) -> Iterator[UnitChoice]:
        nan = float("nan")
        for channel, row in enumerate(rows):
            program, bits = self._program(index, channel, row), self._unit_bits(index, channel, row)
            yield UnitChoice(channel, Status.ROUNDED, program, bits, nan, nan, engine)

    def _unit_bits(self, index: int, channel: int, row: np.ndarray) -> int:
        key = index, channel, row.tobytes()
        if key not in self.known:
            program = self._program(index, channel, row)
            self.known[key] = program_bits(program, self.scopes[index].of(channel), self.grammar)
        return self.known[key]

    def _program(self, index: int, channel: int, row: np.ndarray) -> Node:
        scope = self.scopes[index].of(channel)
        return with_head(self.layers[index].heads[channel], _sum(scope, row))


def _sum(scope: Scope, row: np.ndarray) -> Node:
    used = np.flatnonzero(row[:-1])
    return linear([(float(row[i]), tap(*scope.columns[i])) for i in used], float(row[-1]))


def _rounded(rows: np.ndarray, levels: float, *, common: bool = False) -> np.ndarray:
    """Rows on grids of at least `levels` steps to the largest weight, and less than twice as many.

    That of the unit, or of the layer if `common`. The bias, as that of found programs, may be finer
    by `BIAS_SHIFT` bits.
    """
    weights = np.abs(rows[:, :-1]).max(1, initial=0.0)
    weights = np.full_like(weights, weights.max(initial=0.0)) if common else weights
    largest = np.where(weights > 0, weights, np.abs(rows[:, -1]))
    exponents = np.floor(np.log2(np.where(largest > 0, largest, 1.0) / levels))
    steps = np.repeat(np.exp2(exponents)[:, None], rows.shape[1], axis=1)
    steps[:, -1] *= 2.0**-BIAS_SHIFT
    return np.round(rows / steps) * steps


def _kept(rows: np.ndarray, share: float) -> np.ndarray:
    """The largest weights of a layer, `share` of them, and zeros; biases stay."""
    sizes = np.abs(rows[:, :-1]).ravel()
    dropped = np.argsort(-sizes, kind="stable")[round(share * sizes.size) :]
    weights = rows[:, :-1].flatten()
    weights[dropped] = 0.0
    return np.column_stack([weights.reshape(len(rows), -1), rows[:, -1]])


# the lossless code of float32 numbers


def entropy_bits(layers: Sequence[Layer]) -> int:
    """The length of `encode_floats` of the layers' weights and biases, one array a layer."""
    return sum(_cheapest(_words(array)).bits for array in layer_floats(layers))


def layer_floats(layers: Sequence[Layer]) -> list[np.ndarray]:
    """For each layer its weights, unit by unit, and then its biases, (O·F + O,) float32."""
    return [np.concatenate([la.weight.ravel(), la.bias]) for la in layers]


def encode_floats(arrays: Sequence[np.ndarray]) -> BitWriter:
    """Float32 arrays (n,), each by the shortest of three codes.

    Raw; a book of the distinct numbers and Huffman indices into it; or Huffman codes of the
    exponents with 24 raw bits of sign and mantissa each. A book holds its canonical code lengths.
    """
    writer = BitWriter()
    for array in arrays:
        _cheapest(_words(array)).write(writer)
    return writer


def decode_floats(data: bytes, sizes: Sequence[int]) -> list[np.ndarray]:
    """The inverse of `encode_floats`, given the arrays' sizes; every bit comes back."""
    reader = BitReader(data)
    return [_read(reader, size).view(np.float32) for size in sizes]


@dataclass(frozen=True, eq=False)
class _Scheme:
    """How a float32 word splits into a symbol, `width` bits from bit `shift` on, and the rest."""

    tag: int
    width: int
    shift: int

    @property
    def rest(self) -> int:
        return 32 - self.width

    def split(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Symbols and rests of words (n,) int64."""
        low = words & ((1 << self.shift) - 1)
        symbols = words >> self.shift & ((1 << self.width) - 1)
        return symbols, words >> (self.shift + self.width) << self.shift | low

    def join(self, symbol: int, rest: int) -> int:
        """The word of a symbol and its rest."""
        low = rest & ((1 << self.shift) - 1)
        return rest >> self.shift << (self.shift + self.width) | symbol << self.shift | low


RAW, BOOK, EXPONENTS = _Scheme(0, 0, 0), _Scheme(1, 32, 0), _Scheme(2, 8, 23)


@dataclass(frozen=True, eq=False)
class _Coded:
    """Words under a scheme: the book is `symbols` in canonical order with their code `lengths`.

    `places` (n,) index the book; for RAW there is no book.
    """

    scheme: _Scheme
    symbols: np.ndarray
    lengths: np.ndarray
    places: np.ndarray
    rests: np.ndarray

    @property
    def bits(self) -> int:
        """The length of what `write` writes."""
        book = BitWriter()
        self._write_book(book)
        indices = int(self.lengths[self.places].sum()) if self.scheme.width else 0
        return 2 + len(book) + indices + self.scheme.rest * len(self.rests)

    def write(self, writer: BitWriter) -> None:
        writer.bits(self.scheme.tag, 2)
        self._write_book(writer)
        codes = _canonical(self.lengths.tolist())
        for place, rest in zip(self.places.tolist(), self.rests.tolist(), strict=True):
            writer.code(codes[place] if codes else "")
            writer.bits(rest, self.scheme.rest)

    def _write_book(self, writer: BitWriter) -> None:
        """How many codes there are of each length from 1 on, and the symbols."""
        if self.scheme.width:
            counts = np.bincount(self.lengths, minlength=1)[1:].tolist()
            for count in (len(counts), *counts):
                writer.gamma(count)
            for symbol in self.symbols.tolist():
                writer.bits(symbol, self.scheme.width)


def _words(array: np.ndarray) -> np.ndarray:
    flat = np.ascontiguousarray(array, dtype=np.float32).ravel()
    return flat.view(np.uint32).astype(np.int64)


def _cheapest(words: np.ndarray) -> _Coded:
    nothing = np.zeros(0, dtype=np.int64)
    raw = _Coded(RAW, nothing, nothing, np.zeros(len(words), dtype=np.int64), words)
    coded = (_coded(scheme, words) for scheme in (BOOK, EXPONENTS)) if len(words) else ()
    return min([raw, *(c for c in coded if c is not None)], key=lambda c: c.bits)


def _coded(scheme: _Scheme, words: np.ndarray) -> _Coded | None:
    """The words under a scheme, None if its book alone is as long as the words."""
    parts, rests = scheme.split(words)
    symbols, places, counts = np.unique(parts, return_inverse=True, return_counts=True)
    if scheme.width * len(symbols) >= 32 * len(words):
        return None
    lengths = np.array(_code_lengths(counts.tolist()))
    order = np.lexsort((symbols, lengths))
    ranks = np.argsort(order, kind="stable")
    return _Coded(scheme, symbols[order], lengths[order], ranks[places], rests)


def _code_lengths(counts: Sequence[int]) -> list[int]:
    """Huffman's code lengths (1952) for symbols that occur `counts` times; 1 for a lone one."""
    if len(counts) == 1:
        return [1]
    heap = [(count, i) for i, count in enumerate(counts)]
    heapq.heapify(heap)
    parents: dict[int, int] = {}
    for node in range(len(counts), 2 * len(counts) - 1):
        (first, a), (second, b) = heapq.heappop(heap), heapq.heappop(heap)
        parents[a] = parents[b] = node
        heapq.heappush(heap, (first + second, node))
    depths = {2 * len(counts) - 2: 0}
    for node in range(2 * len(counts) - 3, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return [depths[i] for i in range(len(counts))]


def _canonical(lengths: Sequence[int]) -> list[str]:
    """Canonical code words for ascending lengths."""
    words, code = [], 0
    for before, length in pairwise([0, *lengths]):
        code <<= length - before
        words.append(format(code, f"0{length}b"))
        code += 1
    return words


def _read(reader: BitReader, size: int) -> np.ndarray:
    """One array's words (size,) uint32."""
    scheme = (RAW, BOOK, EXPONENTS)[reader.bits(2)]
    words = {}
    if scheme.width:
        counts = [reader.gamma() for _ in range(reader.gamma())]
        lengths = [i for i, count in enumerate(counts, 1) for _ in range(count)]
        words = {word: str(reader.bits(scheme.width)) for word in _canonical(lengths)}
    return np.array(
        [
            scheme.join(int(reader.word(words)) if words else 0, reader.bits(scheme.rest))
            for _ in range(size)
        ],
        dtype=np.uint32,
    )
