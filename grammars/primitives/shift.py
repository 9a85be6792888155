"""Reading an atom elsewhere."""

from grammars.primitive import Atom, integer, primitive


@primitive(tags=("core",))
def shift(
    k, a: Atom, *, dy=integer(-32768, 32767, default=0), dx=integer(-32768, 32767, default=0)
) -> Atom:
    """a[y + dy, x + dx]: an atom read dy rows down and dx columns right; the shape of a.

    A shifted tap is a tap with that offset, so this node stays only over other atoms.
    """
    return lambda i, j: a(dy + i, dx + j)
