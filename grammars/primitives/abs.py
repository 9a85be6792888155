"""The absolute value."""

from grammars.primitive import Field, primitive


@primitive(tags=("core",), weight=2.0)
def abs_(k, x: Field) -> Field:
    """|x|, elementwise; any shape to the same shape."""
    return k.max(x, k.mul(k.const(-1.0), x))
