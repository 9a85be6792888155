"""Programs with their kernels written out: sums of taps under heads, as proofs read them."""

from collections.abc import Container, Mapping

from grammars.hoist import ROWS, headed_sum, hoist
from grammars.interpreters.affine import Affine, TapKey
from grammars.primitive import Primitive
from grammars.program import Node, linear, tap, terms_of


def unfolded(program: Node, window: Container[TapKey], primitives: Mapping[str, Primitive]) -> Node:
    """The same program, exactly, in which each affine part is a sum of the taps of a `window`.

    Kernels are cut to it, as they are in a layer. Their weights are dyadic, so nothing is rounded.
    """
    if headed_sum(program, primitives) is not None:
        return program
    hoisted = hoist(program, primitives, window)
    rows = {tap(ROWS, i): _sum(row) for i, row in enumerate(hoisted.rows)}
    return _replaced(hoisted.skeleton, rows)


def _sum(row: Affine) -> Node:
    return linear(((weight, tap(*key)) for key, weight in row.weights.items()), row.bias)


def _replaced(node: Node, rows: Mapping[Node, Node]) -> Node:
    if node in rows:
        return rows[node]
    if node.op == "linear":
        terms, bias = terms_of(node)
        return linear(((w, _replaced(atom, rows)) for w, atom in terms), bias)
    return Node(node.op, tuple(_replaced(arg, rows) for arg in node.args), node.params)
