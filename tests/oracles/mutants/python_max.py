"""Python's own max on values that are tensors, fractions, text or terms."""

from grammars.primitive import Field, primitive


@primitive()
def python_max(k, x: Field) -> Field:
    """max(x, 0), elementwise; the shape of x."""
    return max(x, k.const(0.0))
