"""Intervals of functions that fall and then rise hold every value, and no more than they must."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammars.grammar import load_grammar
from grammars.primitives.gelu import GELU
from grammars.primitives.silu import SILU
from oracles.interval import IntervalAlgebra

ALGEBRA = IntervalAlgebra(lambda *_: None)
FUNCTIONS = (GELU, SILU)
ENDS = st.floats(-800, 800) | st.floats(-4, 1)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
@given(ends=st.tuples(ENDS, ENDS), share=st.floats(0, 1))
def test_interval_holds_every_value_between(function, ends, share):
    """The value at a point between the ends lies in the interval."""
    low, high = min(ends), max(ends)
    point = min(max(low + share * (high - low), low), high)
    bounds = ALGEBRA.call(function, (low, high))
    assert bounds[0] <= function.function(point) <= bounds[1]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.name)
def test_minimum_is_counted_only_where_it_lies(function):
    """Around the turn the interval reaches down to the minimum; beside it, to an end."""
    left, right = function.turn
    assert ALGEBRA.call(function, (left - 1, right + 1))[0] == function.low
    for ends in ((left - 2, left - 1), (right + 1, right + 2)):
        values = sorted(function.function(end) for end in ends)
        assert ALGEBRA.call(function, ends) == pytest.approx(tuple(values), rel=1e-11)
    assert ALGEBRA.call(function, (-math.inf, math.inf)) == (function.low, math.inf)


def test_least_silu_is_bounded_to_forty_digits():
    """The declared minimum and turn of silu enclose those of forty digits; falling before it."""
    with localcontext() as context:
        context.prec = 40
        values = [x / (1 + (-x).exp()) for x in (Decimal(end) for end in SILU.turn)]
        inside = Decimal("-1.278464542761073795109358739022980155439")
        least = inside / (1 + (-inside).exp())
    assert all(least < value for value in values)
    assert Fraction(SILU.low) <= Fraction(least) <= Fraction(SILU.low) + Fraction(1, 2**53)


def test_hard_swish_knows_its_minimum():
    """The interval of hardswish over everything is not below −3/8."""
    body = load_grammar(installed=False)["hardswish"].body
    assert body(ALGEBRA, (-9.0, 5.0))[0] == -0.375
