"""A decreasing function declared as a transcendental, which are increasing."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

ERFC = Transcendental("erfc", math.erfc, "erfc", 0.0, 2.0, Fraction(6, 5))


@primitive(gaps=("rational", "z3"))
def decreasing(k, x: Field) -> Field:
    """The complementary error function, elementwise; the shape of x."""
    return k.call(ERFC, x)
