"""Programs of one shape: the same operations over other values, term by term.

What differs between them are the values of parameters, the constants of sums and which taps they
read. A sum's terms have no order, so those of each program are matched to the first one's.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from grammars.primitive import Primitive
from grammars.program import Node, sort_key
from grammars.siblings import pre_of

Shape = Hashable


def shape(program: Node, primitives: Mapping[str, Primitive]) -> Shape:
    """What programs of one shape have in common."""
    return _shape(_opened(program, primitives))


def aligned(programs: Sequence[Node], primitives: Mapping[str, Primitive]) -> tuple[Node, ...]:
    """Programs of one shape with the terms of all sums in the order of the first one's.

    Terms are matched so that as few values as possible differ; under a head stands a sum, even of
    one term. Such trees are not canonical. ValueError for several shapes.
    """
    first, *others = (_opened(program, primitives) for program in programs)
    wanted = _shape(first)
    if any(_shape(other) != wanted for other in others):
        raise ValueError("programs of several shapes have no common order")
    return (first, *(_matched(first, other) for other in others))


def _opened(program: Node, primitives: Mapping[str, Primitive]) -> Node:
    """The program with a sum under its head even where that has one term, of weight one: shapes do
    not depend on a constant."""
    inner = pre = pre_of(program, primitives)
    if pre.op not in ("linear", "const"):
        pre = Node("linear", (pre,), (("weights", (1.0,)), ("bias", 0.0)))
    return pre if inner is program else Node(program.op, (pre,), program.params)


def _shape(node: Node) -> Shape:
    inner = [_shape(arg) for arg in node.args]
    return (node.op, *(sorted(inner, key=repr) if node.op == "linear" else inner))


def _matched(first: Node, other: Node) -> Node:
    """`other` with terms in the order of `first`."""
    if first.op != "linear":
        pairs = zip(first.args, other.args, strict=True)
        return Node(other.op, tuple(_matched(a, b) for a, b in pairs), other.params)
    order = _order(first, other)
    weights: tuple[float, ...] = other["weights"]  # type: ignore[assignment]
    terms = tuple(_matched(a, other.args[i]) for a, i in zip(first.args, order, strict=True))
    params = (("weights", tuple(weights[i] for i in order)), ("bias", other["bias"]))
    return Node("linear", terms, params)


def _order(first: Node, other: Node) -> list[int]:
    """For each term of a sum the one of another that differs least from it."""
    never = 10**6
    costs = [
        [_differences(a, b) if _shape(a) == _shape(b) else never for b in other.args]
        for a in first.args
    ]
    return linear_sum_assignment(np.array(costs))[1].tolist()


def _differences(first: Node, other: Node) -> int:
    """How many values of two trees of one shape differ."""
    if first.op == "linear":
        weights = zip(first["weights"], other["weights"], strict=True)  # type: ignore[arg-type]
        terms = sorted(other.args, key=sort_key)
        inner = zip(sorted(first.args, key=sort_key), terms, strict=True)
        found = sum(a != b for a, b in weights) + (first["bias"] != other["bias"])
    else:
        found = sum(a != b for a, b in zip(first.params, other.params, strict=True))
        inner = zip(first.args, other.args, strict=True)
    return found + sum(_differences(a, b) for a, b in inner)
