"""Whether two programs are the same, and what rewrites may use of a function, a user's as ours:
found on its values at exact points, once for each function.

A law that is found is still checked on each program that it is used in.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from grammars.canonical.points import Params, Values, applied, input_values
from grammars.grammar import Grammar
from grammars.primitive import LEAVES_AND_SUMS, STRUCTURE, Primitive
from grammars.program import Node, Sort, tap

POINTS = 48  # of functions, which are few
FACTORS = (Fraction(1, 4), Fraction(3))
NO_FUNCTIONS = STRUCTURE | LEAVES_AND_SUMS


def is_function(primitive: Primitive) -> bool:
    """Whether a primitive is a function of values alone."""
    sorts = {primitive.result, *primitive.args}
    return bool(primitive.args) and sorts == {Sort.FIELD} and primitive.name not in NO_FUNCTIONS


@dataclass(frozen=True, eq=False)
class Checker:
    """Compares programs; what is no function of values, such as a kernel over a bank, is an input:
    what holds for any input holds for it."""

    grammar: Grammar
    _known: dict[Node, Values] = field(default_factory=dict)

    def same(self, before: Node, after: Node) -> bool:
        """Whether two programs have the same values at all points.

        False too where a body has no meaning in fractions.
        """
        try:
            return self.values(before) == self.values(after)
        except Exception:  # whatever a user's body raises is no agreement
            return False

    def values(self, node: Node) -> Values:
        """The values of a program at all points."""
        if node not in self._known:
            self._known[node] = self._evaluated(node)
        return self._known[node]

    def _evaluated(self, node: Node) -> Values:
        primitive = self.grammar[node.op]
        if node.op not in ("linear", "const") and not is_function(primitive):
            return input_values(node)
        return applied(primitive.body, node.params, [self.values(arg) for arg in node.args])


@dataclass(frozen=True)
class Laws:
    """`parity` is 1 or −1 where f(−a) is f(a) or −f(a); `homogeneous`: f(c·a) is c·f(a) for c above
    zero; the others are of functions of two."""

    parity: int = 0
    homogeneous: bool = False
    commutative: bool = False
    associative: bool = False
    idempotent: bool = False


@lru_cache(maxsize=1 << 10)
def laws_of(primitive: Primitive, params: Params) -> Laws:
    """The laws of a function of one or two values; none for other functions."""
    count = 0 if primitive.variadic else len(primitive.args)
    try:
        return {1: _of_one, 2: _of_two}[count](_function(primitive, params))
    except Exception:  # another count, or a body without meaning in fractions
        return Laws()


@lru_cache(maxsize=1 << 10)
def absorbed(outer: Primitive, o: Params, inner: Primitive, i: Params) -> str:
    """ "outer" where outer(inner(x)) is inner(x), "inner" where it is outer(x), else nothing."""
    (x,) = _inputs(1)
    try:
        below, above = _function(inner, i)(x), _function(outer, o)
        both = above(below)
        return "outer" if both == below else "inner" if both == above(x) else ""
    except Exception:  # a body without meaning in fractions
        return ""


def _of_one(f: Callable[..., Values]) -> Laws:
    (a,) = _inputs(1)
    value, mirrored = f(a), f(_times(-1, a))
    return Laws(
        parity=1 if mirrored == value else -int(mirrored == _times(-1, value)),
        homogeneous=all(f(_times(c, a)) == _times(c, value) for c in FACTORS),
    )


def _of_two(f: Callable[..., Values]) -> Laws:
    a, b, c = _inputs(3)
    return Laws(
        commutative=f(b, a) == f(a, b),
        associative=f(f(a, b), c) == f(a, f(b, c)),
        idempotent=f(a, a) == a,
    )


def _times(factor: Fraction | int, values: Values) -> Values:
    return tuple(factor * value for value in values)


def _inputs(count: int) -> list[Values]:
    return [input_values(tap("law", i), POINTS) for i in range(count)]


def _function(primitive: Primitive, params: Params) -> Callable[..., Values]:
    return lambda *args: applied(primitive.body, params, args)
