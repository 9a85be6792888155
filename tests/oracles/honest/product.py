"""A product of two values: Z3's linear arithmetic has none, and the file says so."""

from grammars.primitive import Field, primitive


@primitive(gaps=("z3",))
def product(k, a: Field, b: Field) -> Field:
    """a · b, elementwise; the shapes broadcast."""
    return k.mul(a, b)
