"""Programs as one decodable stream of bits; its length is the price of a network's source.

Grammar weights, the layers' geometry and their heads are frozen beforehand and shared by writer and
reader; everything else is in the stream. `decode(encode(source)) == source`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from grammars.grammar import Grammar
from grammars.primitive import Parameter, Real
from grammars.program import PRE, Node, Value, linear, tap, terms_of, walk
from grammars.stream import RICE_WIDTH, BitReader, BitWriter, huffman, rice_cost, zigzag

TYPICAL_EXPONENT = -6  # most programs speak in sixty-fourths; other exponents cost more
MIXED, SPARSE, DENSE = "0", "10", "11"

Column = tuple[str, int, int, int]


@dataclass(frozen=True)
class Scope:
    """What a unit's program may read: its layer's columns, then its siblings and their pre-activations.

    `columns` are (bank, channel, dy, dx) in the order of the layer's weight columns; `bank` is the
    layer's own and has `channels` units.
    """

    bank: str
    channels: int
    columns: tuple[Column, ...]

    @cached_property
    def index(self) -> dict[Column, int]:
        """The position of every readable tap."""
        own = [(b, c, 0, 0) for b in (self.bank, f"{self.bank}{PRE}") for c in range(self.channels)]
        return {key: i for i, key in enumerate((*self.columns, *own))}

    @cached_property
    def keys(self) -> tuple[Column, ...]:
        return tuple(self.index)

    @property
    def width(self) -> int:
        """Bits that name one readable tap."""
        return max(len(self.index) - 1, 0).bit_length()


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
    """The stream of a network's source. Raises ValueError for a tap that its scope does not hold."""
    layers = tuple(layers)
    writer = BitWriter()
    _write_user_primitives(writer, layers, grammar)
    for layer in layers:
        coder = _Writer(writer, layer.scope, grammar)
        for unit in layer.units:
            coder.unit(unit)
    return writer


def decode(data: bytes, scopes: Sequence[Scope], grammar: Grammar) -> tuple[LayerSource, ...]:
    """The inverse of `encode`, given the layers' scopes and the grammar.

    Raises EOFError for a stream that ends early and KeyError for a user primitive that is unknown.
    """
    reader = BitReader(data)
    _read_user_primitives(reader, grammar)
    layers = []
    for scope in scopes:
        coder = _Reader(reader, scope, grammar)
        layers.append(LayerSource(scope, tuple(coder.unit() for _ in range(scope.channels))))
    return tuple(layers)


def program_bits(program: Node, scope: Scope, grammar: Grammar) -> int:
    """The length of one unit's program in the stream, its share of user primitives' source aside."""
    writer = BitWriter()
    _Writer(writer, scope, grammar).unit(program)
    return len(writer)


def opaque_bits(columns: int) -> int:
    """The length of a unit that keeps its `columns` weights and its bias."""
    return 1 + 32 * (columns + 1)


def op_words(grammar: Grammar) -> dict[str, str]:
    """The prefix code of the operations, from the grammar's weights."""
    return huffman({p.name: p.weight for p in grammar.primitives})


def _write_user_primitives(
    writer: BitWriter, layers: Sequence[LayerSource], grammar: Grammar
) -> None:
    used = {n.op for la in layers for u in la.units if isinstance(u, Node) for n in walk(u)}
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


class _Writer:
    """Writes the units of one layer."""

    def __init__(self, writer: BitWriter, scope: Scope, grammar: Grammar) -> None:
        self.out, self.scope, self.grammar = writer, scope, grammar
        self.words = op_words(grammar)

    def unit(self, unit: Node | Opaque) -> None:
        self.out.code("1" if isinstance(unit, Opaque) else "0")
        if isinstance(unit, Node):
            self.node(unit)
            return
        for value in (*unit.weights, unit.bias):
            self.out.float32(value)

    def node(self, node: Node) -> None:
        self.out.code(self.words[node.op])
        if node.op == "tap":
            self.out.bits(self.position(node), self.scope.width)
        elif node.op == "const":
            _write_dyadic(self.out, float(node["value"]))  # type: ignore[arg-type]
        elif node.op == "linear":
            self.sum(node)
        else:
            self.operation(node)

    def operation(self, node: Node) -> None:
        primitive = self.grammar[node.op]
        for name, spec in primitive.parameters:
            _write_parameter(self.out, spec, node[name])
        if primitive.variadic:
            self.out.gamma(len(node.args))
        for argument in node.args:
            self.node(argument)

    def sum(self, node: Node) -> None:
        if any(a.op != "tap" for a in node.args):
            self.mixed(node)
            return
        positions = [self.position(a) for a in node.args]
        exponent, integers = common_exponent((*node["weights"], node["bias"]))  # type: ignore[misc]
        ordered = sorted(zip(positions, integers[:-1], strict=True))
        self.best(ordered, exponent, integers[-1])

    def best(self, terms: list[tuple[int, int]], exponent: int, bias: int) -> None:
        """The shorter of the sparse and the dense form."""
        size = len(self.scope.columns)
        gaps, magnitudes = _gaps(terms), [abs(m) - 1 for _, m in terms]
        sparse = rice_cost(gaps)[1] + rice_cost(magnitudes)[1] + len(terms) + RICE_WIDTH
        row = dense_row(terms, size) if terms and terms[-1][0] < size else None
        if row is not None and rice_cost(row)[1] < sparse:
            self.dense(row, exponent, bias)
        else:
            self.sparse(terms, gaps, magnitudes, exponent, bias)

    def sparse(self, terms, gaps, magnitudes, exponent: int, bias: int) -> None:
        self.out.code(SPARSE)
        self.exponent(exponent)
        self.out.gamma(len(terms))
        parameter = self.naturals(gaps)
        parameter = self.naturals(magnitudes)
        self.out.code("".join("1" if m < 0 else "0" for _, m in terms))
        self.out.signed(bias, parameter + 1)

    def dense(self, row: list[int], exponent: int, bias: int) -> None:
        self.out.code(DENSE)
        self.exponent(exponent)
        self.out.signed(bias, self.naturals(row))

    def mixed(self, node: Node) -> None:
        terms, bias = terms_of(node)
        self.out.code(MIXED)
        self.out.gamma(len(terms))
        _write_dyadic(self.out, bias)
        for weight, atom in terms:
            _write_dyadic(self.out, weight)
            self.node(atom)

    def naturals(self, values: Sequence[int]) -> int:
        """A run of naturals behind its Rice parameter, which is returned."""
        parameter, _ = rice_cost(values)
        self.out.bits(parameter, RICE_WIDTH)
        for value in values:
            self.out.rice(value, parameter)
        return parameter

    def exponent(self, exponent: int) -> None:
        self.out.signed(exponent - TYPICAL_EXPONENT, 1)

    def position(self, node: Node) -> int:
        key = tuple(value for _, value in node.params)
        try:
            return self.scope.index[key]  # type: ignore[index]
        except KeyError:
            raise ValueError(f"tap {key} is not readable from bank {self.scope.bank!r}") from None


class _Reader:
    """Reads the units of one layer: the mirror image of `_Writer`."""

    def __init__(self, reader: BitReader, scope: Scope, grammar: Grammar) -> None:
        self.source, self.scope, self.grammar = reader, scope, grammar
        self.ops = {word: name for name, word in op_words(grammar).items()}

    def unit(self) -> Node | Opaque:
        if not self.source.bits(1):
            return self.node()
        weights = tuple(self.source.float32() for _ in self.scope.columns)
        return Opaque(weights, self.source.float32())

    def node(self) -> Node:
        op = self.source.word(self.ops)
        if op == "tap":
            return self.tap(self.source.bits(self.scope.width))
        if op == "const":
            return linear([], _read_dyadic(self.source))
        return self.sum() if op == "linear" else self.operation(op)

    def operation(self, op: str) -> Node:
        primitive = self.grammar[op]
        params = tuple((n, _read_parameter(self.source, s)) for n, s in primitive.parameters)
        count = self.source.gamma() if primitive.variadic else len(primitive.args)
        return Node(op, tuple(self.node() for _ in range(count)), params)

    def sum(self) -> Node:
        form = self.source.word({w: w for w in (MIXED, SPARSE, DENSE)})
        read: dict[str, Callable[[], Node]] = {
            MIXED: self.mixed,
            SPARSE: self.sparse,
            DENSE: self.dense,
        }
        return read[form]()

    def sparse(self) -> Node:
        scale = self.exponent()
        count = self.source.gamma()
        gaps, _ = self.naturals(count)
        magnitudes, parameter = self.naturals(count)
        signs = [self.source.bits(1) for _ in range(count)]
        bias = self.source.signed(parameter + 1)
        position, terms = -1, []
        for gap, magnitude, sign in zip(gaps, magnitudes, signs, strict=True):
            position += gap + 1
            terms.append(((-1) ** sign * (magnitude + 1) * scale, self.tap(position)))
        return linear(terms, bias * scale)

    def dense(self) -> Node:
        scale = self.exponent()
        row, parameter = self.naturals(len(self.scope.columns))
        bias = self.source.signed(parameter)
        values = [-(n + 1) // 2 if n % 2 else n // 2 for n in row]
        terms = [(v * scale, self.tap(i)) for i, v in enumerate(values)]
        return linear(terms, bias * scale)

    def mixed(self) -> Node:
        count = self.source.gamma()
        bias = _read_dyadic(self.source)
        return linear([(_read_dyadic(self.source), self.node()) for _ in range(count)], bias)

    def naturals(self, count: int) -> tuple[list[int], int]:
        parameter = self.source.bits(RICE_WIDTH)
        return [self.source.rice(parameter) for _ in range(count)], parameter

    def exponent(self) -> float:
        return math.ldexp(1.0, self.source.signed(1) + TYPICAL_EXPONENT)

    def tap(self, position: int) -> Node:
        return tap(*self.scope.keys[position])


def common_exponent(values: Sequence[float]) -> tuple[int, list[int]]:
    """The largest e with every value an integer multiple of 2^e, and those integers; (0, …) for zeros."""
    pairs = [_odd(v) for v in values]
    used = [e for m, e in pairs if m]
    exponent = min(used) if used else 0
    return exponent, [m << (e - exponent) if m else 0 for m, e in pairs]


def dense_row(terms: Iterable[tuple[int, int]], size: int) -> list[int]:
    """All `size` integers of a row, zeros included, as naturals by `zigzag`."""
    row = np.zeros(size, dtype=object)
    for position, integer in terms:
        row[position] = zigzag(integer)
    return [int(v) for v in row]


def _gaps(terms: Sequence[tuple[int, int]]) -> list[int]:
    positions = [-1, *(p for p, _ in terms)]
    return [b - a - 1 for a, b in zip(positions, positions[1:], strict=False)]


def _odd(value: float) -> tuple[int, int]:
    """(m, e) with value = m · 2^e and m odd, or (0, 0)."""
    exact = Fraction(value)
    numerator, exponent = exact.numerator, 1 - exact.denominator.bit_length()
    if not numerator:
        return 0, 0
    zeros = (numerator & -numerator).bit_length() - 1
    return numerator >> zeros, exponent + zeros


def _write_dyadic(writer: BitWriter, value: float) -> None:
    mantissa, exponent = _odd(value)
    writer.bits(int(mantissa != 0), 1)
    if mantissa:
        writer.bits(int(mantissa < 0), 1)
        writer.gamma(abs(mantissa) // 2)
        writer.signed(exponent - TYPICAL_EXPONENT, 1)


def _read_dyadic(reader: BitReader) -> float:
    if not reader.bits(1):
        return 0.0
    sign = -1 if reader.bits(1) else 1
    mantissa = sign * (2 * reader.gamma() + 1)
    return math.ldexp(mantissa, reader.signed(1) + TYPICAL_EXPONENT)


def _write_parameter(writer: BitWriter, spec: Parameter, value: Any) -> None:
    """0 for the default, 10 and the place on the grid, or 11 and 64 bits for any other real."""
    if value == spec.default:
        writer.code("0")
    elif not isinstance(spec, Real):
        writer.code("1")
        writer.bits(value - spec.low, (spec.high - spec.low).bit_length())
    elif (index := spec.index(value)) is not None:
        writer.code("10")
        writer.bits(index, spec.size.bit_length())
    else:
        writer.code("11")
        writer.float64(value)


def _read_parameter(reader: BitReader, spec: Parameter) -> Value:
    if not reader.bits(1):
        return spec.default
    if not isinstance(spec, Real):
        return spec.low + reader.bits((spec.high - spec.low).bit_length())
    return reader.float64() if reader.bits(1) else spec.value(reader.bits(spec.size.bit_length()))
