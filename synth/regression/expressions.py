"""Expressions of other libraries as programs.

On the way from a process to the run an expression is a list: ["var", place], ["const", value], or
a name of `MEANINGS` with its arguments.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grammars.grammar import Grammar
from grammars.program import Node, call, const, linear

Expression = Sequence[Any]
PRECISION = 10  # bits of a number, which is fitted again anyway: products of several stay exact


@dataclass(frozen=True)
class Meaning:
    """What an operation is in programs, and the primitives that this needs."""

    needs: tuple[str, ...]
    build: Callable[..., Node]


def _sum(*weights: float) -> Meaning:
    return Meaning((), lambda *args: linear(zip(weights, args, strict=True)))


def _function(name: str) -> Meaning:
    return Meaning((name,), lambda *args: call(name, *args))


def _product(a: Node, b: Node) -> Node:
    for weight, other in ((a, b), (b, a)):
        if weight.op == "const":
            return linear([(float(weight["value"]), other)])  # type: ignore[arg-type]
    return call("mul", a, b)


def _quotient(a: Node, b: Node) -> Node:
    if b.op == "const":
        return linear([(_short(1 / float(b["value"])), a)])  # type: ignore[arg-type]
    return _product(a, call("reciprocal", b))


def _analytic_quotient(a: Node, b: Node) -> Node:
    """a / √(1 + b²), which has no pole (Ni et al. 2013)."""
    root = call("sqrt", linear([(1.0, call("square", b))], 1.0))
    return _product(a, call("reciprocal", root))


MEANINGS: Mapping[str, Meaning] = {
    "add": _sum(1.0, 1.0),
    "sub": _sum(1.0, -1.0),
    "neg": _sum(-1.0),
    "mul": Meaning(("mul",), _product),
    "div": Meaning(("mul", "reciprocal"), _quotient),
    "inv": _function("reciprocal"),
    "aq": Meaning(("mul", "reciprocal", "sqrt", "square"), _analytic_quotient),
    **{n: _function(n) for n in ("max", "min", "abs", "relu", "step", "square", "sqrt", "exp")},
    **{n: _function(n) for n in ("cos", "sin", "tanh", "sigmoid")},
}


def sayable(grammar: Grammar) -> frozenset[str]:
    """The operations that a grammar has what it needs for."""
    return frozenset(n for n, m in MEANINGS.items() if all(need in grammar for need in m.needs))


def program_of(expression: Expression, variables: Sequence[Node]) -> Node | None:
    """An expression over some variables; None where it is no program: a number without a short
    dyadic near, or an operation that has no meaning here."""
    try:
        return _node(expression, variables)
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None


def _node(expression: Expression, variables: Sequence[Node]) -> Node:
    name, *args = expression
    if name == "var":
        return variables[args[0]]
    if name == "const":
        return const(_short(args[0]))
    return MEANINGS[name].build(*(_node(arg, variables) for arg in args))


def _short(value: float) -> float:
    """The nearest number of few bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, PRECISION)), exponent - PRECISION)
