"""FVU and the largest error say what their definitions say, constants included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.evidence import fvu, largest_error

values = st.floats(-100, 100)


@given(st.lists(st.tuples(values, values, values), min_size=1, max_size=20), st.floats(0.1, 10))
def test_errors_are_their_definitions(rows, variance):
    """E[(program − unit)²] / variance and max |program − unit|, column by column."""
    unit, *programs = np.array(rows).T
    table = np.stack(programs, 1)
    for column, program in enumerate(programs):
        squares = [(p - u) ** 2 for p, u in zip(program, unit, strict=True)]
        expected = sum(squares) / len(squares) / variance
        assert fvu(table, unit, variance)[column] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        largest = max(abs(p - u) for p, u in zip(program, unit, strict=True))
        assert largest_error(table, unit)[column] == largest


def test_the_mean_explains_nothing():
    """The mean has an FVU of one, the unit itself of zero."""
    unit = np.random.default_rng(0).standard_normal(50)
    programs = np.stack([np.full(50, unit.mean()), unit], 1)
    assert fvu(programs, unit, unit.var()) == pytest.approx([1.0, 0.0])


def test_a_unit_without_variance():
    """A constant unit is met exactly, with an FVU of zero, or not at all: infinite."""
    unit = np.full(9, 0.1)
    near = unit.copy()
    near[4] = np.nextafter(0.1, 1)
    programs = np.stack([unit, unit + 1e-9, near + 1e-3], 1)
    assert fvu(programs, unit, 0.0).tolist() == [0.0, np.inf, np.inf]


def test_no_rows():
    """The largest error of nothing is zero."""
    assert largest_error(np.zeros((0, 3)), np.zeros(0)).tolist() == [0.0, 0.0, 0.0]
