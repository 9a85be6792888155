"""A kernel over a source."""

from grammars.primitive import Atom, Weights, primitive


@primitive(tags=("kernel",), weight=4.0)
def conv(k, w: Weights, a: Atom) -> Atom:
    """Σ w[dy, dx] · a[y + dy, x + dx] over the positions of the kernel; the shape of a.

    Positions outside the window of a layer are left out: there the atom is None.
    """

    def at(i, j):
        pairs = [(weight, a(dy + i, dx + j)) for (dy, dx), weight in w.items()]
        known = [(weight, value) for weight, value in pairs if value is not None]
        return k.linear([weight for weight, _ in known], [value for _, value in known], 0.0)

    return at
