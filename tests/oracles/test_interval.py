"""Intervals enclose: operations against exact fractions, programs against points in their boxes."""

import math
import random
import sys
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grammars.evaluation import evaluate
from grammars.grammar import Grammar, load_grammar
from grammars.interpreters.rational import RationalAlgebra
from grammars.primitive import Transcendental
from grammars.program import Node, call, linear, tap
from oracles.interval import HUGE, Interval, IntervalAlgebra

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
SMALL = st.floats(-100.0, 100.0)
ALGEBRA = IntervalAlgebra(lambda *key: key)


@cache
def core() -> Grammar:
    return load_grammar(installed=False)


def intervals(ends: st.SearchStrategy[float] = FLOATS) -> st.SearchStrategy[Interval]:
    return st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair)))


def holds(interval: Interval, value: Fraction) -> bool:
    low, high = float(interval[0]), float(interval[1])
    above = low == -math.inf or Fraction(low) <= value
    return above and (high == math.inf or value <= Fraction(high))


def inside(interval: Interval, share: float) -> Fraction:
    low, high = Fraction(float(interval[0])), Fraction(float(interval[1]))
    return low + Fraction(share) * (high - low)


SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1))


@settings(max_examples=300)
@given(intervals(), intervals(), SHARES)
@example((0.0, sys.float_info.max), (-1.0, 0.0), (0.0, 0.0))  # steps over the last float, unwarned
@example((0.0, 1.0), (0.0, sys.float_info.max), (0.0, 0.0))
def test_addition_and_multiplication_enclose_exactly(a, b, shares) -> None:
    """a + b and a · b hold the exact sum and product of any points, over the whole float range."""
    x, y = inside(a, shares[0]), inside(b, shares[1])
    assert holds(ALGEBRA.add(a, b), x + y)
    assert holds(ALGEBRA.mul(a, b), x * y)


@settings(max_examples=200)
@given(intervals(SMALL), intervals(SMALL), intervals(SMALL), st.floats(0, 1))
def test_choices_enclose(a, b, condition, share) -> None:
    """max, min and select hold the exact value of points, also where a branch is the condition."""
    x, y, c = (inside(i, share) for i in (a, b, condition))
    assert holds(ALGEBRA.max(a, b), max(x, y))
    assert holds(ALGEBRA.min(a, b), min(x, y))
    assert holds(ALGEBRA.select(condition, a, b), x if c > 0 else y)
    assert holds(ALGEBRA.select(condition, condition, b), c if c > 0 else y)
    assert holds(ALGEBRA.select(condition, a, condition), x if c > 0 else c)


def test_exact_additions_do_not_widen() -> None:
    """A sum of dyadic numbers that is a float stays a point."""
    assert ALGEBRA.add((0.5, 0.5), (0.25, 0.75)) == (0.75, 1.25)


def test_inexact_additions_widen_on_the_right_side_only() -> None:
    """1 + 2⁻⁶⁰ is not a float: its interval is one step wide and starts at 1."""
    assert ALGEBRA.add((1.0, 1.0), (2.0**-60, 2.0**-60)) == (1.0, math.nextafter(1.0, 2.0))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_overflow_keeps_enclosing(sign: float) -> None:
    """A sum beyond the largest float has an infinite end and a finite one that is still true."""
    largest = math.nextafter(math.inf, 0.0)
    interval = ALGEBRA.add((sign * largest,) * 2, (sign * HUGE,) * 2)
    assert holds(interval, Fraction(sign * largest) + Fraction(sign * HUGE))


def test_infinite_ends_times_zero_are_zero() -> None:
    """An unbounded value times exactly zero is zero: infinity is a bound and never a value."""
    unbounded = (-math.inf, math.inf)
    assert ALGEBRA.mul((0.0, 0.0), unbounded) == (0.0, 0.0)
    assert ALGEBRA.mul((2.0, 2.0), unbounded) == unbounded
    assert ALGEBRA.linear([1.0], [unbounded], 1.0) == unbounded


@settings(max_examples=100)
@given(st.lists(st.tuples(FLOATS, FLOATS), max_size=40), FLOATS)
def test_linear_encloses_the_exact_sum(terms, bias) -> None:
    """Σ w·x + b holds the exact sum for any floats, underflow and cancellation included."""
    weights = [w for w, _ in terms]
    interval = ALGEBRA.linear(weights, [(x, x) for _, x in terms], bias)
    assert holds(interval, sum((Fraction(w) * Fraction(x) for w, x in terms), Fraction(bias)))


def test_linear_of_thousands_of_terms_is_tight() -> None:
    """The rounding term of 5,000 terms is far below any tolerance that matters."""
    rng = random.Random(0)
    weights, values = ([rng.uniform(-1, 1) for _ in range(5000)] for _ in range(2))
    low, high = ALGEBRA.linear(weights, [(x, x) for x in values], 0.25)
    exact = sum((Fraction(w) * Fraction(x) for w, x in zip(weights, values, strict=True)), 0)
    assert holds((low, high), exact + Fraction(1, 4))
    assert high - low < 1e-8


def test_negative_weights_swap_the_ends() -> None:
    """−2·[1, 3] is [−6, −2], but for the rounding."""
    assert np.allclose(ALGEBRA.linear([-2.0], [(1.0, 3.0)], 0.0), (-6.0, -2.0), atol=1e-14)


@pytest.mark.parametrize("x", [-800.0, -30.0, -1.0, -1e-9, 0.0, 0.3, 2.0, 37.0, 800.0])
@pytest.mark.parametrize("op", ["sigmoid", "tanh"])
def test_transcendentals_hold_the_true_value(op: str, x: float) -> None:
    """The interval of a point holds the value to 60 digits, within a few of the last places."""
    low, high = evaluate(call(op, tap("a", 0)), IntervalAlgebra(lambda *_: (x, x)), core())
    assert holds((low, high), _to_sixty_digits(op, x))
    assert high - low <= 20 * math.ulp(max(abs(low), abs(high)))


def _to_sixty_digits(op: str, x: float) -> Fraction:
    from decimal import Decimal, localcontext

    with localcontext() as context:
        context.prec = 60
        power = Decimal(x).exp()
        if op == "sigmoid":
            return Fraction(power / (1 + power))
        return Fraction((power - 1 / power) / (power + 1 / power))


def test_function_error_is_the_declared_one() -> None:
    """A transcendental that declares more units in the last place gets a wider interval."""
    rough = Transcendental("rough", lambda x: x, "tanh", -9.0, 9.0, Fraction(1), ulps=100)
    low, high = ALGEBRA.call(rough, (1.0, 1.0))
    assert high == 1.0 + 100 * math.ulp(1.0)
    assert low < 1.0 - 40 * math.ulp(1.0)


PROGRAMS = {
    "abs": (call("abs", tap("a", 0)), (0.0, 2.0)),
    "prelu": (call("prelu", tap("a", 0), slope=0.25), (-0.25, 2.0)),
    "step": (call("step", tap("a", 0)), (0.0, 1.0)),
    "clip": (call("clip", tap("a", 0), low=0.0, high=1.0), (0.0, 1.0)),
    "relu": (call("relu", linear([(-1.0, tap("a", 0))], 0.5)), (0.0, 1.5)),
}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_bounds_over_a_box_are_those_of_the_function(name: str) -> None:
    """Over a in [−1, 2] the usual heads have their ranges, |a| = max(a, −a) a loose one."""
    program, (low, high) = PROGRAMS[name]
    found = evaluate(program, IntervalAlgebra(lambda *_: (-1.0, 2.0)), core())
    assert float(found[0]) <= low and float(found[1]) >= high
    loose = -1.0 if name == "abs" else low
    assert np.allclose(found, (loose, high), atol=1e-12)


def test_arrays_of_boxes_give_what_each_box_gives() -> None:
    """A vector of boxes is evaluated elementwise."""
    program = call("prelu", linear([(0.5, tap("a", 0)), (-0.25, tap("a", 1))], 1.0), slope=-0.5)
    rng = np.random.default_rng(0)
    low = rng.uniform(-4, 4, (2, 20))
    high = low + rng.uniform(0, 2, (2, 20))
    together = evaluate(program, IntervalAlgebra(lambda b, c, y, x: (low[c], high[c])), core())
    for i in range(20):
        one = IntervalAlgebra(lambda b, c, y, x, i=i: (low[c, i], high[c, i]))
        assert evaluate(program, one, core()) == (together[0][i], together[1][i])


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_hold_their_exact_values(seed: int) -> None:
    """Nested programs of core primitives: the interval holds exact rationals at random points."""
    rng = random.Random(seed)
    program = _program(rng, 3)
    boxes: dict[tuple, Interval] = {}

    def box(*key) -> Interval:
        ends = sorted(rng.randint(-64, 64) / 16 for _ in range(2))
        return boxes.setdefault(key, (ends[0], ends[1]))

    interval = evaluate(program, IntervalAlgebra(box), core())
    for share in (0.0, 0.25, 0.5, 1.0):
        exact = RationalAlgebra(lambda *key, s=share: inside(boxes[key], s))
        assert holds(interval, evaluate(program, exact, core()))


def _program(rng: random.Random, depth: int) -> Node:
    if not depth:
        return tap("a", rng.randrange(5), rng.randint(-1, 1))
    parts = [_program(rng, depth - 1) for _ in range(rng.randint(1, 3))]
    total = linear([(rng.randint(-9, 9) / 8, p) for p in parts], rng.randint(-9, 9) / 8)
    heads = {"relu": {}, "abs": {}, "step": {}, "leaky_relu": {"slope": 0.01}}
    name = rng.choice(sorted(heads))
    return call(name, total, **heads[name])


def test_mutants_of_the_bounds_would_be_seen() -> None:
    """Round-to-nearest instead of outwards fails the enclosure that this file tests."""
    nearest = 0.1 + 0.2
    assert not holds((nearest, nearest), Fraction(0.1) + Fraction(0.2))
    assert holds(ALGEBRA.add((0.1, 0.1), (0.2, 0.2)), Fraction(0.1) + Fraction(0.2))
