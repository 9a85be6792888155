"""The cosine of an angle."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

COS = Transcendental("cos", math.cos, "cos", -1.0, 1.0, Fraction(1), peak=0.0, parity=1)


@primitive(tags=("formula",), weight=2.0, gaps=("rational", "z3"))
def cos(k, x: Field) -> Field:
    """The cosine of x radians, elementwise; any shape to the same shape."""
    return k.call(COS, x)
