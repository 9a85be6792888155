"""The rectifier that leaks."""

from grammars.primitive import Field, primitive, real


@primitive(tags=("core", "head"), weight=2.0)
def leaky_relu(k, x: Field, *, slope=real(0.0, 1.0, step=0.01, default=0.01)) -> Field:
    """x where x > 0, else slope · x, elementwise; 0 ≤ slope ≤ 1 (Maas et al. 2013)."""
    return k.max(x, k.mul(k.const(slope), x))
