"""The sigmoid linear unit."""

import math
from fractions import Fraction

from grammars.primitive import Field, Transcendental, primitive

FLAT = -760.0  # below it the value is closer to zero than the least float


def sigmoid_linear(x: float) -> float:
    """x / (1 + exp(−x)) without overflow."""
    if x >= 0:
        return x / (1.0 + math.exp(-x))
    return x * math.exp(x) / (1.0 + math.exp(x)) if x > FLAT else 0.0


SILU = Transcendental(
    "silu",
    sigmoid_linear,
    "nn.functional.silu",
    low=-0.27846454276107385,
    high=math.inf,
    lipschitz=Fraction(141, 128),  # its steepest slope is 1.09984, at 2.39936
    ulps=1024,  # x times a rounding of the least exp(x)
    turn=(-1.2784645428, -1.2784645427),
)


@primitive(tags=("core", "head"), weight=2.0, gaps=("rational", "z3"))
def silu(k, x: Field) -> Field:
    """x · sigmoid(x), also called swish, elementwise (Elfwing et al. 2018)."""
    return k.call(SILU, x)
