"""The smaller of two values."""

from grammars.primitive import Field, primitive


@primitive(tags=("core",), weight=2.0)
def min_(k, a: Field, b: Field) -> Field:
    """The smaller of a and b, elementwise; the shapes broadcast."""
    return k.min(a, b)
