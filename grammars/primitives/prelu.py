"""The rectifier whose negative slope was learned."""

from grammars.primitive import Field, primitive, real


@primitive(tags=("core", "head"), weight=2.0)
def prelu(k, x: Field, *, slope=real(-4.0, 4.0, step=0.015625, default=0.25)) -> Field:
    """x where x > 0, else slope · x, elementwise, for a slope of either sign (He et al. 2015)."""
    return k.select(x, x, k.mul(k.const(slope), x))
