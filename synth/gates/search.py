"""Programs for a function of bits: thresholds, bits and counts of weighted sums, and choices.

What no weighted sum tells is divided by one input (Shannon 1938): the one behind which the two
halves need fewest inputs.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from grammars.grammar import Grammar
from grammars.program import Node, call, const, count_terms, linear
from synth.gates.table import Table
from synth.gates.weights import symmetric_weights, threshold_weights

SUMS = 3  # weightings whose sums are programs, and
DEEPEST = 8  # divisions one behind the other, at most


def gates_of(table: Table, grammar: Grammar) -> list[Node]:
    """Programs that are the function on all rows of the table, the shortest first."""
    found = [*_whole(table.support, grammar), *_divided(table.support, grammar, DEEPEST)]
    return sorted(dict.fromkeys(found), key=count_terms)


def _whole(table: Table, grammar: Grammar) -> Iterator[Node]:
    """What one sum of the inputs tells."""
    if table.is_constant:
        yield const(float(table.values[0]) if len(table.values) else 0.0)
        return
    if len(table.atoms) == 1:
        yield _literal(table)
    weights = threshold_weights(table)
    if weights is not None:
        yield from _of_sum(table, weights, grammar)
        return
    told = ([*_of_sum(table, found, grammar)] for found in symmetric_weights(table))
    for programs in islice(filter(None, told), SUMS):
        yield from programs


def _literal(table: Table) -> Node:
    (atom,), direct = table.atoms, bool((table.rows[:, 0] == table.values).all())
    return atom if direct else linear([(-1.0, atom)], 1.0)


def _of_sum(table: Table, weights: np.ndarray, grammar: Grammar) -> Iterator[Node]:
    """Functions of a sum that decides the value: a step, one or several counts, a bit."""
    sums = table.rows @ weights
    levels, first = np.unique(sums, return_index=True)
    values = table.values[first]
    pairs = [(float(w), a) for w, a in zip(weights, table.atoms, strict=True) if w]
    changes = np.flatnonzero(np.diff(values))
    edges = [(levels[i] + levels[i + 1]) / 2 for i in changes]
    if len(edges) == 1:
        sign = 1.0 if values[-1] else -1.0
        yield call("step", linear([(sign * w, a) for w, a in pairs], -sign * edges[0]))
    if len(edges) == 2 and "abs" in grammar:
        middle, reach = (edges[0] + edges[1]) / 2, (edges[1] - edges[0]) / 2
        sign = 1.0 if values[0] else -1.0
        away = call("abs", linear(pairs, -middle))
        yield call("step", linear([(sign, away)], -sign * reach))
    if "bit" in grammar and len(edges) > 1:  # a step says more than the highest bit
        yield from _bits(levels, values, pairs, grammar)


def _bits(
    levels: np.ndarray, values: np.ndarray, pairs: list[tuple[float, Node]], grammar: Grammar
) -> Iterator[Node]:
    """The value as a bit of the sum, maybe of one moved by a whole number."""
    last: int = dict(grammar["bit"].parameters)["place"].high  # type: ignore[union-attr]
    for place in range(last + 1):
        period = 2 ** (place + 1)
        moved = np.arange(period)
        shifts = moved + period * np.maximum(0, -((levels.min() + moved) // period))
        at = levels + shifts[:, None]
        told = (at.max(1) < 2 ** (last + 1)) & ((at >> place & 1) == values).all(1)
        if told.any():
            yield call("bit", linear(pairs, float(shifts[told.argmax()])), place=place)
            return


def _divided(table: Table, grammar: Grammar, depth: int) -> Iterator[Node]:
    """max(f₁ + x − 1, f₀ − x): f₁ where the bit x is 1, f₀ where it is 0."""
    if table.is_constant or len(table.atoms) < 2 or depth == 0:
        return
    halves = {
        c: (table.cofactor(c, 1).support, table.cofactor(c, 0).support)
        for c in range(len(table.atoms))
    }
    best = min(halves, key=lambda c: sum(len(half.atoms) for half in halves[c]))
    x, parts = table.atoms[best], [_shortest(half, grammar, depth - 1) for half in halves[best]]
    if all(part is not None for part in parts):
        above, below = parts
        one = linear([(1.0, above), (1.0, x)], -1.0)  # type: ignore[list-item]
        none = linear([(1.0, below), (-1.0, x)])  # type: ignore[list-item]
        yield call("max", one, none)


def _shortest(table: Table, grammar: Grammar, depth: int) -> Node | None:
    whole = list(_whole(table, grammar))
    found = whole or list(_divided(table, grammar, depth))
    return min(found, key=count_terms, default=None)
