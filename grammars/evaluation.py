"""Algebras give programs meaning; `evaluate` runs a program in one of them.

An interpreter is an algebra: torch tensors, fractions, affine forms, source text, intervals, Z3
terms. A primitive's body is written once over these nine operations.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grammars.kernels import Formula, table
from grammars.primitive import Primitive, Transcendental
from grammars.program import Node, Sort, terms_of

Reader = Callable[[str, int, int, int], Any]
"""(bank, channel, dy, dx) → the value of that tap in some algebra."""

Atom = Callable[[int, int], Any]
"""(dy, dx) → a value there in some algebra, or None outside of a window."""


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

    def __getattr__(self, name: str) -> Any:
        """Raises AttributeError: a body asks for an operation that no algebra has."""
        known = "const, add, mul, max, min, select, linear, table and call"
        raise AttributeError(f"no interpreter has k.{name}: bodies are made of {known}")

    def linear(self, weights: Sequence[float], values: Sequence[Any], bias: float) -> Any:
        """Σ weight · value + bias; interpreters with a faster or tighter way override it."""
        total = self.const(bias)
        for weight, value in zip(weights, values, strict=True):
            total = self.add(total, self.mul(self.const(weight), value))
        return total

    def table(self, formula: Formula) -> Any:
        """The kernel of a formula."""
        return table(formula)

    def shortcut(self, node: Node) -> Any | None:
        """The value of a node that is known without its arguments', or None."""
        return None

    def call(self, function: Transcendental, x: Any) -> Any:
        """A named transcendental."""
        raise Unsupported(f"{self.name} has no {function.name}")


Known = dict[tuple[Node, Sort], Any]
"""Values of sub-programs in some algebra, each as it was wanted: an atom, or what it is at zero."""


def evaluate(
    program: Node,
    algebra: Algebra,
    primitives: Mapping[str, Primitive],
    known: Known | None = None,
) -> Any:
    """The value of `program`; equal sub-programs are computed once.

    `known` are values that other programs have left in the same algebra, and are added to. Raises
    Unsupported where a primitive has no meaning in the algebra, KeyError for an operation that is
    not in `primitives`, and TypeError for a node that does not fit its declaration.
    """
    found: Known = {} if known is None else known

    def wanted(node: Node, want: Sort, parent: Node) -> Any:
        if (node, want) not in found:
            found[node, want] = _coerce(made(node), primitives[node.op].result, want, parent)
        return found[node, want]

    def made(node: Node) -> Any:
        if (short := algebra.shortcut(node)) is not None:
            return short
        primitive = primitives[node.op]
        sorts = argument_sorts(node, primitive)
        args = [argument(a, s, node) for a, s in zip(node.args, sorts, strict=True)]
        return primitive.body(algebra, *args, **dict(node.params))

    def argument(arg: Node, want: Sort, node: Node) -> Any:
        if want is Sort.ATOM and is_mix(arg, primitives):
            weights, _ = zip(*terms_of(arg)[0], strict=True)
            return mixed(algebra, weights, [argument(a, want, arg) for a in arg.args])
        return wanted(arg, want, node)

    return wanted(program, Sort.FIELD, program)


def is_mix(node: Node, primitives: Mapping[str, Primitive]) -> bool:
    """Whether a sum may stand where an atom is wanted: one of atoms alone, without a constant."""
    return (
        node.op == "linear"
        and not node["bias"]
        and all(primitives[a.op].result is Sort.ATOM for a in node.args)
    )


def mixed(algebra: Algebra, weights: Sequence[float], atoms: Sequence[Atom]) -> Atom:
    """Σ weight · atom, to be read at an offset as each of the atoms is; None where they are."""

    def at(i: int, j: int) -> Any:
        values = []
        for atom in atoms:
            if (value := atom(i, j)) is None:
                return None
            values.append(value)
        return algebra.linear(weights, values, 0.0)

    return at


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
        found = value(0, 0)
        if found is None:
            raise KeyError(f"{node.op} reads a tap that is not in the window")
        return found
    raise TypeError(f"an argument of {node.op} has to be of sort {want}, not {have}")
