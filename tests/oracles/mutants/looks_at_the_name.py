"""Another meaning in the exact interpreter, chosen by the algebra's name."""

from grammars.primitive import Field, primitive


@primitive()
def looks_at_the_name(k, x: Field) -> Field:
    """max(x, 0) + 1, elementwise; the shape of x."""
    bias = 1.5 if k.name == "rational" else 1.0
    return k.add(k.max(x, k.const(0.0)), k.const(bias))
