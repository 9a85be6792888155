"""A Python branch on a value, where `k.select` is meant."""

from grammars.primitive import Field, primitive


@primitive()
def python_if(k, x: Field) -> Field:
    """1 where x > 0, else 0, elementwise; the shape of x."""
    return k.const(1.0) if x > 0 else k.const(0.0)
