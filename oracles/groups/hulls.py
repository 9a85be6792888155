"""What is known linearly of a ReLU between two ends, and of the difference of two ReLUs.

relu(x) − relu(y) lies between −relu(y − x) and relu(x − y), which is little where the two are near,
whatever x and y are (ReluDiff, Paulsen et al. 2020).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from oracles.groups.sums import Sum

SLOPE_BITS = 12  # behind the point of the slopes of chords: short numbers are faster
BITS = 24  # of the constants of chords


@dataclass(frozen=True, eq=False)
class Relu:
    """post = max(pre, 0), where pre has both signs: low < 0 < high are its ends, or beyond.

    One more of post gives the objective from `least` to `most` more, in floats.
    """

    pre: Sum
    post: Sum
    low: Fraction
    high: Fraction
    least: float
    most: float


@dataclass(frozen=True, eq=False)
class Pair:
    """post = relu(x) − relu(y) and pre = x − y: two ReLUs as the objective reads them, where both
    are read with one sign; low and high are the ends of pre, or beyond.

    `members` are the numbers of the two, or None where one of them is stable.
    """

    pre: Sum
    post: Sum
    low: Fraction
    high: Fraction
    members: tuple[int, int] | None = None


Bends = Sequence[Relu | Pair]
"""ReLUs, and behind them all pairs."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows post·f + pre·g + c <= 0, exactly so for these floats: (f, g, c) in `factors` (rows, 3),
    and `numbers` (rows,) of the bends whose pre and post are meant. All f and g have
    at most SLOPE_BITS bits behind the point."""

    numbers: np.ndarray
    factors: np.ndarray

    def and_phases(self, phases: Mapping[int, bool]) -> "Rows":
        """These, and the phase of some ReLUs."""
        signs = np.array([-1.0 if on else 1.0 for on in phases.values()])
        factors = np.column_stack([np.zeros_like(signs), signs, np.zeros_like(signs)])
        numbers = np.array([*phases], dtype=int)
        return Rows(
            np.concatenate([self.numbers, numbers]), np.concatenate([self.factors, factors])
        )


def ends_of(bends: Bends) -> tuple[np.ndarray, np.ndarray]:
    """The ends (bends,) of pre-activations in floats, rounded outwards."""
    highs, lows = (
        (_float_above(bend.high) for bend in bends),
        (_float_above(-bend.low) for bend in bends),
    )
    return -np.array([*lows]), np.array([*highs])


def hulls(relus: int, low: np.ndarray, high: np.ndarray) -> Rows:
    """What holds of so many ReLUs, and of the pairs behind them, between two ends (bends,): convex
    hulls (Ehlers 2017), or nearly, and the chords above relu(pre) and below −relu(−pre)."""
    every, bent, paired = np.arange(low.size), np.arange(relus), np.arange(relus, low.size)
    slopes, shifts = chords(low, high)
    back, behind = chords(-high[relus:], -low[relus:])
    none, one = np.zeros(relus), np.ones(relus)
    return Rows(
        np.concatenate([every, paired, bent, bent]),
        np.concatenate(
            [
                np.column_stack([np.ones_like(slopes), -slopes, -shifts]),
                np.column_stack([-np.ones_like(back), back, -behind]),
                np.column_stack([-one, none, none]),
                np.column_stack([-one, one, none]),
            ]
        ),
    )


def chords(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and shifts of lines above relu(z) between two ends: the least, but for few bits."""
    with np.errstate(all="ignore"):
        slopes = np.ldexp(np.rint(np.ldexp(high / (high - low), SLOPE_BITS)), -SLOPE_BITS)
    slopes = np.where(high <= 0, 0.0, np.where(low >= 0, 1.0, slopes))
    shifts = _above(np.maximum(-slopes * low, (1.0 - slopes) * high))
    return slopes, np.where((high <= 0) | (low >= 0), 0.0, shifts)


def _float_above(value: Fraction) -> float:
    near = float(value)
    return near if near >= value else float(np.nextafter(near, np.inf))


def _above(values: np.ndarray) -> np.ndarray:
    """Numbers of few bits that are above products which floats have rounded."""
    parts, exponents = np.frexp(np.nextafter(values, np.inf))
    return np.ldexp(np.ceil(np.ldexp(parts, BITS)), exponents - BITS)
