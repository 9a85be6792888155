"""The larger of two values."""

from grammars.primitive import Field, primitive


@primitive(tags=("core",), weight=2.0)
def max_(k, a: Field, b: Field) -> Field:
    """The larger of a and b, elementwise; the shapes broadcast."""
    return k.max(a, b)
