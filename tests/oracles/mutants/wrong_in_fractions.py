"""A constant that differs in one algebra, chosen by the type of the values."""

from fractions import Fraction

from grammars.primitive import Field, primitive


@primitive()
def wrong_in_fractions(k, x: Field) -> Field:
    """x where x > 0, else a quarter of x, elementwise; the shape of x."""
    slope = 0.3 if isinstance(x, Fraction) else 0.25
    return k.max(x, k.mul(k.const(slope), x))
