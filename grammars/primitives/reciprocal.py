"""The reciprocal."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

LEAST = 2.0**-6  # sizes of arguments below which a straight line goes through zero
STEEP = LEAST**-2  # and its slope

RECIPROCAL = Transcendental(
    "reciprocal",
    lambda x: 1.0 / x,
    "reciprocal",
    low=0.0,
    high=1.0 / LEAST,
    lipschitz=Fraction(STEEP),
    turn=(math.inf, math.inf),  # it falls all the way
)


@primitive(tags=("formula",), weight=2.0, gaps=("rational", "z3"))
def reciprocal(k, x: Field) -> Field:
    """1/x, elementwise, and 4096·x where |x| < 1/64; any shape to the same shape."""
    zero, minus, line = k.const(0.0), k.const(-1.0), k.mul(k.const(STEEP), x)
    size = k.max(k.max(x, k.mul(minus, x)), k.const(LEAST))
    inverse = k.call(RECIPROCAL, size)
    above, below = k.max(line, zero), k.min(line, zero)  # for intervals on both sides of zero
    return k.select(x, k.min(inverse, above), k.max(k.mul(minus, inverse), below))
