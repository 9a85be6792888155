"""Families in a stream: programs of one shape written together, as one program over columns.

What all members share is written once, and what differs is a column of a table
(`grammars.columns`). Members are in the order of their channels, and the terms of sums in the order
of the first member's: sums have none, so reading gives the same programs.
"""

from collections.abc import Sequence
from typing import Any

from grammars.codes import (
    read_dyadic,
    read_factor,
    read_integer,
    write_dyadic,
    write_factor,
    write_integer,
)
from grammars.columns import ColumnReader, ColumnWriter, Kind
from grammars.context import Context, moved, numbers, tap_at
from grammars.grammar import Grammar
from grammars.program import Node, linear, tap
from grammars.scales import Dyadic
from grammars.scope import Scope
from grammars.shapes import aligned
from grammars.stream import BitReader, BitWriter

DYADIC = Kind(write_dyadic, read_dyadic, Dyadic())
FACTOR = Kind(write_factor, read_factor, Dyadic())
OFFSET = Kind(lambda out, value: write_integer(out, value, 0), lambda s: read_integer(s, 0))


class BundleWriter:
    """Writes programs of one shape, each in its unit's scope."""

    def __init__(self, out: BitWriter, scopes: Sequence[Scope], grammar: Grammar) -> None:
        self.out, self.grammar = out, grammar
        self.columns, self.top = ColumnWriter(out), [Context(scope, grammar) for scope in scopes]

    def programs(self, programs: Sequence[Node]) -> None:
        """ValueError for programs of several shapes."""
        self.nodes(aligned(programs, self.grammar), self.top)

    def nodes(self, nodes: Sequence[Node], here: Sequence[Context]) -> None:
        first = nodes[0]
        self.out.code(here[0].words[first.op])
        if first.op == "tap":
            self.taps(nodes, here)
        elif first.op == "bank":
            self.banks(nodes, here)
        elif first.op == "const":
            self.columns.column([node["value"] for node in nodes], DYADIC)
        elif first.op == "linear":
            self.sums(nodes, here)
        else:
            self.operations(nodes, here)

    def taps(self, nodes: Sequence[Node], here: Sequence[Context]) -> None:
        if not here[0].mixes:
            self.columns.column(_numbered(nodes, here), _numbers(here[0]))
            return
        centred = [moved(node, -int(node["dy"]), -int(node["dx"])) for node in nodes]  # type: ignore[arg-type]
        self.columns.column(_numbered(centred, here), _numbers(here[0]))
        for name in ("dy", "dx"):
            self.columns.column([node[name] for node in nodes], OFFSET)

    def banks(self, nodes: Sequence[Node], here: Sequence[Context]) -> None:
        pairs = zip(nodes, here, strict=True)
        self.columns.column([c.scope.banks.index(node) for node, c in pairs], _places(here[0]))

    def sums(self, nodes: Sequence[Node], here: Sequence[Context]) -> None:
        count = len(nodes[0].args)
        self.out.gamma(count)
        if here[0].mixes:
            whole = all(n.args == _first(count, c) for n, c in zip(nodes, here, strict=True))
            self.out.bits(int(whole), 1)
        else:
            whole = False
            self.columns.column([node["bias"] for node in nodes], DYADIC)
        for i in range(count):
            self.columns.column([node["weights"][i] for node in nodes], FACTOR)  # type: ignore[index]
            if not whole:
                self.nodes([node.args[i] for node in nodes], here)

    def operations(self, nodes: Sequence[Node], here: Sequence[Context]) -> None:
        primitive, count = self.grammar[nodes[0].op], len(nodes[0].args)
        for name, spec in primitive.parameters:
            self.columns.column([node[name] for node in nodes], Kind.of(spec))
        if primitive.variadic:
            self.out.gamma(count)
        places = zip(*(c.arguments(primitive, count) for c in here), strict=True)
        for i, place in enumerate(places):
            self.nodes([node.args[i] for node in nodes], place)


class BundleReader:
    """Reads programs of one shape: the mirror image of `BundleWriter`."""

    def __init__(self, source: BitReader, scopes: Sequence[Scope], grammar: Grammar) -> None:
        self.source, self.grammar = source, grammar
        self.columns = ColumnReader(source, len(scopes))
        self.top = [Context(scope, grammar) for scope in scopes]

    def programs(self) -> list[Node]:
        return self.nodes(self.top)

    def nodes(self, here: Sequence[Context]) -> list[Node]:
        op = self.source.word(self.grammar.meanings_for(here[0].sort))
        if op == "tap":
            return self.taps(here)
        if op == "bank":
            found = self.columns.column(_places(here[0]))
            return [c.scope.banks[i] for i, c in zip(found, here, strict=True)]
        if op == "const":
            return [linear([], value) for value in self.columns.column(DYADIC)]
        return self.sums(here) if op == "linear" else self.operations(op, here)

    def taps(self, here: Sequence[Context]) -> list[Node]:
        found = self.columns.column(_numbers(here[0]))
        taps = [tap_at(number, c) for number, c in zip(found, here, strict=True)]
        if not here[0].mixes:
            return taps
        downs, rights = self.columns.column(OFFSET), self.columns.column(OFFSET)
        return [moved(*of) for of in zip(taps, downs, rights, strict=True)]

    def sums(self, here: Sequence[Context]) -> list[Node]:
        count, members = self.source.gamma(), len(here)
        whole = bool(here[0].mixes and self.source.bits(1))
        biases = [0.0] * members if here[0].mixes else self.columns.column(DYADIC)
        terms: list[list[tuple[float, Node]]] = [[] for _ in here]
        for i in range(count):
            weights = self.columns.column(FACTOR)
            nodes = [_first(count, c)[i] for c in here] if whole else self.nodes(here)
            for own, weight, node in zip(terms, weights, nodes, strict=True):
                own.append((weight, node))
        return [linear(own, bias) for own, bias in zip(terms, biases, strict=True)]

    def operations(self, op: str, here: Sequence[Context]) -> list[Node]:
        primitive = self.grammar[op]
        columns = [(n, self.columns.column(Kind.of(spec))) for n, spec in primitive.parameters]
        count = self.source.gamma() if primitive.variadic else len(primitive.args)
        places = zip(*(c.arguments(primitive, count) for c in here), strict=True)
        arguments = [self.nodes(place) for place in places]
        return [
            Node(op, tuple(a[i] for a in arguments), tuple((n, c[i]) for n, c in columns))
            for i in range(len(here))
        ]


def _first(count: int, here: Context) -> tuple[Node, ...]:
    """The first sources in their order: what a mix of all channels is over."""
    return tuple(tap(*key) for key in here.alphabet.keys[:count])


def _numbered(taps: Sequence[Node], here: Sequence[Context]) -> list[int]:
    return [numbers([node], place)[0] for node, place in zip(taps, here, strict=True)]


def _numbers(here: Context) -> Kind:
    """What taps are numbered by."""
    return _fixed(here.alphabet.width)


def _places(here: Context) -> Kind:
    """What banks are numbered by."""
    return _fixed((len(here.scope.banks) - 1).bit_length())


def _fixed(width: int) -> Kind:
    def write(out: BitWriter, value: Any) -> None:
        out.bits(value, width)

    return Kind(write, lambda source: source.bits(width))
