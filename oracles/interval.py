"""Programs in interval arithmetic over float64, rounded outwards.

A value is a pair (low, high) of floats or arrays of one shape, which encloses the real number that
the program has for every choice of its taps. Correlations are lost: x − x is an interval about 0.
Rounding follows Rump (Acta Numerica 2010): an addition widens only where it was inexact, a long sum
by its a priori bound γₙ = n·u / (1 − n·u) with u = 2⁻⁵³ (Higham 2002, lemma 3.1).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from grammars.evaluation import Algebra
from grammars.primitive import Transcendental

Interval = tuple[Any, Any]

UNIT = 2.0**-53  # the largest relative error of one rounding
SMALLEST = 2.0**-1074  # a bound for the absolute error of one underflow
FAR = 1e6  # beyond it the phase of a wave is not looked at,
HAIR = 1e-9  # of a period: far more than its rounding up to there
HUGE = 1e300  # beyond it the error of an addition may overflow


class IntervalAlgebra(Algebra):
    """Values are (low, high); the reader gives float64 boxes, infinite ends included."""

    name = "interval"

    def const(self, value: float) -> Interval:
        return np.float64(value), np.float64(value)

    def add(self, a: Interval, b: Interval) -> Interval:
        return _add_down(a[0], b[0]), -_add_down(-a[1], -b[1])

    def mul(self, a: Interval, b: Interval) -> Interval:
        products = [_times(x, y) for x in a for y in b]
        low, high = np.minimum.reduce(products), np.maximum.reduce(products)
        exact = _is_sign(a) | _is_sign(b)
        return np.where(exact, low, down(low))[()], np.where(exact, high, up(high))[()]

    def max(self, a: Interval, b: Interval) -> Interval:
        return np.maximum(a[0], b[0]), np.maximum(a[1], b[1])

    def min(self, a: Interval, b: Interval) -> Interval:
        return np.minimum(a[0], b[0]), np.minimum(a[1], b[1])

    def select(self, condition: Interval, positive: Interval, otherwise: Interval) -> Interval:
        """The hull of the branches that can be taken; one that is the condition has its sign."""
        always, never = condition[0] > 0, condition[1] <= 0
        if positive is condition:
            positive = np.maximum(positive[0], 0.0), np.maximum(positive[1], 0.0)
        if otherwise is condition:
            otherwise = np.minimum(otherwise[0], 0.0), np.minimum(otherwise[1], 0.0)
        low, high = np.minimum(positive[0], otherwise[0]), np.maximum(positive[1], otherwise[1])
        return (
            np.where(always, positive[0], np.where(never, otherwise[0], low))[()],
            np.where(always, positive[1], np.where(never, otherwise[1], high))[()],
        )

    def linear(self, weights: Sequence[float], values: Sequence[Interval], bias: float) -> Interval:
        """Σ weight · value + bias in one pass, widened by the error bound of any order of sums.

        The n products and n additions are off by at most γ₍ₙ₊₁₎ · (Σ|weight·value| + |bias|) and
        n underflows; the factor 1.001 covers γ's denominator and the roundings of the bound itself
        for n < 2³⁰.
        """
        if not len(values):
            return self.const(bias)
        low = high = np.float64(bias)
        size = np.abs(low)
        for weight, value in zip(weights, values, strict=True):
            first, last = value if weight > 0 else value[::-1]
            first, last = _times(weight, first), _times(weight, last)
            with np.errstate(over="ignore", invalid="ignore"):
                low, high = low + first, high + last
                size = size + np.maximum(np.abs(first), np.abs(last))
        return _widened(low, high, 1.001 * (len(values) + 2) * UNIT * size, len(values))

    def call(self, function: Transcendental, x: Interval) -> Interval:
        """The function at both ends, widened by its error and cut to its range.

        Where it turns, its largest value is at an end still; its least is there too, unless the
        turn lies between them.
        """
        if function.peak is not None:
            return _wave(function, function.peak, x)
        low, high = (_apply(function, end) for end in x)
        if function.turn is not None:
            low, high = np.minimum(low, high), np.maximum(low, high)
            turns = (x[0] < function.turn[1]) & (x[1] > function.turn[0])
            low = np.where(turns, function.low, low)[()]
        low, high = -_beyond(-low, function.ulps), _beyond(high, function.ulps)
        return np.clip(low, function.low, function.high), np.clip(high, function.low, function.high)


def down(value: Any) -> Any:
    """The next float below, elementwise; −∞ below the last, which is sound and no cause to warn."""
    with np.errstate(over="ignore"):
        return np.nextafter(value, -np.inf)


def up(value: Any) -> Any:
    """The next float above, elementwise; ∞ above the last."""
    with np.errstate(over="ignore"):
        return np.nextafter(value, np.inf)


def _beyond(value: Any, ulps: int) -> Any:
    """A value that lies `ulps` units in the last place higher, or more."""
    with np.errstate(over="ignore", invalid="ignore"):
        step = ulps * np.spacing(np.abs(value))
    return np.where(np.isfinite(step), -_add_down(-value, -step), value)[()]


def _add_down(a: Any, b: Any) -> Any:
    """The largest float that is at most a + b: Knuth's exact error term says where to step down."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add(a, b, dtype=np.float64)
        virtual = total - a
        error = (a - (total - virtual)) + (b - virtual)
        total = np.where(np.isnan(total), -np.inf, total)  # ∞ − ∞
        exact = (error >= 0) & (np.abs(total) <= HUGE)
        return np.where(exact, total, down(total))[()]


def _times(a: Any, b: Any) -> Any:
    """a · b to nearest, where zero times an infinite end (a bound, never a value) is zero."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return np.where((np.equal(a, 0)) | (np.equal(b, 0)), 0.0, np.multiply(a, b))[()]


def _is_sign(value: Interval) -> Any:
    """Where the interval is the point −1, 0 or 1, by which products are exact."""
    return (value[0] == value[1]) & np.isin(value[0], (-1.0, 0.0, 1.0))


def _widened(low: Any, high: Any, error: Any, products: int) -> Interval:
    error = error + 2 * products * SMALLEST
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = down(low - error), up(high + error)
    finite = np.isfinite(error)
    return np.where(finite, low, -np.inf)[()], np.where(finite, high, np.inf)[()]


def _wave(function: Transcendental, peak: float, x: Interval) -> Interval:
    """A function of period 2π: its values at the ends, and its extremes where they lie between."""
    low, high = x
    near = np.isfinite(low) & np.isfinite(high)
    near &= np.maximum(np.abs(low), np.abs(high)) < FAR
    first, last = np.where(near, low, 0.0), np.where(near, high, 0.0)
    ends = _apply(function, first), _apply(function, last)
    least = -_beyond(-np.minimum(*ends), function.ulps)
    most = _beyond(np.maximum(*ends), function.ulps)
    top, bottom = (_passes(first, last, at) | ~near for at in (peak, peak + math.pi))
    least = np.where(bottom, function.low, np.maximum(least, function.low))
    return least[()], np.where(top, function.high, np.minimum(most, function.high))[()]


def _passes(low: Any, high: Any, at: float) -> Any:
    """Whether `at`, or a point any number of periods from it, may lie between two ends."""
    turns = [(end - at) / (2 * math.pi) for end in (low, high)]
    return np.floor(turns[1] + HAIR) >= np.ceil(turns[0] - HAIR)


def _apply(function: Transcendental, x: Any) -> Any:
    return np.vectorize(function.function, otypes=[np.float64])(x)[()]
