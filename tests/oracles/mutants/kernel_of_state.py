"""A body that remembers its last call."""

from grammars.primitive import Field, primitive

seen = []


@primitive()
def kernel_of_state(k, x: Field) -> Field:
    """x plus the parity of the calls so far, elementwise; the shape of x."""
    seen.append(None)
    return k.add(x, k.const(float(len(seen) % 2)))
