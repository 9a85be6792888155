"""True differences by vertices: no point exceeds them, some point reaches them."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.truths import Bent, plane_difference, unit_difference

SLOPES = ((1.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (0.125, 1.0))
numbers = st.integers(-8, 8).map(lambda n: n / 4)


def both(first, second, points):
    """|first − second| at points (N, n), in floats."""
    values = []
    for one in (first, second):
        a = points @ np.array(one.weights) + one.bias
        values.append(np.maximum(one.low * a, one.high * a))
    return np.abs(values[0] - values[1])


@settings(max_examples=60)
@given(
    drawn=st.lists(numbers, min_size=8, max_size=8),
    slopes=st.tuples(st.sampled_from(SLOPES), st.sampled_from(SLOPES)),
    flat=st.booleans(),
)
def test_a_fine_grid_comes_near_and_never_exceeds(drawn, slopes, flat):
    """In two inputs, the truth is the supremum that a grid of 200 × 200 sees, or a little more."""
    first = Bent(drawn[:2], drawn[2], *slopes[0])
    second = Bent(drawn[3:5], drawn[5], *slopes[1])
    lower = np.array(drawn[6:])
    upper = lower + np.array([1.0, 0.0 if flat else 0.5])
    truth = unit_difference(first, second, lower.tolist(), upper.tolist())
    steps = np.stack(np.meshgrid(*[np.linspace(0, 1, 201)] * 2), -1).reshape(-1, 2)
    seen = both(first, second, lower + steps * (upper - lower)).max()
    assert seen <= truth + 1e-12
    assert truth <= seen + 0.1


def test_differences_that_are_known():
    """By construction: a moved weight or bias of an identity, and a ReLU against nothing."""
    lower, upper = [-1.0, -2.0], [0.5, 1.0]
    unit = Bent([1.0, 0.5], 0.25, 1.0, 1.0)
    moved = Bent([1.25, 0.5], 0.25, 1.0, 1.0)
    assert unit_difference(unit, moved, lower, upper) == Fraction(1, 4)
    flipped = Bent([1.0, 0.5], -0.25, 1.0, 1.0)
    assert unit_difference(unit, flipped, lower, upper) == Fraction(1, 2)
    relu, nothing = Bent([1.0, 0.5], 0.25, 0.0, 1.0), Bent([0.0, 0.0], 0.0, 1.0, 1.0)
    assert unit_difference(relu, nothing, lower, upper) == Fraction(5, 4)


def test_a_difference_in_the_middle_of_an_edge():
    """relu(x) against relu(x + y) is farthest off where one of them bends, between corners."""
    first, second = Bent([1.0, 0.0], 0.0, 0.0, 1.0), Bent([1.0, 2.0], 0.0, 0.0, 1.0)
    assert unit_difference(first, second, [-1.0, -0.25], [1.0, 0.25]) == Fraction(1, 2)
    bent = Bent([1.0, 0.0], 0.0, -1.0, 1.0)
    assert unit_difference(bent, Bent([1.0, 1.0], 0.0, -1.0, 1.0), [-1.0, 0.0], [1.0, 1.0]) == 1


def test_plane_differences_agree_with_those_of_units():
    """A unit of two inputs, as a value that bends on two lines."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        w, q = (np.round(rng.normal(size=3) * 8) / 8 for _ in range(2))
        first, second = (Bent(v[:2].tolist(), float(v[2]), 0.0, 1.0) for v in (w, q))
        lines = [tuple(map(Fraction, v.tolist())) for v in (w, q)]

        def value(point, lines=lines):
            a, b = (p * point[0] + r * point[1] + s for p, r, s in lines)
            return max(a, Fraction(0)) - max(b, Fraction(0))

        corners = (Fraction(-1), Fraction(-1)), (Fraction(1), Fraction(1))
        truth = unit_difference(first, second, [-1.0, -1.0], [1.0, 1.0])
        assert plane_difference(value, lines, *corners) == truth
