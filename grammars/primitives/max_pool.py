"""The largest value of a square window."""

from functools import reduce

from grammars.primitive import Atom, Field, integer, primitive


@primitive(tags=("core", "pool"))
def max_pool(k, a: Atom, *, size=integer(2, 16, default=2)) -> Field:
    """max of a[y + i, x + j] over 0 ≤ i, j < size; an atom to its shape, window down and right."""
    return reduce(k.max, (a(i, j) for i in range(size) for j in range(size)))
