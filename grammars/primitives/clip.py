"""Saturation on both sides."""

from grammars.primitive import Field, primitive, real


@primitive(tags=("core", "head"), weight=2.0)
def clip(
    k,
    x: Field,
    *,
    low=real(-64.0, 64.0, step=0.25, default=0.0),
    high=real(-64.0, 64.0, step=0.25, default=6.0),
) -> Field:
    """min(max(x, low), high), elementwise; ReLU6 has low = 0 and high = 6 (Krizhevsky 2010)."""
    return k.min(k.max(x, k.const(low)), k.const(high))
