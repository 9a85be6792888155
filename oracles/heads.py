"""How heads bend: what a bound on the difference of two of them needs to know.

A head is smooth but for its kinks; it falls up to where it turns, if it does, and rises from there.
Values at exact numbers are enclosed: those of straight pieces exactly, those of smooth heads by
ball arithmetic (Arb; Johansson 2017).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import numpy as np
from flint import arb, ctx, fmpq
from scipy.special import expit, ndtr

from oracles.claims import JUMPS, SMOOTH, HeadForm, apply_head, power_of_two

PRECISION = 192  # bits of a ball
STRAIGHT = 4096  # beyond it a smooth head is a line or flat, by far less than a ball
Ends = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Bend:
    """Where and how much a head bends.

    Between `kinks` its second derivative is at most `curvature` in size and changes at most at the
    rate `third`, which is None where kinks part it. It falls up to `turn[0]` and rises from
    `turn[1]`, with values never below `least`; where `turn` is None it never falls.
    """

    kinks: tuple[Fraction, ...] = ()
    curvature: Fraction = Fraction(0)
    third: Fraction | None = None
    turn: Ends | None = None
    least: Fraction = Fraction(0)


def _smooth(curvature: str, third: str, *turn: str) -> Bend:
    """Decimals: derivatives rounded up; numbers around a turn, and the least value rounded down."""
    derivatives = Fraction(curvature), Fraction(third)
    if not turn:
        return Bend((), *derivatives)
    falls, rises, least = map(Fraction, turn)
    return Bend((), *derivatives, (falls, rises), least)


_ZERO, _SIX = Fraction(0), (Fraction(-3), Fraction(3))
_LOWEST = Fraction(-3, 2), Fraction(-3, 2)
_BENDS: Mapping[str, Bend] = MappingProxyType(
    {
        "identity": Bend(third=_ZERO),
        "relu": Bend((_ZERO,)),
        "abs": Bend((_ZERO,), turn=(_ZERO, _ZERO)),
        "step": Bend((_ZERO,)),
        "sign": Bend((_ZERO,)),
        "hardsigmoid": Bend(_SIX),
        "hardswish": Bend(_SIX, Fraction(1, 3), None, _LOWEST, Fraction(-3, 8)),
        "sigmoid": _smooth("0.0963", "0.125"),  # at most 1/(6√3) at ±1.317, and 1/8 at 0
        "tanh": _smooth("0.7699", "2"),  # 4/(3√3) at ±0.659, and 2 at 0
        # 1/2 at 0, and 0.30818 at ±1.04
        "silu": _smooth("0.5", "0.3083", "-1.2784645428", "-1.2784645427", "-0.2784645428"),
        # 2φ(0), and 0.77877 at ±0.79
        "gelu": _smooth("0.798", "0.779", "-0.7517915247", "-0.7517915246", "-0.1699712075"),
    }
)


def bend_of(head: HeadForm) -> Bend:
    """How a head bends."""
    params = {name: Fraction(number) for name, number in head.params}
    if head.op == "clip":
        return Bend((params["low"], params["high"]))
    if "slope" in params:
        return Bend((_ZERO,), turn=(_ZERO, _ZERO) if params["slope"] < 0 else None)
    return _BENDS[head.op]


def enclosed(head: HeadForm, value: Fraction, inside: Fraction) -> Ends:
    """Numbers that the head's value lies between, and, where it jumps, its limit from `inside`.

    The same number twice but for smooth heads and at a jump.
    """
    if head.op in JUMPS:
        both = apply_head(head, value), apply_head(head, inside)
        return min(both), max(both)
    if head.op not in SMOOTH:
        exact = apply_head(head, value)
        return exact, exact
    if abs(value) > STRAIGHT:  # exp(-4096) < 2^-5900
        near = max(value, _ZERO) if head.op in ("silu", "gelu") else apply_head(head, value)
        return near - power_of_two(-999), near + power_of_two(-999)
    with ctx.workprec(PRECISION):
        ball = _BALLS[head.op](arb(fmpq(value.numerator, value.denominator)))
        return _fraction(ball.lower()), _fraction(ball.upper())


def _fraction(exact: arb) -> Fraction:
    mantissa, exponent = exact.man_exp()
    return int(mantissa) * power_of_two(int(exponent))


_BALLS: Mapping[str, Callable[[arb], arb]] = MappingProxyType(
    {
        "sigmoid": lambda x: 1 / (1 + (-x).exp()),
        "tanh": lambda x: x.tanh(),
        "silu": lambda x: x / (1 + (-x).exp()),
        "gelu": lambda x: x * (-x / arb(2).sqrt()).erfc() / 2,
    }
)


def float_head(head: HeadForm, values: np.ndarray) -> np.ndarray:
    """The head of float64 values of any shape: to look where a bound is to be proved."""
    if head.op in _FLOATS:
        return _FLOATS[head.op](values)
    params = dict(head.params)
    if head.op == "clip":
        return np.clip(values, params["low"], params["high"])
    if "slope" in params:
        return np.where(values > 0, values, params["slope"] * values)
    return np.maximum(head.slopes[0] * values, head.slopes[1] * values)


_FLOATS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "step": lambda x: (x > 0).astype(np.float64),
        "sign": np.sign,
        "sigmoid": expit,
        "tanh": np.tanh,
        "silu": lambda x: x * expit(x),
        "gelu": lambda x: x * ndtr(x),
        "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
        "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    }
)
