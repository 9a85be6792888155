"""A threshold that is closed in Z3 and open everywhere else: they differ at zero only."""

from grammars.primitive import Field, primitive


@primitive()
def other_side_of_zero(k, x: Field) -> Field:
    """1 where x > 0, else 0, elementwise; the shape of x."""
    if k.name == "z3":
        return k.select(k.mul(k.const(-1.0), x), k.const(0.0), k.const(1.0))
    return k.select(x, k.const(1.0), k.const(0.0))
