"""What a user writes: a kernel-shaped bump with two parameters."""

from grammars.primitive import Field, primitive, real


@primitive(tags=("user", "bump"), weight=2.0)
def hat(
    k,
    x: Field,
    *,
    centre=real(-4.0, 4.0, step=0.125, default=0.0),
    height=real(0.25, 4.0, step=0.25, default=1.0),
) -> Field:
    """max(height − |x − centre|, 0), elementwise; any shape to the same shape."""
    away = k.add(x, k.const(-centre))
    distance = k.max(away, k.mul(k.const(-1.0), away))
    return k.max(k.add(k.const(height), k.mul(k.const(-1.0), distance)), k.const(0.0))
