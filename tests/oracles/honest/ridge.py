"""An atom of atoms: a kernel that can be read at an offset."""

from grammars.primitive import Atom, integer, primitive


@primitive(tags=("user", "kernel"))
def ridge(k, a: Atom, *, size=integer(1, 5, default=1)) -> Atom:
    """2·a[y, x] − a[y − size, x] − a[y + size, x] at every position; an atom to its shape."""
    return lambda i, j: k.linear([2.0, -1.0, -1.0], [a(i, j), a(i - size, j), a(i + size, j)], 0.0)
