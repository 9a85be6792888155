"""The proximal operator of the absolute value."""

from grammars.primitive import Field, primitive, real


@primitive()
def soft_threshold(k, x: Field, *, width=real(0.0, 8.0, step=0.01, default=0.5)) -> Field:
    """sign(x) · max(|x| − width, 0), elementwise, the shape of x (Donoho 1995)."""
    above = k.max(k.add(x, k.const(-width)), k.const(0.0))
    below = k.min(k.add(x, k.const(width)), k.const(0.0))
    return k.add(above, below)
