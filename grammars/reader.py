"""Reads the units of a layer from a stream: the mirror image of `grammars.writer`."""

import math
from collections.abc import Callable
from itertools import accumulate

from grammars.codes import (
    read_bias,
    read_dyadic,
    read_exponent,
    read_factor,
    read_integer,
    read_parameter,
)
from grammars.context import DENSE, MIXED, SPARSE, Context, moved, tap_at
from grammars.grammar import Grammar
from grammars.program import Node, linear
from grammars.scope import Opaque, Scope
from grammars.stream import RICE_WIDTH, BitReader, unzigzag


class Reader:
    """Reads the units of one layer: the mirror image of `Writer`."""

    def __init__(self, reader: BitReader, scope: Scope, grammar: Grammar) -> None:
        self.source, self.top = reader, Context(scope, grammar)

    def unit(self) -> Node | Opaque:
        if not self.source.bits(1):
            return self.node(self.top)
        weights = tuple(self.source.float32() for _ in self.top.scope.columns)
        return Opaque(weights, self.source.float32())

    def value(self) -> Node:
        """A common value."""
        return self.node(self.top)

    def node(self, here: Context) -> Node:
        op = self.source.word(here.grammar.meanings_for(here.sort))
        if op == "tap":
            return self.tap(here)
        if op == "bank":
            banks = here.scope.banks
            return banks[self.source.bits((len(banks) - 1).bit_length())]
        if op == "const":
            return linear([], read_dyadic(self.source))
        return self.sum(here) if op == "linear" else self.operation(op, here)

    def tap(self, here: Context) -> Node:
        found = tap_at(self.source.bits(here.alphabet.width), here)
        if not here.mixes:
            return found
        dy = read_integer(self.source, 0)
        return moved(found, dy, read_integer(self.source, 0))

    def operation(self, op: str, here: Context) -> Node:
        primitive = here.grammar[op]
        params = tuple((n, read_parameter(self.source, s)) for n, s in primitive.parameters)
        count = self.source.gamma() if primitive.variadic else len(primitive.args)
        return Node(op, tuple(map(self.node, here.arguments(primitive, count))), params)

    def sum(self, here: Context) -> Node:
        form = self.source.word({w: w for w in (MIXED, SPARSE, DENSE)})
        read: dict[str, Callable[[Context], Node]] = {
            MIXED: self.mixed,
            SPARSE: self.sparse,
            DENSE: self.dense,
        }
        return read[form](here)

    def sparse(self, here: Context) -> Node:
        exponent = read_exponent(self.source)
        scale = math.ldexp(1.0, exponent)
        count = self.source.gamma()
        gaps, _ = self.naturals(count)
        magnitudes, parameter = self.naturals(count)
        signs = [self.source.bits(1) for _ in range(count)]
        bias = 0.0 if here.mixes else read_bias(self.source, parameter + 1, exponent)
        taps = [tap_at(end - 1, here) for end in accumulate(gap + 1 for gap in gaps)]
        sizes = [(-1) ** sign * (n + 1) * scale for n, sign in zip(magnitudes, signs, strict=True)]
        return linear(zip(sizes, taps, strict=True), bias)

    def dense(self, here: Context) -> Node:
        exponent = read_exponent(self.source)
        scale = math.ldexp(1.0, exponent)
        row, parameter = self.naturals(here.alphabet.size)
        bias = 0.0 if here.mixes else read_bias(self.source, parameter, exponent)
        terms = [(unzigzag(n) * scale, tap_at(i, here)) for i, n in enumerate(row) if n]
        return linear(terms, bias)

    def mixed(self, here: Context) -> Node:
        count = self.source.gamma()
        bias = 0.0 if here.mixes else read_dyadic(self.source)
        return linear([(read_factor(self.source), self.node(here)) for _ in range(count)], bias)

    def naturals(self, count: int) -> tuple[list[int], int]:
        parameter = self.source.bits(RICE_WIDTH)
        return [self.source.rice(parameter) for _ in range(count)], parameter
