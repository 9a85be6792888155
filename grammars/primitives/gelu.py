"""The Gaussian error linear unit."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

FLAT = -40.0  # below it the value is closer to zero than the least float


def gaussian_linear(x: float) -> float:
    """x · Φ(x), by the complementary error function, which keeps small values of Φ accurate."""
    return 0.5 * x * math.erfc(-x / math.sqrt(2)) if x > FLAT else 0.0


GELU = Transcendental(
    "gelu",
    gaussian_linear,
    "nn.functional.gelu",
    low=-0.16997120747990369,
    high=math.inf,
    lipschitz=Fraction(145, 128),  # its steepest slope is 1.12891, at the square root of two
    ulps=4096,  # a rounding of x moves Φ(x) by some x² units in the last place
    turn=(-0.7517915247, -0.7517915246),
)


@primitive(tags=("core", "head"), weight=2.0, gaps=("rational", "z3"))
def gelu(k, x: Field) -> Field:
    """x · Φ(x) of the normal distribution Φ, elementwise (Hendrycks and Gimpel 2016)."""
    return k.call(GELU, x)
