"""The paired test: Tango's interval against published values, another algorithm and exact laws."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial

from synth.statistics import Interval, needed, non_inferiority, tango_interval

Z = 1.959963984540054

# Fagerland, Lydersen and Laake, "Recommended tests and confidence intervals for paired binomial
# proportions", Statistics in Medicine 33 (2014): 21 children, 1 and 7 discordant pairs.
CHILDREN = (21, 7, 1, (-0.517, -0.026))


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    n = draw(st.integers(1, 500))
    b = draw(st.integers(0, n))
    return n, b, draw(st.integers(0, n - b))


def quartic(n: int, b: int, c: int) -> np.ndarray:
    """The real roots of the polynomial whose extreme roots are the limits.

    Yang, Sun and Hardin, "A non-iterative implementation of Tango's score confidence interval",
    Statistics in Medicine 32 (2013).
    """
    g, d, s = Z**2, c - b, b + c
    m = (n / g + 1, 4 * n / g + 1)
    coefficients = (
        n**2 * m[0] ** 2,
        -n * d * m[0] * m[1],
        2 * n * d**2 * (3 * n / g + 2) / g - n**2 * (s / g + 1),
        n * d * (2 * s / g + 1) - d**3 * m[1] / g,
        d**2 * (d**2 / g - s) / g,
    )
    roots = np.roots(coefficients)
    return np.sort(roots[np.abs(roots.imag) < 1e-6].real)


def score(n: int, b: int, c: int, change: float) -> float:
    """The statistic with the nuisance parameter found by maximising the likelihood."""

    def loss(lost: float) -> float:
        p = np.array([lost, lost + change, 1 - 2 * lost - change])
        with np.errstate(divide="ignore"):
            logs = np.log(np.maximum(p, 0))
        return -sum(k * v for k, v in zip((b, c, n - b - c), logs, strict=True) if k)

    bounds = max(0.0, -change), (1 - change) / 2
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12})
    lost = float(best["x"])  # type: ignore[index]
    return (c - b - n * change) / math.sqrt(n * (2 * lost + change * (1 - change)))


def matches_published(interval) -> bool:
    n, b, c, limits = CHILDREN
    found = interval(n, b, c)
    return bool(np.allclose((found.low, found.high), limits, atol=5e-4))


def test_a_published_interval_is_met():
    """The table of 21 children has the interval that the literature reports."""
    assert matches_published(tango_interval)


def swapped(n: int, b: int, c: int) -> Interval:
    return tango_interval(n, c, b)


def wald(n: int, b: int, c: int) -> Interval:
    change = (c - b) / n
    half = Z * math.sqrt((b + c) / n - change**2) / math.sqrt(n)
    return Interval(change - half, change + half)


def one_sided(n: int, b: int, c: int) -> Interval:
    return tango_interval(n, b, c, confidence=0.9)


@pytest.mark.parametrize("mutant", [swapped, wald, one_sided], ids=lambda m: m.__name__)
def test_wrong_intervals_miss_the_published_one(mutant):
    """Losses and gains exchanged, Wald's interval and the wrong quantile are all told apart."""
    assert not matches_published(mutant)


@given(counts())
def test_limits_are_the_extreme_roots_of_the_published_polynomial(table):
    """Bisection and the closed-form polynomial agree, but for its double roots at ±1."""
    assume(table[0] not in table[1:])
    found, roots = tango_interval(*table), quartic(*table)
    assert found.low == pytest.approx(roots[0], abs=2e-6)
    assert found.high == pytest.approx(roots[-1], abs=2e-6)


@pytest.mark.parametrize("table", [(50, 12, 2), (30, 1, 3), (200, 5, 0), (40, 0, 9), (25, 13, 12)])
def test_limits_invert_the_score_test(table):
    """At the limits the statistic, with a numerical likelihood estimate, is ± its quantile."""
    n, b, c = table
    found = tango_interval(n, b, c)
    assert score(n, b, c, found.low) == pytest.approx(Z, abs=1e-4)
    assert score(n, b, c, found.high) == pytest.approx(-Z, abs=1e-4)


@pytest.mark.parametrize("n", [1, 30, 1000])
def test_no_discordance_leaves_uncertainty(n):
    """Where nothing changed the limits are ± z²/(n + z²), not zero."""
    found = tango_interval(n, 0, 0)
    assert found.high == -found.low == pytest.approx(Z**2 / (n + Z**2))


@pytest.mark.parametrize("n", [1, 30])
def test_everything_lost_is_the_border(n):
    """If every probe is lost the lower limit is −1 and the upper one is above it."""
    found = tango_interval(n, n, 0)
    assert found.low == -1.0
    assert found.high == pytest.approx((Z**2 - n) / (Z**2 + n))


@given(counts())
def test_exchanging_the_networks_mirrors_the_interval(table):
    """Original and replacement exchanged give the negative interval, which holds the change."""
    n, b, c = table
    found, mirrored = tango_interval(n, b, c), tango_interval(n, c, b)
    assert (mirrored.low, mirrored.high) == (-found.high, -found.low)
    assert -1 <= found.low <= (c - b) / n <= found.high <= 1


@given(counts())
def test_a_loss_lowers_and_confidence_widens(table):
    """One more probe lost lowers both limits; more confidence and fewer probes widen."""
    n, b, c = table
    found, wider = tango_interval(n, b, c), tango_interval(n, b, c, confidence=0.99)
    assert wider.low <= found.low and found.high <= wider.high
    if b + c < n:
        worse = tango_interval(n, b + 1, c)
        assert worse.low <= found.low + 1e-12 and worse.high <= found.high + 1e-12
    larger = tango_interval(2 * n, 2 * b, 2 * c)
    assert found.low <= larger.low + 1e-12 and larger.high <= found.high + 1e-12


def test_coverage_is_near_nominal():
    """Over all tables of 40 probes the interval holds the truth in 95 % of cases, near enough."""
    n = 40
    tables = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    limits = [tango_interval(n, *table) for table in tables]
    low, high = (np.array([getattr(i, side) for i in limits]) for side in ("low", "high"))
    cells = np.array([(b, c, n - b - c) for b, c in tables])
    coverage = []
    for lost, gained in product((0.02, 0.05, 0.1, 0.2, 0.3), repeat=2):
        weights = multinomial.pmf(cells, n, [lost, gained, 1 - lost - gained])
        inside = (low <= gained - lost) & (gained - lost <= high)
        coverage.append(float(weights[inside].sum()))
    assert 0.945 <= np.mean(coverage) <= 0.97
    assert min(coverage) >= 0.925


@given(counts(), st.sampled_from([0.0, 0.004, 0.01, 0.05, 0.3]))
def test_needed_is_where_the_test_begins_to_hold(table, margin):
    """At the shares observed the lower limit is above −margin from `needed` on, not before."""
    n, b, c = table
    count = needed(n, b, c, margin)
    assert (count is None) == ((c - b) / n <= -margin + 1e-12)
    if count is None or count > 10**9:
        return

    def low(size: int) -> float:
        return tango_interval(size, b * size / n, c * size / n).low

    assert low(count + 1) > -margin
    assert count == 1 or low(count - 1) <= -margin + 1e-12
    assert non_inferiority(n, b, c, margin).holds == (n >= count)


def test_needed_by_hand():
    """Without discordance the interval is above −1 % once z²/(n + z²) < 0.01."""
    assert needed(50, 0, 0, 0.01) == math.floor(99 * Z**2) + 1 == 381
    assert needed(100, 1, 0, 0.01) is None  # the change is the margin itself
    assert needed(100, 7, 0, 0.07) is None
    assert needed(540, 0, 0, 0.0) is None  # superiority is never shown by equality


def test_verdict_pieces():
    """540 digits with one lost and none gained stay above −1 %, and three lost do not."""
    good, bad = non_inferiority(540, 0, 0, 0.01), non_inferiority(540, 3, 0, 0.01)
    assert good.holds and good.needed == 381
    assert not bad.holds and bad.needed is not None and bad.needed > 540
    assert bad.change == -3 / 540 and (bad.lost, bad.gained) == (3, 0)
    assert bad.interval == tango_interval(540, 3, 0)


@pytest.mark.parametrize("table", [(0, 0, 0), (5, -1, 0), (5, 3, 3), (5, 0, 6)])
def test_impossible_counts_are_refused(table):
    """The error shows the counts."""
    with pytest.raises(ValueError, match=f"n={table[0]}, b={table[1]}, c={table[2]}"):
        tango_interval(*table)


def test_impossible_margins_are_refused():
    """A margin is a share below one and confidence lies between 0 and 1."""
    with pytest.raises(ValueError, match=r"margin=1\.0"):
        needed(10, 1, 1, 1.0)
    with pytest.raises(ValueError, match="confidence=1"):
        tango_interval(10, 1, 1, confidence=1)
