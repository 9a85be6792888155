"""Programs as one decodable stream of bits; its length is the price of a network's source.

Grammar weights, the layers' geometry and their heads are frozen beforehand and shared by writer and
reader; everything else is in the stream. `decode(encode(source)) == source`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from grammars.codes import (
    Bias,
    common_exponent,
    dense_row,
    read_bias,
    read_dyadic,
    read_exponent,
    read_factor,
    read_integer,
    read_parameter,
    write_bias,
    write_dyadic,
    write_exponent,
    write_factor,
    write_integer,
    write_parameter,
)
from grammars.grammar import Grammar
from grammars.primitive import Primitive
from grammars.program import PRE, Node, Sort, bank, is_sum_of_taps, linear, tap, terms_of, walk
from grammars.stream import (
    RICE_WIDTH,
    BitCounter,
    BitReader,
    BitWriter,
    rice_cost,
    rice_costs,
    unzigzag,
    zigzags,
)

MIXED, SPARSE, DENSE = "0", "10", "11"
LONGEST = 32  # bits of the integers over one exponent; more, and each weight has its own exponent

Column = tuple[str, int, int, int]


@dataclass(frozen=True)
class Scope:
    """What a unit's program may read: its layer's columns, then its siblings, before heads too.

    `columns` are (bank, channel, dy, dx) in the order of the layer's patches; `bank` is the layer's
    own and has `channels` units. In a layer of several `groups` a unit reads the columns of its
    group alone (`of`), and what it says is written in that narrower scope.
    """

    bank: str
    channels: int
    columns: tuple[Column, ...]
    groups: int = 1

    def of(self, channel: int) -> "Scope":
        """What unit `channel` may read."""
        return self._parts[channel * self.groups // self.channels]

    @cached_property
    def _parts(self) -> tuple["Scope", ...]:
        if self.groups == 1:
            return (self,)
        size = len(self.columns) // self.groups
        cuts = (slice(g * size, (g + 1) * size) for g in range(self.groups))
        return tuple(Scope(self.bank, self.channels, self.columns[cut]) for cut in cuts)

    @cached_property
    def banks(self) -> tuple[Node, ...]:
        """The banks of which every channel is readable."""
        channels: dict[str, set[int]] = {}
        for name, channel, _, _ in self.columns:
            channels.setdefault(name, set()).add(channel)
        return tuple(bank(n, len(c)) for n, c in channels.items() if max(c) == len(c) - 1)

    @cached_property
    def positions(self) -> "Alphabet":
        """What taps of a sum at the position itself are numbered by: columns, then siblings."""
        return Alphabet(self.keys, len(self.columns))

    @cached_property
    def sources(self) -> "Alphabet":
        """What taps that are read at offsets are numbered by: channels, then siblings."""
        channels = tuple(dict.fromkeys((b, c, 0, 0) for b, c, _, _ in self.columns))
        return Alphabet((*channels, *self.keys[len(self.columns) :]), len(channels))

    @cached_property
    def taps(self) -> tuple[Node, ...]:
        """A tap for each column; programs share them."""
        return tuple(tap(*column) for column in self.columns)

    @cached_property
    def index(self) -> dict[Column, int]:
        """The position of every readable tap."""
        own = [(b, c, 0, 0) for b in (self.bank, f"{self.bank}{PRE}") for c in range(self.channels)]
        return {key: i for i, key in enumerate((*self.columns, *own))}

    @cached_property
    def keys(self) -> tuple[Column, ...]:
        return tuple(self.index)


@dataclass(frozen=True, eq=False)
class Alphabet:
    """Taps by number; the first `size` of them are what a dense row has."""

    keys: tuple[Column, ...]
    size: int

    @cached_property
    def places(self) -> dict[Node, int]:
        """The number of every tap; programs share taps, so they are found fast."""
        return {tap(*key): i for i, key in enumerate(self.keys)}

    @property
    def width(self) -> int:
        """Bits that name one of them."""
        return max(len(self.keys) - 1, 0).bit_length()


@dataclass(frozen=True)
class Opaque:
    """A unit that keeps its weights: float32 numbers, 32 bits each."""

    weights: tuple[float, ...]
    bias: float


@dataclass(frozen=True)
class LayerSource:
    """The source of one layer: a program, or the weights, for each unit."""

    scope: Scope
    units: tuple[Node | Opaque, ...]


def encode(layers: Iterable[LayerSource], grammar: Grammar) -> BitWriter:
    """The stream of a network's source.

    Raises ValueError for a layer without exactly one source a unit, for weights that do not match
    the columns and for a tap that its scope does not hold.
    """
    return _written(BitWriter(), layers, grammar)


def stream_bits(layers: Iterable[LayerSource], grammar: Grammar) -> int:
    """The length of the stream that `encode` writes."""
    return len(_written(BitCounter(), layers, grammar))


def _written(writer: BitWriter, layers: Iterable[LayerSource], grammar: Grammar) -> BitWriter:
    layers = tuple(layers)
    for layer in layers:
        _check(layer)
    _write_user_primitives(writer, (u for la in layers for u in la.units), grammar)
    for layer in layers:
        for channel, unit in enumerate(layer.units):
            _Writer(writer, layer.scope.of(channel), grammar).unit(unit)
    return writer


def decode(data: bytes, scopes: Sequence[Scope], grammar: Grammar) -> tuple[LayerSource, ...]:
    """The inverse of `encode`, given the layers' scopes and the grammar.

    Raises EOFError for a stream that ends early and KeyError for a user primitive that is unknown.
    """
    reader = BitReader(data)
    _read_user_primitives(reader, grammar)
    layers = []
    for scope in scopes:
        units = (_Reader(reader, scope.of(c), grammar).unit() for c in range(scope.channels))
        layers.append(LayerSource(scope, tuple(units)))
    return tuple(layers)


def known_bits(units: Iterable[tuple[Node | Opaque, int]], grammar: Grammar) -> int:
    """The length of the stream of units whose own lengths are known."""
    counter, pairs = BitCounter(), tuple(units)
    _write_user_primitives(counter, (unit for unit, _ in pairs), grammar)
    return len(counter) + sum(bits for _, bits in pairs)


def program_bits(program: Node, scope: Scope, grammar: Grammar) -> int:
    """The length of one unit's program in the stream, without the source of user primitives.

    `scope` is the unit's own, `Scope.of`. Raises ValueError for a tap that it does not hold.
    """
    counter = BitCounter()
    _Writer(counter, scope, grammar).unit(program)
    return len(counter)


def row_costs(integers: np.ndarray) -> np.ndarray:
    """(K,) about the bits of sums whose taps have these integers (K, F), zeros included.

    What is the same for every row, as exponent and bias, is left out.
    """
    count, size = integers.shape
    rows, columns = np.nonzero(integers)
    values, terms = integers[rows, columns], np.bincount(rows, minlength=count)
    gaps = np.where(np.diff(rows, prepend=-1) > 0, columns, np.diff(columns, prepend=-1) - 1)
    sparse = terms + rice_costs(gaps, rows, terms) + rice_costs(np.abs(values) - 1, rows, terms)
    dense = rice_costs(zigzags(values), rows, np.full(count, size))
    return np.minimum(sparse, dense)


def opaque_bits(columns: int) -> int:
    """The length of a unit that keeps its `columns` weights and its bias."""
    return 1 + 32 * (columns + 1)


def _check(layer: LayerSource) -> None:
    scope = layer.scope
    if len(layer.units) != scope.channels:
        raise ValueError(f"{scope.bank!r} has {scope.channels} units, not {len(layer.units)}")
    size = len(scope.columns) // scope.groups
    for channel, unit in enumerate(layer.units):
        if isinstance(unit, Opaque) and len(unit.weights) != size:
            sizes = f"{size} columns, not {len(unit.weights)}"
            raise ValueError(f"unit {channel} of {scope.bank!r} has {sizes}")


def _write_user_primitives(
    writer: BitWriter, units: Iterable[Node | Opaque], grammar: Grammar
) -> None:
    programs = (u for u in units if isinstance(u, Node))
    used = {n.op for p in programs for n in walk(p)} if grammar.user else ()
    mine = [p for p in grammar.user if p.name in used]
    writer.gamma(len(mine))
    for primitive in mine:
        writer.text(primitive.name)
        writer.text(primitive.fingerprint)


def _read_user_primitives(reader: BitReader, grammar: Grammar) -> None:
    for _ in range(reader.gamma()):
        name, source = reader.text(), reader.text()
        if grammar[name].fingerprint != source:
            raise KeyError(f"the stream was written with another source of primitive {name!r}")


@dataclass(frozen=True, eq=False)
class _Terms:
    """The taps of a sum: sorted `positions` (T,) and their `integers` (T,), none of them zero."""

    positions: np.ndarray
    integers: np.ndarray

    @property
    def gaps(self) -> np.ndarray:
        return np.diff(self.positions, prepend=-1) - 1

    @property
    def magnitudes(self) -> np.ndarray:
        return np.abs(self.integers) - 1

    @property
    def sparse_cost(self) -> int:
        """Bits of gaps, magnitudes and signs."""
        gaps, sizes = rice_cost(self.gaps)[1], rice_cost(self.magnitudes)[1]
        return gaps + sizes + len(self.integers)


@dataclass(frozen=True, eq=False)
class _Context:
    """Where a node stands: the sort that is wanted there, and so what taps are numbered by."""

    scope: Scope
    grammar: Grammar
    sort: Sort = Sort.FIELD

    @property
    def mixes(self) -> bool:
        """Whether it is read at an offset."""
        return self.sort is Sort.ATOM

    @property
    def alphabet(self) -> Alphabet:
        return self.scope.sources if self.mixes else self.scope.positions

    @property
    def words(self) -> Mapping[str, str]:
        return self.grammar.words_for(self.sort)

    def arguments(self, primitive: Primitive, count: int) -> list["_Context"]:
        sorts = primitive.args * count if primitive.variadic else primitive.args
        return [_Context(self.scope, self.grammar, sort) for sort in sorts]


class _Writer:
    """Writes the units of one layer."""

    def __init__(self, writer: BitWriter, scope: Scope, grammar: Grammar) -> None:
        self.out, self.top = writer, _Context(scope, grammar)

    def unit(self, unit: Node | Opaque) -> None:
        self.out.code("1" if isinstance(unit, Opaque) else "0")
        if isinstance(unit, Node):
            self.node(unit, self.top)
            return
        for value in (*unit.weights, unit.bias):
            self.out.float32(value)

    def node(self, node: Node, here: _Context) -> None:
        self.out.code(here.words[node.op])
        if node.op == "tap":
            self.tap(node, here)
        elif node.op == "bank":
            self.bank(node, here.scope)
        elif node.op == "const":
            write_dyadic(self.out, float(node["value"]))  # type: ignore[arg-type]
        elif node.op == "linear":
            self.sum(node, here)
        else:
            self.operation(node, here)

    def tap(self, node: Node, here: _Context) -> None:
        dy, dx = int(node["dy"]), int(node["dx"])  # type: ignore[arg-type]
        if here.mixes:
            node = _moved(node, -dy, -dx)
        self.out.bits(_numbers([node], here)[0], here.alphabet.width)
        if here.mixes:
            write_integer(self.out, dy, 0)
            write_integer(self.out, dx, 0)

    def bank(self, node: Node, scope: Scope) -> None:
        if node not in scope.banks:
            size = f"{node['name']!r} with {node['channels']} channels"
            raise ValueError(f"no bank {size} is readable from bank {scope.bank!r}")
        self.out.bits(scope.banks.index(node), (len(scope.banks) - 1).bit_length())

    def operation(self, node: Node, here: _Context) -> None:
        primitive = here.grammar[node.op]
        for name, spec in primitive.parameters:
            write_parameter(self.out, spec, node[name])
        if primitive.variadic:
            self.out.gamma(len(node.args))
        for argument, place in zip(
            node.args, here.arguments(primitive, len(node.args)), strict=True
        ):
            self.node(argument, place)

    def sum(self, node: Node, here: _Context) -> None:
        exponent, integers = common_exponent(node["weights"])  # type: ignore[arg-type]
        bias = Bias.of(float(node["bias"]), exponent)  # type: ignore[arg-type]
        longest = max(map(abs, (*integers, bias.integer))).bit_length()
        if longest > LONGEST or not is_sum_of_taps(node) or (here.mixes and _is_moved(node)):
            self.mixed(node, here)
            return
        positions = np.array(_numbers(node.args, here))
        order = np.argsort(positions)
        terms = _Terms(positions[order], np.array(integers)[order])
        self.best(terms, exponent, None if here.mixes else bias, here.alphabet.size)

    def best(self, terms: "_Terms", exponent: int, bias: Bias | None, size: int) -> None:
        """The shorter of the sparse and the dense form."""
        if terms.positions[-1] < size:
            row = dense_row(terms.positions, terms.integers, size)
            if rice_cost(row)[1] < terms.sparse_cost + RICE_WIDTH:
                self.dense(row, exponent, bias)
                return
        self.sparse(terms, exponent, bias)

    def sparse(self, terms: "_Terms", exponent: int, bias: Bias | None) -> None:
        self.out.code(SPARSE)
        write_exponent(self.out, exponent)
        self.out.gamma(len(terms.integers))
        self.naturals(terms.gaps)
        parameter = self.naturals(terms.magnitudes)
        self.out.code("".join("1" if m < 0 else "0" for m in terms.integers.tolist()))
        if bias is not None:
            write_bias(self.out, bias, parameter + 1)

    def dense(self, row: np.ndarray, exponent: int, bias: Bias | None) -> None:
        self.out.code(DENSE)
        write_exponent(self.out, exponent)
        parameter = self.naturals(row)
        if bias is not None:
            write_bias(self.out, bias, parameter)

    def mixed(self, node: Node, here: _Context) -> None:
        terms, bias = terms_of(node)
        self.out.code(MIXED)
        self.out.gamma(len(terms))
        if not here.mixes:
            write_dyadic(self.out, bias)
        for weight, atom in terms:
            write_factor(self.out, weight)
            self.node(atom, here)

    def naturals(self, values: np.ndarray) -> int:
        """A run of naturals behind its Rice parameter, which is returned."""
        parameter, _ = rice_cost(values)
        self.out.bits(parameter, RICE_WIDTH)
        self.out.rices(values, parameter)
        return parameter


class _Reader:
    """Reads the units of one layer: the mirror image of `_Writer`."""

    def __init__(self, reader: BitReader, scope: Scope, grammar: Grammar) -> None:
        self.source, self.top = reader, _Context(scope, grammar)

    def unit(self) -> Node | Opaque:
        if not self.source.bits(1):
            return self.node(self.top)
        weights = tuple(self.source.float32() for _ in self.top.scope.columns)
        return Opaque(weights, self.source.float32())

    def node(self, here: _Context) -> Node:
        op = self.source.word(here.grammar.meanings_for(here.sort))
        if op == "tap":
            return self.tap(here)
        if op == "bank":
            banks = here.scope.banks
            return banks[self.source.bits((len(banks) - 1).bit_length())]
        if op == "const":
            return linear([], read_dyadic(self.source))
        return self.sum(here) if op == "linear" else self.operation(op, here)

    def tap(self, here: _Context) -> Node:
        found = _tap_at(self.source.bits(here.alphabet.width), here)
        if not here.mixes:
            return found
        dy = read_integer(self.source, 0)
        return _moved(found, dy, read_integer(self.source, 0))

    def operation(self, op: str, here: _Context) -> Node:
        primitive = here.grammar[op]
        params = tuple((n, read_parameter(self.source, s)) for n, s in primitive.parameters)
        count = self.source.gamma() if primitive.variadic else len(primitive.args)
        return Node(op, tuple(map(self.node, here.arguments(primitive, count))), params)

    def sum(self, here: _Context) -> Node:
        form = self.source.word({w: w for w in (MIXED, SPARSE, DENSE)})
        read: dict[str, Callable[[_Context], Node]] = {
            MIXED: self.mixed,
            SPARSE: self.sparse,
            DENSE: self.dense,
        }
        return read[form](here)

    def sparse(self, here: _Context) -> Node:
        exponent = read_exponent(self.source)
        scale = math.ldexp(1.0, exponent)
        count = self.source.gamma()
        gaps, _ = self.naturals(count)
        magnitudes, parameter = self.naturals(count)
        signs = [self.source.bits(1) for _ in range(count)]
        bias = 0.0 if here.mixes else read_bias(self.source, parameter + 1, exponent)
        taps = [_tap_at(end - 1, here) for end in accumulate(gap + 1 for gap in gaps)]
        sizes = [(-1) ** sign * (n + 1) * scale for n, sign in zip(magnitudes, signs, strict=True)]
        return linear(zip(sizes, taps, strict=True), bias)

    def dense(self, here: _Context) -> Node:
        exponent = read_exponent(self.source)
        scale = math.ldexp(1.0, exponent)
        row, parameter = self.naturals(here.alphabet.size)
        bias = 0.0 if here.mixes else read_bias(self.source, parameter, exponent)
        terms = [(unzigzag(n) * scale, _tap_at(i, here)) for i, n in enumerate(row) if n]
        return linear(terms, bias)

    def mixed(self, here: _Context) -> Node:
        count = self.source.gamma()
        bias = 0.0 if here.mixes else read_dyadic(self.source)
        return linear([(read_factor(self.source), self.node(here)) for _ in range(count)], bias)

    def naturals(self, count: int) -> tuple[list[int], int]:
        parameter = self.source.bits(RICE_WIDTH)
        return [self.source.rice(parameter) for _ in range(count)], parameter


def _numbers(taps: Sequence[Node], here: _Context) -> list[int]:
    try:
        return list(map(here.alphabet.places.__getitem__, taps))
    except KeyError as error:
        key = tuple(value for _, value in error.args[0].params)
        raise ValueError(f"tap {key} is not readable from bank {here.scope.bank!r}") from None


def _tap_at(number: int, here: _Context) -> Node:
    return tap(*here.alphabet.keys[number])


def _moved(node: Node, dy: int, dx: int) -> Node:
    bank, channel, down, right = (value for _, value in node.params)
    return tap(bank, channel, down + dy, right + dx)  # type: ignore[arg-type,operator]


def _is_moved(node: Node) -> bool:
    """Whether some tap of a sum is not in the middle."""
    return any(atom["dy"] or atom["dx"] for atom in node.args)
