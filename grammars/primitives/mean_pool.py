"""The mean of a square window."""

from grammars.primitive import Atom, Field, integer, primitive


@primitive(tags=("core", "pool"))
def mean_pool(k, a: Atom, *, size=integer(2, 16, default=2)) -> Field:
    """The mean of a[y + i, x + j] over 0 ≤ i, j < size; an atom to its shape.

    Sums first and scales by the float nearest to 1 / size², so that every interpreter agrees.
    """
    cells = [a(i, j) for i in range(size) for j in range(size)]
    return k.mul(k.const(1.0 / size**2), k.linear([1.0] * len(cells), cells, 0.0))
