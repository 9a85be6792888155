"""The largest value of a square window."""

from functools import reduce

from grammars.primitive import Atom, Field, integer, primitive


@primitive(tags=("core", "pool"))
def max_pool(k, a: Atom, *, size=integer(2, 16, default=2)) -> Field:
    """max of a[y + i, x + j] over 0 ≤ i, j < size: window down and right; the shape of a."""
    rows = [reduce(k.max, (a(i, j) for j in range(size))) for i in range(size)]
    return reduce(k.max, rows)  # by rows: Python's parser stops at 200 nested calls
