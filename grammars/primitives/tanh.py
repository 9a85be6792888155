"""The hyperbolic tangent."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

TANH = Transcendental("tanh", math.tanh, "tanh", -1.0, 1.0, Fraction(1), parity=-1)


@primitive(tags=("core", "head"), weight=2.0, gaps=("rational", "z3"))
def tanh(k, x: Field) -> Field:
    """(exp(x) − exp(−x)) / (exp(x) + exp(−x)), elementwise; any shape to the same shape."""
    return k.call(TANH, x)
