"""The logistic function in three straight pieces."""

from grammars.primitive import Field, primitive


@primitive(tags=("core", "head"), weight=2.0)
def hardsigmoid(k, x: Field) -> Field:
    """min(max(x + 3, 0), 6) / 6, elementwise; any shape to the same shape (Howard et al. 2019)."""
    inside = k.min(k.max(k.add(x, k.const(3.0)), k.const(0.0)), k.const(6.0))
    return k.mul(inside, k.const(1 / 6))
