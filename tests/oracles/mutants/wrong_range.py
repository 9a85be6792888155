"""A transcendental whose declared range leaves half of its values out."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

TANH = Transcendental("tanh", math.tanh, "tanh", 0.0, 1.0, Fraction(1))


@primitive(gaps=("rational", "z3"))
def wrong_range(k, x: Field) -> Field:
    """The hyperbolic tangent, elementwise; the shape of x."""
    return k.call(TANH, x)
