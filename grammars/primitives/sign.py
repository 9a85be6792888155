"""The sign."""

from grammars.primitive import Field, primitive


@primitive(tags=("core", "head"), weight=0.5)
def sign(k, x: Field) -> Field:
    """−1, 0 or 1 where x is below, at or above zero, elementwise, the shape of x."""
    below = k.select(k.mul(k.const(-1.0), x), k.const(-1.0), k.const(0.0))
    return k.select(x, k.const(1.0), below)
