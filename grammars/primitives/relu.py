"""The rectifier."""

from grammars.primitive import Field, primitive


@primitive(tags=("core", "head"), weight=32.0)
def relu(k, x: Field) -> Field:
    """max(x, 0), elementwise; any shape to the same shape (Nair and Hinton 2010)."""
    return k.max(x, k.const(0.0))
