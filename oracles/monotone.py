"""Monotone heads, backwards: which pre-activations of a program keep it near its unit.

For a head h that never falls, |h(u) − h(p)| <= ε is an interval of p for a given u. So at a point a
claim is linear in the coefficients of a program, whatever the head.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

from oracles.claims import HeadForm, apply_head, head_error

Ends = tuple[Fraction | None, Fraction | None]
"""The least and the largest number of an interval; None where it has no end."""

_TURNING = ("gelu", "silu", "hardswish")  # they fall before they rise
_INVERSE: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {"sigmoid": lambda y: math.log(y / (1 - y)), "tanh": math.atanh}
)


def is_monotone(head: HeadForm) -> bool:
    """Whether a head never falls."""
    return head.slopes[0] >= 0 and head.op not in _TURNING


def preimage(head: HeadForm, value: Fraction, epsilon: Fraction) -> Ends:
    """All p with |head(p) − head(value)| <= epsilon; of a smooth head an interval that holds them.

    Exact for heads of straight pieces. `head` is monotone.
    """
    here, error = apply_head(head, value), head_error(head, value)
    reach = epsilon + error
    return _end(head, here - reach, -1), _end(head, here + reach, 1)


def turning_points(head: HeadForm) -> tuple[Fraction, ...]:
    """Where a head changes most: pre-activations at which two values are told apart best."""
    ends = [Fraction(number) for name, number in head.params if name in ("low", "high")]
    return (Fraction(0), *ends, *([sum(ends) / Fraction(2)] if ends else ()))


def _end(head: HeadForm, y: Fraction, side: int) -> Fraction | None:
    """The largest p with head(p) <= y for `side` 1, the least with head(p) >= y for −1.

    None where there is none, because every p is one.
    """
    low, high = _values(head)
    limit = high if side > 0 else low
    if limit is not None and side * (y - limit) >= 0:
        return None
    if head.op in _INVERSE:
        return _beyond(head, y, side)
    if head.op == "hardsigmoid":
        return 6 * y - 3
    slope = Fraction(dict(head.params).get("slope", 1.0))
    return y / slope if y < 0 and head.op != "clip" else y


def _values(head: HeadForm) -> Ends:
    """Between which numbers the values of a head lie."""
    params = dict(head.params)
    if head.op == "clip":
        return Fraction(params["low"]), Fraction(params["high"])
    if head.op in ("sigmoid", "hardsigmoid"):
        return Fraction(0), Fraction(1)
    if head.op == "tanh":
        return Fraction(-1), Fraction(1)
    flat = params.get("slope", head.slopes[0]) == 0
    return (Fraction(0) if flat else None), None


def _beyond(head: HeadForm, y: Fraction, side: int) -> Fraction | None:
    """A number near the end, beyond which a smooth head has surely passed y; None where it is too
    flat there to tell."""
    try:
        near = _INVERSE[head.op](float(y))
    except (ValueError, ZeroDivisionError):  # y is a limit of the head, in floats
        return None
    for power in range(-30, 6):
        p = Fraction(near + side * 2.0**power)
        if side * (apply_head(head, p) - y) > head_error(head, p):
            return p
    return None
