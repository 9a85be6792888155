"""The exponential function."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

MOST = 64.0  # arguments beyond are held here: a value stays finite in float32

EXP = Transcendental("exp", math.exp, "exp", 0.0, math.inf, Fraction(math.ceil(math.exp(MOST))))


@primitive(tags=("formula",), weight=2.0, gaps=("rational", "z3"))
def exp(k, x: Field) -> Field:
    """eˣ, elementwise, and e⁶⁴ beyond x = 64; any shape to the same shape."""
    return k.call(EXP, k.min(x, k.const(MOST)))
