"""A transcendental whose torch name is another function than the one that proofs use."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

HALF_TURN = 1.5707963267948968
ATAN = Transcendental("atan", math.atan, "tanh", -HALF_TURN, HALF_TURN, Fraction(1))


@primitive(gaps=("rational", "z3"))
def other_torch_function(k, x: Field) -> Field:
    """The arc tangent, elementwise; the shape of x."""
    return k.call(ATAN, x)
