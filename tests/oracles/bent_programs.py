"""Units and programs over a few taps, and what sampling says of their difference."""

from itertools import product

import numpy as np

from grammars.grammar import load_grammar
from grammars.program import call, linear, tap
from oracles.interval import IntervalAlgebra

GRAMMAR = load_grammar(tags=("core", "formula", "pool"), installed=False)


def columns(size):
    return {("x", c, 0, 0): c for c in range(size)}


def affine(weights, bias=0.0):
    return linear([(float(w), tap("x", c)) for c, w in enumerate(weights)], float(bias))


def relu(*args):
    return call("relu", affine(*args))


def sampled(apart, box, *, per_side=15):
    """The largest |first − second| on a grid, in floats, and the grid's point."""
    sides = [np.linspace(*ends, per_side) for ends in zip(box.lower, box.upper, strict=True)]
    points = np.array(list(product(*sides)))
    weights, biases = apart.floats
    rows = points @ weights.T + biases
    first, second = apart.values(IntervalAlgebra, [(row, row) for row in rows.T])
    gaps = np.broadcast_to(np.maximum(first[0] - second[1], second[0] - first[1]), len(points))
    return float(gaps.max()), points[int(gaps.argmax())]
