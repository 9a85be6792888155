"""The logistic function."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive


def logistic(x: float) -> float:
    """1 / (1 + exp(−x)) without overflow."""
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


SIGMOID = Transcendental("sigmoid", logistic, "sigmoid", 0.0, 1.0, Fraction(1, 4))


@primitive(tags=("core", "head"), weight=2.0, gaps=("rational", "z3"))
def sigmoid(k, x: Field) -> Field:
    """1 / (1 + exp(−x)), elementwise; any shape to the same shape."""
    return k.call(SIGMOID, x)
