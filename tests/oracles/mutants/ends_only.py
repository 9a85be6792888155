"""An interval by the two ends of the argument, although the function is not monotone."""

from grammars.primitive import Field, primitive


@primitive()
def ends_only(k, x: Field) -> Field:
    """|x|, elementwise; the shape of x."""
    if k.name == "interval":
        ends = abs(x[0]), abs(x[1])
        return k.min(ends, ends[::-1])[0], k.max(ends, ends[::-1])[1]
    return k.max(x, k.mul(k.const(-1.0), x))
