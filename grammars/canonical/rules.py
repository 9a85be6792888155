"""The table of rewrites: each takes a call whose arguments are canonical, and gives what stands for
it, or None where the pattern is another.

A rule may be wrong for a user's function of the same name, or need numbers of more bits than a
float has: every result is compared with what it was made of before it is kept.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import reduce

from grammars.canonical.laws import Laws, absorbed, is_function, laws_of
from grammars.grammar import Grammar
from grammars.interpreters.rational import RationalAlgebra
from grammars.program import Node, call, const, is_sum_of_taps, linear, sort_key, terms_of

Rule = Callable[[Node, Grammar], Node | None]


def folded(node: Node, grammar: Grammar) -> Node | None:
    """A call of numbers is a number, where it has an exact float; an odd function of 0 is 0."""
    if any(arg.op != "const" for arg in node.args):
        return None
    if node.args == (const(0.0),) and _is_odd(node, grammar):
        return const(0.0)
    algebra = RationalAlgebra(lambda *_: None)
    args = (algebra.const(terms_of(arg)[1]) for arg in node.args)
    return const(float(grammar[node.op].body(algebra, *args, **dict(node.params))))


def absorbs(node: Node, grammar: Grammar) -> Node | None:
    """|3x²| is 3x², relu(relu(x)) is relu(x), and step(relu(x)) is step(x)."""
    terms, bias = terms_of(node.args[0])
    if len(node.args) != 1 or len(terms) != 1 or bias or terms[0][0] < 0:
        return None
    ((weight, inner),) = terms
    if len(inner.args) != 1 or not is_function(grammar[inner.op]):
        return None
    kept = absorbed(grammar[node.op], node.params, grammar[inner.op], inner.params)
    passing = {"outer": node, "inner": inner}.get(kept)  # which of them a factor passes through
    if passing is None or not (weight == 1.0 or _laws(passing, grammar).homogeneous):
        return None
    return node.args[0] if kept == "outer" else _of(node, _times(weight, *inner.args))


def mirrored(node: Node, grammar: Grammar) -> Node | None:
    """cos(−x) is cos(x), and sin(−x) is −sin(x)."""
    parity = _laws(node, grammar).parity
    if not parity or _sign(node.args[0]) > 0:
        return None
    return _times(parity, _of(node, _times(-1.0, node.args[0])))


def multiplied(node: Node, grammar: Grammar) -> Node | None:
    """A product or square with its number before it and its factors in order, equal ones in
    squares."""
    if node.op not in ("mul", "square"):
        return None
    weight, powers = _factors(node)
    return _times(float(weight), _product(powers, grammar)) if weight else const(0.0)


def arranged(node: Node, grammar: Grammar) -> Node | None:
    """Arguments whose order does not matter are sorted, nested ones in one chain; where a value
    with itself is that value, each stands once."""
    laws = _laws(node, grammar)
    if not laws.commutative:
        return None
    found = _operands(node) if laws.associative else node.args
    return _chained(node, dict.fromkeys(found) if laws.idempotent else found)


RULES: tuple[Rule, ...] = (folded, absorbs, mirrored, multiplied, arranged)


def signs_inside(node: Node, grammar: Grammar) -> Node:
    """A program of which no rule changes anything, with minus signs of terms in the sums of their
    functions and factors, where there are such: −tanh(x − y) is tanh(y − x), as units have it."""
    if is_sum_of_taps(node):
        return node
    if node.op == "linear":
        terms, bias = terms_of(node)
        alone = terms[0] if terms[0][0] == -1.0 and len(terms) == 1 and not bias else None
        if alone and _is_odd(alone[1], grammar):
            return signs_inside(_of(alone[1], _times(-1.0, alone[1].args[0])), grammar)
        signed = [_sign_inside(weight, atom, grammar) for weight, atom in terms]
        return linear([(w, signs_inside(atom, grammar)) for w, atom in signed], bias)
    if not is_function(grammar[node.op]):
        return node
    return _of(node, *(signs_inside(arg, grammar) for arg in node.args))


def _sign_inside(weight: float, atom: Node, grammar: Grammar) -> tuple[float, Node]:
    negative = _negative(atom, grammar) if weight < 0 else None
    return (-weight, negative) if negative else (weight, atom)


def _negative(node: Node, grammar: Grammar) -> Node | None:
    """−node by the weights of a sum in it, or None where there is no such sum."""
    if node.op in ("linear", "const"):
        return _times(-1.0, node)
    if node.op == "mul":
        a, b = node.args
        first, second = _negative(a, grammar), _negative(b, grammar)
        return _of(node, first, b) if first else second and _of(node, a, second)
    inner = _negative(node.args[0], grammar) if _is_odd(node, grammar) else None
    return inner and _of(node, inner)


def _laws(node: Node, grammar: Grammar) -> Laws:
    return laws_of(grammar[node.op], node.params)


def _is_odd(node: Node, grammar: Grammar) -> bool:
    return len(node.args) == 1 and _laws(node, grammar).parity < 0


def _factors(node: Node, power: int = 1) -> tuple[Fraction, Counter[Node]]:
    """node^power as a number and the powers of other factors, the first weight of sums positive."""
    if node.op in ("mul", "square"):
        inner = 2 * power if node.op == "square" else power
        weight, powers = Fraction(1), Counter[Node]()
        for own, found in (_factors(arg, inner) for arg in node.args):
            weight, powers = weight * own, powers + found
        return weight, powers
    if node.op == "abs" and power % 2 == 0:
        return _factors(node.args[0], power)
    terms, bias = terms_of(node)
    if not terms:
        return Fraction(bias) ** power, Counter()
    if len(terms) == 1 and not bias and node.op == "linear":
        own, powers = _factors(terms[0][1], power)
        return Fraction(terms[0][0]) ** power * own, powers
    sign = _sign(node)
    return Fraction(sign) ** power, Counter({_times(sign, node): power})


def _product(powers: Mapping[Node, int], grammar: Grammar) -> Node:
    if not powers:
        return const(1.0)
    if "square" not in grammar:
        return _chained(call("mul"), (f for f, power in powers.items() for _ in range(power)))
    parts = [factor for factor, power in powers.items() if power % 2]
    half = {factor: power // 2 for factor, power in powers.items() if power > 1}
    if half:
        parts.append(call("square", _product(half, grammar)))
    return _chained(call("mul"), parts)


def _chained(like: Node, operands: Iterable[Node]) -> Node:
    """The function of a node over sorted operands, the first ones innermost: numbers, which fold,
    then taps."""
    ordered = sorted(operands, key=lambda n: (n.op != "const", sort_key(n)))
    return reduce(lambda a, b: _of(like, a, b), ordered)


def _operands(node: Node) -> Iterable[Node]:
    """The values of a chain of one function of two, from the inside out."""
    for arg in node.args:
        nested = (arg.op, arg.params) == (node.op, node.params)
        yield from _operands(arg) if nested else (arg,)


def _sign(node: Node) -> int:
    """The sign of a sum's first weight, or of a number; 1 for what has no sign before it."""
    terms, bias = terms_of(node)
    return -1 if (terms[0][0] if terms else bias) < 0 else 1


def _of(node: Node, *args: Node) -> Node:
    """The function of a node, of other values."""
    return Node(node.op, args, node.params)


def _times(weight: float, node: Node) -> Node:
    """weight · node. ValueError where that has no exact float."""
    return linear([(weight, node)])
