"""A gap that is declared, although Z3 has the meaning."""

from grammars.primitive import Field, primitive


@primitive(gaps=("z3",))
def needless_gap(k, x: Field) -> Field:
    """max(x, 0), elementwise; the shape of x."""
    return k.max(x, k.const(0.0))
