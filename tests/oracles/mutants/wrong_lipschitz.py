"""A transcendental that is steeper than declared."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

HALF_TURN = 1.5707963267948968
ATAN = Transcendental("atan", math.atan, "atan", -HALF_TURN, HALF_TURN, Fraction(1, 2))


@primitive(gaps=("rational", "z3"))
def wrong_lipschitz(k, x: Field) -> Field:
    """The arc tangent, elementwise; the shape of x."""
    return k.call(ATAN, x)
