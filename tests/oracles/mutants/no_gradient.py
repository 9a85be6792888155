"""A body that cuts the gradient off, so that nothing can be refitted through it."""

from grammars.primitive import Field, primitive


@primitive()
def no_gradient(k, x: Field) -> Field:
    """max(x, 0), elementwise; the shape of x."""
    return k.max(x.detach() if hasattr(x, "detach") else x, k.const(0.0))
