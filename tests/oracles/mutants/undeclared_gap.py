"""A transcendental without the gaps that it has."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

TANH = Transcendental("tanh", math.tanh, "tanh", -1.0, 1.0, Fraction(1))


@primitive()
def undeclared_gap(k, x: Field) -> Field:
    """The hyperbolic tangent, elementwise; the shape of x."""
    return k.call(TANH, x)
