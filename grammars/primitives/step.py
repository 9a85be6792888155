"""The threshold."""

from grammars.primitive import Field, primitive


@primitive(tags=("core", "head"), weight=2.0)
def step(k, x: Field) -> Field:
    """1 where x > 0, else 0, elementwise, the shape of x (McCulloch and Pitts 1943)."""
    return k.select(x, k.const(1.0), k.const(0.0))
