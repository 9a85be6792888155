"""Algebras give programs meaning; `evaluate` runs a program in one of them.

An interpreter is an algebra: torch tensors, fractions, affine forms, source text, intervals, Z3
terms. A primitive's body is written once over these nine operations.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grammars.primitive import Primitive, Transcendental
from grammars.program import Node, Sort

Reader = Callable[[str, int, int, int], Any]
"""(bank, channel, dy, dx) → the value of that tap in some algebra."""


class Unsupported(Exception):
    """An operation without meaning in this interpreter; the primitive must declare the gap."""


class Algebra(ABC):
    """The operations that bodies are written in; values are opaque to the body."""

    name: str

    def __init__(self, read: Reader) -> None:
        self.read = read

    @abstractmethod
    def const(self, value: float) -> Any: ...

    @abstractmethod
    def add(self, a: Any, b: Any) -> Any: ...

    @abstractmethod
    def mul(self, a: Any, b: Any) -> Any: ...

    @abstractmethod
    def max(self, a: Any, b: Any) -> Any: ...

    @abstractmethod
    def min(self, a: Any, b: Any) -> Any: ...

    @abstractmethod
    def select(self, condition: Any, positive: Any, otherwise: Any) -> Any:
        """`positive` where condition > 0, else `otherwise`."""

    def linear(self, weights: Sequence[float], values: Sequence[Any], bias: float) -> Any:
        """Σ weight · value + bias; interpreters with a faster or tighter way override it."""
        total = self.const(bias)
        for weight, value in zip(weights, values, strict=True):
            total = self.add(total, self.mul(self.const(weight), value))
        return total

    def call(self, function: Transcendental, x: Any) -> Any:
        """A named transcendental."""
        raise Unsupported(f"{self.name} has no {function.name}")


def evaluate(program: Node, algebra: Algebra, primitives: Mapping[str, Primitive]) -> Any:
    """The value of `program`; equal sub-programs are computed once.

    Raises Unsupported where a primitive has no meaning in the algebra, and KeyError for an operation
    that is not in `primitives`.
    """
    memo: dict[Node, Any] = {}

    def visit(node: Node) -> Any:
        if node not in memo:
            primitive = primitives[node.op]
            sorts = primitive.args if not primitive.variadic else primitive.args * len(node.args)
            args = [_coerce(visit(a), primitives[a.op].result, s) for a, s in _zip(node, sorts)]
            memo[node] = primitive.body(algebra, *args, **dict(node.params))
        return memo[node]

    return _coerce(visit(program), primitives[program.op].result, Sort.FIELD)


def _zip(node: Node, sorts: Sequence[Sort]) -> list[tuple[Node, Sort]]:
    if len(sorts) != len(node.args):
        raise TypeError(f"{node.op} takes {len(sorts)} arguments, not {len(node.args)}")
    return list(zip(node.args, sorts, strict=True))


def _coerce(value: Any, have: Sort, want: Sort) -> Any:
    """An atom is a function of an offset; where a field is wanted it is read at offset zero."""
    return value(0, 0) if have is Sort.ATOM and want is Sort.FIELD else value
