"""The sigmoid linear unit in pieces without an exponential."""

from grammars.primitive import Field, primitive


@primitive(tags=("core", "head"), weight=2.0, gaps=("z3",))
def hardswish(k, x: Field) -> Field:
    """x · min(max(x + 3, 0), 6) / 6, elementwise; same shape (Howard et al. 2019)."""
    inside = k.min(k.max(k.add(x, k.const(3.0)), k.const(0.0)), k.const(6.0))
    value = k.mul(k.mul(x, inside), k.const(1 / 6))
    return k.max(value, k.const(-0.375))  # its least value: an interval does not know that
