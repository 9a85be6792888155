"""The operations that formulas are made of: a grammar's functions of values, sums, differences."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from grammars.grammar import Grammar
from grammars.interpreters.torch import TorchAlgebra
from grammars.primitive import STRUCTURE, Primitive
from grammars.program import Node, Sort, call, linear

TERMS = 3  # bits of a sum beside its word, and of a sign
ONE = 4  # bits of a constant, about


@dataclass(frozen=True, eq=False)
class Operation:
    """A function of one or two values, with about its price in bits."""

    name: str
    arity: int
    bits: int
    apply: Callable[..., Tensor]
    build: Callable[..., Node]

    @cached_property
    def symmetric(self) -> bool:
        """Whether two arguments may change places: tried on numbers."""
        a, b = torch.linspace(-2, 3, 41), torch.linspace(1.7, -2.2, 41) ** 3
        return self.arity == 2 and torch.allclose(self.apply(a, b), self.apply(b, a))


def operations_of(grammar: Grammar) -> tuple[Operation, ...]:
    """Sums, differences, one more, and all functions of one or two values: of one first, cheap ones
    first.

    What has parameters takes its defaults. One more is the constant that keeps a reciprocal or a
    root from its pole; others come by fitting.
    """
    words = grammar.words_for(Sort.FIELD)
    found = [_of(p, len(words[p.name])) for p in grammar.primitives if _is_function(p)]
    price = len(words["linear"]) + TERMS
    found.append(Operation("+", 2, price, torch.add, lambda a, b: linear([(1.0, a), (1.0, b)])))
    found.append(
        Operation("-", 2, price + 1, torch.sub, lambda a, b: linear([(1.0, a), (-1.0, b)]))
    )
    found.append(
        Operation("+1", 1, price + ONE, lambda a: a + 1, lambda a: linear([(1.0, a)], 1.0))
    )
    return tuple(sorted(found, key=lambda o: (o.arity, o.bits, o.name)))


def leaf_bits(grammar: Grammar, inputs: int) -> int:
    """About the price of a tap of one of so many inputs."""
    return len(grammar.words_for(Sort.FIELD)["tap"]) + math.ceil(math.log2(max(inputs, 2)))


def _is_function(primitive: Primitive) -> bool:
    values = all(sort is Sort.FIELD for sort in primitive.args) and not primitive.variadic
    plain = values and len(primitive.args) in (1, 2) and primitive.name not in STRUCTURE
    return plain and primitive.result is Sort.FIELD


def _of(primitive: Primitive, bits: int) -> Operation:
    params = {name: spec.default for name, spec in primitive.parameters}
    algebra = TorchAlgebra(_nothing)

    def apply(*args: Tensor) -> Tensor:
        return primitive.body(algebra, *args, **params)

    def build(*args: Node) -> Node:
        return call(primitive.name, *args, **params)

    return Operation(primitive.name, len(primitive.args), bits, apply, build)


def _nothing(*_: object) -> None:
    raise KeyError("a function of values reads no tap")
