"""An even function that says it is odd."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

COS = Transcendental("cos", math.cos, "cos", -1.0, 1.0, Fraction(1), peak=0.0, parity=-1)


@primitive(gaps=("rational", "z3"))
def wrong_parity(k, x: Field) -> Field:
    """The cosine, elementwise; the shape of x."""
    return k.call(COS, x)
