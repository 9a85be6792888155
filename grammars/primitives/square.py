"""The square."""

from grammars.primitive import Field, primitive


@primitive(tags=("formula",), weight=4.0, gaps=("z3",))
def square(k, x: Field) -> Field:
    """x², elementwise; any shape to the same shape."""
    return k.max(k.mul(x, x), k.const(0.0))  # the product of an interval with itself may fall below
