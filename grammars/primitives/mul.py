"""The product of two values."""

from grammars.primitive import Field, primitive


@primitive(tags=("formula",), weight=4.0, gaps=("z3",))
def mul(k, a: Field, b: Field) -> Field:
    """a · b, elementwise; the shapes broadcast."""
    return k.mul(a, b)
