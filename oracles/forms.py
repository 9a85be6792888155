"""Affine arithmetic over many cells at once: affine forms of a few symbols, with an error.

A value is centre + coefficients · y ± error for every point y of its cell, and it lies in an
interval as well (Stolfi and de Figueiredo 1997); what two values share cancels in their difference.
Arrays hold C cells of d symbols. Each operation adds more to the error than its own roundings.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from grammars.evaluation import Algebra, Reader
from grammars.primitive import Transcendental
from oracles.interval import Interval, IntervalAlgebra

ROUNDING = 2.0**-44  # of all sizes in an operation: hundreds of roundings
TINY = 2.0**-900  # and of underflows


@dataclass(frozen=True, eq=False)
class Form:
    """centre (C,) + coefficients (C, d) · y ± error (C,), within low (C,) and high (C,)."""

    centre: np.ndarray
    coefficients: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def interval(self) -> Interval:
        return self.low, self.high


class FormAlgebra(Algebra):
    """Values are forms over cells with `middles` (C, d) and half `widths` (C, d) of the symbols."""

    name = "forms"

    def __init__(self, read: Reader, *, middles: np.ndarray, widths: np.ndarray) -> None:
        super().__init__(read)
        self._middles, self._widths = middles, widths
        self._sizes = np.abs(middles) + widths
        self._intervals = IntervalAlgebra(read)

    def form(
        self,
        centre: Any,
        coefficients: np.ndarray,
        error: Any,
        interval: Interval = (-np.inf, np.inf),
    ) -> Form:
        """A form, rounded outwards; its interval is cut to what the form itself reaches."""
        sizes = np.abs(centre) + (np.abs(coefficients) * self._sizes).sum(1) + np.abs(error)
        rounding = ROUNDING * sizes + TINY
        error = error + rounding
        middle = centre + (coefficients * self._middles).sum(1)
        reach = (np.abs(coefficients) * self._widths).sum(1) + error + rounding
        low, high = np.maximum(interval[0], middle - reach), np.minimum(interval[1], middle + reach)
        return Form(centre + 0 * sizes, coefficients, error, low, high)

    def const(self, value: float) -> Form:
        flat = np.zeros(len(self._middles))
        ends = flat + value
        return Form(ends, np.zeros_like(self._middles), flat, ends, ends)

    def add(self, a: Form, b: Form) -> Form:
        interval = self._intervals.add(a.interval, b.interval)
        parts = a.centre + b.centre, a.coefficients + b.coefficients, a.error + b.error
        return self.form(*parts, interval)

    def mul(self, a: Form, b: Form) -> Form:
        """About both middles: what is left is at most the product of the radii."""
        interval = self._intervals.mul(a.interval, b.interval)
        (p, r), (q, s) = _ball(a), _ball(b)
        coefficients = q[:, None] * a.coefficients + p[:, None] * b.coefficients
        centre, error = (
            q * a.centre + p * b.centre - p * q,
            np.abs(q) * a.error + np.abs(p) * b.error,
        )
        if a is b:  # the square of what is left is not below zero
            return self._either(centre + r * r / 2, coefficients, error + r * r / 2, interval)
        return self._either(centre, coefficients, error + r * s, interval)

    def max(self, a: Form, b: Form) -> Form:
        """b + max(a − b, 0), which lies between a line and what the line leaves at zero."""
        interval = self._intervals.max(a.interval, b.interval)
        apart = self.add(a, self.mul(self.const(-1.0), b))
        low, high = np.minimum(apart.low, 0.0), np.maximum(apart.high, 0.0)
        share = np.divide(high, high - low, out=np.ones_like(high), where=high > low)
        share = np.where(apart.low >= 0, 1.0, np.where(apart.high <= 0, 0.0, share))
        off = np.where((share > 0) & (share < 1), -share * low / 2, 0.0)
        coefficients = share[:, None] * a.coefficients + (1 - share)[:, None] * b.coefficients
        centre = share * a.centre + (1 - share) * b.centre + off
        error = share * a.error + (1 - share) * b.error + off
        return self._either(centre, coefficients, error, interval)

    def min(self, a: Form, b: Form) -> Form:
        minus = self.const(-1.0)
        return self.mul(minus, self.max(self.mul(minus, a), self.mul(minus, b)))

    def select(self, condition: Form, positive: Form, otherwise: Form) -> Form:
        branches = [branch.interval for branch in (condition, positive, otherwise)]
        if positive is condition:
            branches[1] = branches[0]
        if otherwise is condition:
            branches[2] = branches[0]
        interval = self._intervals.select(*branches)
        always, never = condition.low > 0, condition.high <= 0
        wide = self._flat(interval)

        def chosen(name: str) -> np.ndarray:
            first, last, both = (getattr(v, name).T for v in (positive, otherwise, wide))
            return np.where(always, first, np.where(never, last, both)).T

        return self.form(chosen("centre"), chosen("coefficients"), chosen("error"), interval)

    def call(self, function: Transcendental, x: Form) -> Form:
        """The chord between the ends, which a function leaves by curvature · width² / 8 at most."""
        interval = self._intervals.call(function, x.interval)
        curvature = _CURVATURES.get(function.name)
        if curvature is None:
            return self._flat(interval)
        ends = [np.vectorize(function.function, otypes=[float])(end) for end in x.interval]
        width = x.high - x.low
        slope = np.divide(ends[1] - ends[0], width, out=np.zeros_like(width), where=width > 0)
        bend = np.abs(curvature(x.low, x.high)) * width**2 / 8
        off = function.ulps * 2.0**-52 * (np.abs(ends[0]) + np.abs(ends[1])) + TINY
        centre = ends[0] + slope * (x.centre - x.low)
        error = np.abs(slope) * x.error + bend * (1 + ROUNDING) + 2 * off
        error = error + ROUNDING * np.abs(slope) * (np.abs(x.low) + np.abs(x.high))
        return self._either(centre, slope[:, None] * x.coefficients, error, interval)

    def _flat(self, interval: Interval) -> Form:
        low, high = (np.clip(end, -1e300, 1e300) for end in interval)
        whole = np.isfinite(interval[0]) & np.isfinite(interval[1])
        radius = np.where(whole, high / 2 - low / 2, np.inf)
        return self.form(high / 2 + low / 2, np.zeros_like(self._middles), radius, interval)

    def _either(
        self, centre: np.ndarray, coefficients: np.ndarray, error: np.ndarray, interval: Interval
    ) -> Form:
        """A form, or the middle of its interval where that is no wider than the form's error."""
        low, high = interval
        with np.errstate(invalid="ignore"):
            flat = ~(error <= (high - low) / 2) & np.isfinite(high - low)
        middle = np.where(flat, low / 2 + high / 2, 0.0)
        return self.form(
            np.where(flat, middle, centre),
            np.where(flat[:, None], 0.0, coefficients),
            np.where(flat, np.where(flat, high - low, 0.0) / 2, error),
            interval,
        )


def _ball(a: Form) -> tuple[np.ndarray, np.ndarray]:
    """Middle and radius (C,) of a value's interval."""
    middle = a.low / 2 + a.high / 2
    return middle, np.maximum(a.high - middle, middle - a.low)


def _exp(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(high, 709.0))


_CURVATURES: Mapping[str, Callable[[np.ndarray, np.ndarray], Any]] = MappingProxyType(
    {
        "sigmoid": lambda low, high: 99 / 1024,
        "tanh": lambda low, high: 789 / 1024,
        "silu": lambda low, high: 0.5,
        "gelu": lambda low, high: 818 / 1024,
        "sin": lambda low, high: 1.0,
        "cos": lambda low, high: 1.0,
        "exp": _exp,
        "sqrt": lambda low, high: np.maximum(low, math.ulp(0.0)) ** -1.5 / 4,
        "reciprocal": lambda low, high: 2 / np.maximum(low, math.ulp(0.0)) ** 3,
    }
)
