"""The sine of an angle."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

SIN = Transcendental("sin", math.sin, "sin", -1.0, 1.0, Fraction(1), peak=math.pi / 2, parity=-1)


@primitive(tags=("formula",), weight=2.0, gaps=("rational", "z3"))
def sin(k, x: Field) -> Field:
    """The sine of x radians, elementwise; any shape to the same shape."""
    return k.call(SIN, x)
