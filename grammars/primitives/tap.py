"""A source channel, readable at an offset."""

from grammars.primitive import Atom, primitive


@primitive(tags=("core",), weight=16.0)
def tap(k, *, bank, channel, dy, dx) -> Atom:
    """The value of one channel of a bank, (dy, dx) input positions away; outside the bank it is 0.

    No arguments; reads a scalar at each position.
    """
    return lambda i, j: k.read(bank, channel, dy + i, dx + j)
