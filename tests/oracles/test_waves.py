"""Intervals of waves and of other formulas hold every value, and are no wider than they must be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammars.evaluation import evaluate
from grammars.grammar import Grammar, load_grammar
from grammars.primitives.cos import COS
from grammars.primitives.sin import SIN
from grammars.program import call, tap
from oracles.interval import FAR, IntervalAlgebra

ALGEBRA = IntervalAlgebra(lambda *_: None)
ENDS = st.floats(-50, 50) | st.floats(-2 * FAR, 2 * FAR)
EXACT = {
    "exp": lambda x: math.exp(min(x, 64.0)),
    "reciprocal": lambda x: 1 / x if abs(x) >= 2**-6 else 4096 * x,
    "sqrt": lambda x: math.sqrt(max(x, 2.0**-40)),
    "square": lambda x: x * x,
}


def formulas() -> Grammar:
    return load_grammar(tags=("formula",), installed=False)


@pytest.mark.parametrize("function", [COS, SIN], ids=lambda f: f.name)
@given(ends=st.tuples(ENDS, ENDS), share=st.floats(0, 1))
def test_the_interval_of_a_wave_holds_every_value_between(function, ends, share):
    low, high = min(ends), max(ends)
    point = min(max(low + share * (high - low), low), high)
    bounds = ALGEBRA.call(function, (low, high))
    assert bounds[0] <= function.function(point) <= bounds[1]


@pytest.mark.parametrize("function", [COS, SIN], ids=lambda f: f.name)
@given(start=st.floats(-20, 20), width=st.floats(0, 7))
def test_the_interval_of_a_wave_is_its_range(function, start, width):
    """It is no wider than what many points between the ends show, but for their distance."""
    low, high = ALGEBRA.call(function, (start, start + width))
    seen = [function.function(x) for x in np.linspace(start, start + width, 3001).tolist()]
    assert min(seen) - 1e-5 <= low and high <= max(seen) + 1e-5


def test_waves_of_arrays_and_of_everything():
    lows, highs = np.array([0.0, -1.0, -math.inf, 3.0]), np.array([1.0, 1.0, math.inf, 3.0])
    low, high = ALGEBRA.call(COS, (lows, highs))
    assert low == pytest.approx([math.cos(1), math.cos(1), -1, math.cos(3)])
    assert high == pytest.approx([1, 1, 1, math.cos(3)])


@pytest.mark.parametrize("name", sorted(EXACT))
@given(ends=st.tuples(st.floats(-90, 90), st.floats(-90, 90)))
def test_formulas_over_a_box(name, ends):
    """The interval of a formula in one variable is its range: its ends' values, and zero's."""
    box, program = (min(ends), max(ends)), call(name, tap("a", 0))
    low, high = evaluate(program, IntervalAlgebra(lambda *_: box), formulas())
    special = (0.0, 2.0**-6, -(2.0**-6), 64.0)
    points = [*box, *(p for p in special if box[0] <= p <= box[1])]
    values = [EXACT[name](p) for p in points]
    assert low <= min(values) and max(values) <= high
    assert low == pytest.approx(min(values), rel=1e-12, abs=1e-300)
    assert high == pytest.approx(max(values), rel=1e-12, abs=1e-300)
