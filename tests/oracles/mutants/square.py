"""A product of two values, which linear arithmetic does not have, without saying so."""

from grammars.primitive import Field, primitive


@primitive()
def square(k, x: Field) -> Field:
    """x · x, elementwise; the shape of x."""
    return k.mul(x, x)
