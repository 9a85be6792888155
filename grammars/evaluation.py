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

    def shortcut(self, node: Node) -> Any | None:
        """The value of a node that is known without its arguments', or None."""
        return None

    def call(self, function: Transcendental, x: Any) -> Any:
        """A named transcendental."""
        raise Unsupported(f"{self.name} has no {function.name}")


def evaluate(program: Node, algebra: Algebra, primitives: Mapping[str, Primitive]) -> Any:
    """The value of `program`; equal sub-programs are computed once.

    Raises Unsupported where a primitive has no meaning in the algebra, KeyError for an operation
    that is not in `primitives`, and TypeError for a node that does not fit its declaration.
    """
    memo: dict[Node, Any] = {}

    def visit(node: Node) -> Any:
        if node in memo:
            return memo[node]
        if (known := algebra.shortcut(node)) is not None:
            memo[node] = known
        else:
            primitive = primitives[node.op]
            sorts = argument_sorts(node, primitive)
            args = [
                _coerce(visit(a), primitives[a.op].result, s, node)
                for a, s in zip(node.args, sorts, strict=True)
            ]
            memo[node] = primitive.body(algebra, *args, **dict(node.params))
        return memo[node]

    return _coerce(visit(program), primitives[program.op].result, Sort.FIELD, program)


def argument_sorts(node: Node, primitive: Primitive) -> tuple[Sort, ...]:
    """The sort that each argument of `node` has to have.

    Raises TypeError for a wrong number of arguments or parameters that are not all there.
    """
    sorts = primitive.args * len(node.args) if primitive.variadic else primitive.args
    if len(sorts) != len(node.args):
        raise TypeError(f"{node.op} takes {len(sorts)} arguments, not {len(node.args)}")
    wanted = [name for name, _ in primitive.parameters]
    given = [name for name, _ in node.params]
    if wanted and wanted != given:
        raise TypeError(f"{node.op} takes the parameters {wanted} in this order, not {given}")
    return sorts


def _coerce(value: Any, have: Sort, want: Sort, node: Node) -> Any:
    """An atom is a function of an offset; where a field is wanted it is read at offset zero."""
    if have is want:
        return value
    if have is Sort.ATOM and want is Sort.FIELD:
        return value(0, 0)
    raise TypeError(f"an argument of {node.op} has to be of sort {want}, not {have}")
