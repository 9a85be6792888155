"""A bit of a whole number."""

from grammars.primitive import Field, integer, primitive

LAST = 5  # the place of the highest bit: numbers are 0 … 63


@primitive(tags=("discrete",), weight=4.0)
def bit(k, x: Field, *, place=integer(0, LAST, default=0)) -> Field:
    """⌊x / 2^place⌋ mod 2, elementwise, for whole x in 0 … 63; any shape to the same shape.

    Other x count as the whole number nearest to them in that range, halves as the lower one. Higher
    bits are taken away first, as in division by hand: a threshold each.
    """
    rest, found = x, k.const(0.0)
    for power in (2.0**p for p in range(LAST, place - 1, -1)):
        found = k.select(k.add(rest, k.const(0.5 - power)), k.const(1.0), k.const(0.0))
        rest = k.add(rest, k.mul(k.const(-power), found))
    return found
