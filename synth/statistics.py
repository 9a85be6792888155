"""Paired accuracy: Tango's score interval and the non-inferiority test that it decides.

Of n probes the original alone is right on b and the replacement alone on c; the change of accuracy
is (c − b)/n. Tango, "Equivalence test and confidence interval for the difference in proportions for
the paired-sample design", Statistics in Medicine 17 (1998) 891–908.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

ROUNDING = 1e-12  # a change as near as this to the margin, as a share of it, equals it


@dataclass(frozen=True)
class Interval:
    """Both limits of a change of accuracy, as shares in −1 … 1."""

    low: float
    high: float


@dataclass(frozen=True)
class NonInferiority:
    """The paired test of one change of accuracy.

    `lost` probes only the original answers right, `gained` only the replacement. `holds` says that
    the interval lies above −margin; `needed` is the number of probes at which it would, were the
    same shares lost and gained, or None where no number is enough.
    """

    n: int
    lost: int
    gained: int
    margin: float
    change: float
    interval: Interval
    holds: bool
    needed: int | None


def tango_interval(n: int, b: float, c: float, *, confidence: float = 0.95) -> Interval:
    """The score interval of (c − b)/n.

    b and c may be fractions of probes. ValueError unless 0 < n, 0 ≤ b, c and b + c ≤ n.
    """
    _check(n, b, c)
    z = _quantile(confidence)
    return Interval(_low(n, b, c, z), 0.0 - _low(n, c, b, z))


def non_inferiority(
    n: int, b: int, c: int, margin: float, *, confidence: float = 0.95
) -> NonInferiority:
    """Whether the change of accuracy lies above −margin, by the two-sided interval's low limit.

    ValueError for impossible counts and for a margin outside [0, 1).
    """
    interval = tango_interval(n, b, c, confidence=confidence)
    return NonInferiority(
        n=n,
        lost=b,
        gained=c,
        margin=margin,
        change=(c - b) / n,
        interval=interval,
        holds=interval.low > -margin,
        needed=needed(n, b, c, margin, confidence=confidence),
    )


def needed(n: int, b: float, c: float, margin: float, *, confidence: float = 0.95) -> int | None:
    """The fewest probes at which the shares b/n and c/n would lie above −margin; None if never.

    With the shares fixed, the constrained estimate does not depend on n, so that the score at
    −margin grows as √n: the number needed is n (z / score)², and no search is necessary.
    """
    _check(n, b, c)
    if not 0 <= margin < 1:
        raise ValueError(f"margin={margin}: expected a share of at least 0 and below 1")
    if c - b <= -margin * n * (1 - ROUNDING):
        return None
    score = _score(n, b, c, -margin)
    return math.floor(n * (_quantile(confidence) / score) ** 2) + 1


def _low(n: int, b: float, c: float, z: float) -> float:
    """The lower limit: the change at which the score, which falls with it, is z.

    Bisection holds where the score jumps: at an estimate on the border it is 0/0.
    """
    low, high = -1.0, (c - b) / n
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _score(n, b, c, middle) > z else (low, middle)
    return low


def _score(n: int, b: float, c: float, change: float) -> float:
    """Tango's statistic: the observed change against `change`, in standard errors under it.

    Infinite where `change` makes the data impossible.
    """
    distance = c - b - n * change
    variance = n * (2 * _lost(n, b, c, change) + change * (1 - change))
    if distance == 0 or variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _lost(n: int, b: float, c: float, change: float) -> float:
    """The most likely probability of a loss given the change: the larger root of a quadratic."""
    if change < 0:  # a loss is then what a gain is for the opposite change, plus the change
        return _lost(n, c, b, -change) - change
    half = (b + c - (2 * n + b - c) * change) / 2
    root = math.sqrt(half**2 + 2 * n * b * change * (1 - change))
    if half >= 0:
        return (half + root) / (2 * n)
    return b * change * (1 - change) / (root - half)  # the same, without cancellation


def _quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: expected a share between 0 and 1")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _check(n: float, b: float, c: float) -> None:
    if not (n > 0 and b >= 0 and c >= 0 and b + c <= n):
        raise ValueError(f"n={n}, b={b}, c={c}: expected counts with 0 ≤ b, c and b + c ≤ n > 0")
