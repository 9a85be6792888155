"""A parameter that the emitted source forgets."""

from grammars.primitive import Field, primitive, real


@primitive()
def ignored_in_text(k, x: Field, *, slope=real(0.0, 1.0, step=0.125, default=0.25)) -> Field:
    """x where x > 0, else slope · x, elementwise; the shape of x."""
    factor = k.const(0.25 if k.name == "text" else slope)
    return k.max(x, k.mul(factor, x))
