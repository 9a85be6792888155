"""Writes the units of a layer into a stream; `grammars.reader` is its mirror image."""

from dataclasses import dataclass

import numpy as np

from grammars.codes import (
    Bias,
    common_exponent,
    dense_row,
    write_bias,
    write_dyadic,
    write_exponent,
    write_factor,
    write_integer,
    write_parameter,
)
from grammars.context import DENSE, MIXED, SPARSE, Context, moved, numbers
from grammars.grammar import Grammar
from grammars.program import Node, is_sum_of_taps, terms_of
from grammars.scope import Opaque, Scope
from grammars.stream import RICE_WIDTH, BitWriter, rice_cost

LONGEST = 32  # bits of the integers over one exponent; more, and each weight has its own exponent


class Writer:
    """Writes the units of one layer."""

    def __init__(self, writer: BitWriter, scope: Scope, grammar: Grammar) -> None:
        self.out, self.top = writer, Context(scope, grammar)

    def unit(self, unit: Node | Opaque) -> None:
        self.out.code("1" if isinstance(unit, Opaque) else "0")
        if isinstance(unit, Node):
            self.node(unit, self.top)
            return
        for value in (*unit.weights, unit.bias):
            self.out.float32(value)

    def value(self, value: Node) -> None:
        """A common value."""
        self.node(value, self.top)

    def node(self, node: Node, here: Context) -> None:
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

    def tap(self, node: Node, here: Context) -> None:
        dy, dx = int(node["dy"]), int(node["dx"])  # type: ignore[arg-type]
        if here.mixes:
            node = moved(node, -dy, -dx)
        self.out.bits(numbers([node], here)[0], here.alphabet.width)
        if here.mixes:
            write_integer(self.out, dy, 0)
            write_integer(self.out, dx, 0)

    def bank(self, node: Node, scope: Scope) -> None:
        if node not in scope.banks:
            size = f"{node['name']!r} with {node['channels']} channels"
            raise ValueError(f"no bank {size} is readable from bank {scope.bank!r}")
        self.out.bits(scope.banks.index(node), (len(scope.banks) - 1).bit_length())

    def operation(self, node: Node, here: Context) -> None:
        primitive = here.grammar[node.op]
        for name, spec in primitive.parameters:
            write_parameter(self.out, spec, node[name])
        if primitive.variadic:
            self.out.gamma(len(node.args))
        for argument, place in zip(
            node.args, here.arguments(primitive, len(node.args)), strict=True
        ):
            self.node(argument, place)

    def sum(self, node: Node, here: Context) -> None:
        exponent, integers = common_exponent(node["weights"])  # type: ignore[arg-type]
        bias = Bias.of(float(node["bias"]), exponent)  # type: ignore[arg-type]
        longest = max(map(abs, (*integers, bias.integer))).bit_length()
        if longest > LONGEST or not is_sum_of_taps(node) or (here.mixes and _is_moved(node)):
            self.mixed(node, here)
            return
        positions = np.array(numbers(node.args, here))
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

    def mixed(self, node: Node, here: Context) -> None:
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


def _is_moved(node: Node) -> bool:
    """Whether some tap of a sum is not in the middle."""
    return any(atom["dy"] or atom["dx"] for atom in node.args)
