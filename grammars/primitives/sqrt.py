"""The square root."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

LEAST = 2.0**-40  # arguments below are held here: the slope at zero would be infinite

SQRT = Transcendental("sqrt", math.sqrt, "sqrt", 0.0, math.inf, Fraction(2**19))


@primitive(tags=("formula",), weight=2.0, gaps=("rational", "z3"))
def sqrt(k, x: Field) -> Field:
    """√x, elementwise, and 2⁻²⁰ below x = 2⁻⁴⁰; any shape to the same shape."""
    return k.call(SQRT, k.max(x, k.const(LEAST)))
