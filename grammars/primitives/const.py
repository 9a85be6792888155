"""A number."""

from grammars.primitive import Field, primitive


@primitive(tags=("core",), weight=4.0)
def const(k, *, value) -> Field:
    """The same dyadic number at every position; a scalar that broadcasts."""
    return k.const(value)
