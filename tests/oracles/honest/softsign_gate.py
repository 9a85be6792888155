"""Two arguments, a transcendental, its gaps declared."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

HALF_TURN = 1.5707963267948968
ATAN = Transcendental("atan", math.atan, "atan", -HALF_TURN, HALF_TURN, Fraction(1))


@primitive(gaps=("rational", "z3"))
def softsign_gate(k, x: Field, gate: Field) -> Field:
    """arctan(x) where gate > 0, else 0; elementwise, the shapes broadcast."""
    return k.select(gate, k.call(ATAN, x), k.const(0.0))
