"""Programs of straight pieces: the bound is the supremum, whatever their sums, pools and jumps."""

from fractions import Fraction

import numpy as np
import pytest
from bent_programs import GRAMMAR, affine, columns, relu, sampled
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.evaluation import Unsupported
from grammars.program import call, const, linear, tap
from oracles import straight
from oracles.claims import Box, Proved, Refuted
from oracles.straight import prove_straight
from oracles.unit_difference import difference

WIDE = Fraction(1000)


def bound(first, second, box, size=None):
    apart = difference(first, second, columns(size or box.lower.size), GRAMMAR)
    verdict = prove_straight(apart, box, WIDE)
    assert isinstance(verdict, Proved)
    return verdict.bound


numbers = st.integers(-8, 8).map(lambda n: n / 4)
sums = st.builds(affine, st.tuples(numbers, numbers), numbers)
programs = st.recursive(
    sums,
    lambda inner: st.one_of(
        inner.map(lambda p: call("relu", p)),
        inner.map(lambda p: call("abs", p)),
        inner.map(lambda p: call("clip", p, low=-0.5, high=1.0)),
        sums.map(lambda p: call("step", p)),
        st.tuples(inner, inner).map(lambda pair: call("max", *pair)),
        st.tuples(inner, inner).map(lambda pair: call("min", *pair)),
        st.tuples(numbers, inner, numbers, inner, numbers).map(
            lambda t: linear([(t[0], t[1]), (t[2], t[3])], t[4])
        ),
    ),
    max_leaves=4,
)


@settings(max_examples=30)
@given(programs, programs, numbers, numbers)
def test_the_bound_is_the_supremum(first, second, low, width):
    """No sample is above it, and just below it there is a counterexample that replays."""
    box = Box(np.array([low, -1.0]), np.array([low + abs(width), 1.0]))
    apart = difference(first, second, columns(2), GRAMMAR)
    try:
        verdict = prove_straight(apart, box, WIDE)
    except Unsupported:
        return
    assert isinstance(verdict, Proved)
    assert sampled(apart, box)[0] <= verdict.bound + Fraction(1, 10**9)
    less = verdict.bound - Fraction(1, 1000)
    refuted = prove_straight(apart, box, less) if less > 0 else None
    jumps = "step" in repr((first, second))
    if isinstance(refuted, Refuted):
        assert apart.apart(refuted.counterexample) > less
    assert jumps or less <= 0 or isinstance(refuted, Refuted)


def test_a_threshold_is_split_at_its_half_space():
    """2·step(x − 1) against relu(x) on [−1, 3]: 1 below the threshold, 1 above; exactly."""
    box = Box(np.array([-1.0]), np.array([3.0]))
    program = linear([(2.0, call("step", affine([1.0], -1.0)))])
    assert bound(relu([1.0]), program, box) == 1


def test_guards_that_contradict_each_other_leave_nothing():
    """min(step(x), step(−x − 1)) is 0 everywhere: that both are 1 is ruled out by prices."""
    box = Box(np.array([-2.0]), np.array([2.0]))
    both = call("min", call("step", affine([1.0])), call("step", affine([-1.0], -1.0)))
    assert bound(relu([1.0], -5.0), both, box) == 0


@pytest.mark.parametrize("size", [2, 3])
def test_pools_are_maxima_and_means(size):
    """A pool over a window equals its own unit: the maximum of all its taps, or their mean."""
    places = {("x", 0, i, j): i * size + j for i in range(size) for j in range(size)}
    lower = np.linspace(-1.0, 0.5, len(places))
    box = Box(lower, lower + 1.0)
    pooled = call("max_pool", tap("x", 0), size=size)
    top = relu([1.0])  # its first tap alone
    verdict = prove_straight(difference(top, pooled, places, GRAMMAR), box, WIDE)
    assert isinstance(verdict, Proved)
    assert verdict.bound == Fraction(box.upper[-1]) - max(0, Fraction(box.lower[0]))
    mean = call("mean_pool", tap("x", 0), size=2)
    flat = linear([(0.25, tap("x", 0, i, j)) for i in range(2) for j in range(2)])
    verdict = prove_straight(difference(flat, mean, places, GRAMMAR), box, Fraction(0))
    assert isinstance(verdict, Proved)


def test_sums_of_rectified_parts_cancel():
    """x + relu(y − x) is max(x, y), exactly, though it is written otherwise."""
    box = Box(-np.ones(2), np.ones(2))
    other = linear([(1.0, affine([1.0, 0.0])), (1.0, relu([-1.0, 1.0]))])
    assert bound(call("max", tap("x", 0), tap("x", 1)), other, box) == 0


def test_what_bends_is_not_straight():
    """A product, a smooth function and a choice by a value that bends are refused by name."""
    box = Box(-np.ones(2), np.ones(2))
    bent = call("mul", tap("x", 0), tap("x", 1)), call("tanh", tap("x", 0))
    for program in (*bent, call("step", call("relu", affine([1.0, 1.0], -0.5)))):
        with pytest.raises(Unsupported):
            prove_straight(difference(const(0.0), program, columns(2), GRAMMAR), box, WIDE)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(any))
def test_shares_add_up_to_one(values):
    """Whatever a solver's duals are, the shares that are rechecked are none below zero, and one."""
    shares = straight._shares(np.array(values))
    assert sum(shares) == 1
    assert min(shares) >= 0


def test_shares_that_do_not_add_up_are_caught(monkeypatch):
    """Were a part of each lost, the bound would lie below a difference that replays."""
    box = Box(np.array([2.0]), np.array([3.0]))
    pair = relu([1.0]), call("max", affine([-1.0]), affine([-2.0]))
    apart = difference(*pair, columns(1), GRAMMAR)
    assert bound(*pair, box) == 6 == sampled(apart, box)[0]
    monkeypatch.setattr(straight, "_shares", lambda values: [Fraction(1, 4)] * len(values))
    monkeypatch.setattr(straight._LinearProgram, "_alone", lambda _: [Fraction(1, 4)] * 2)
    assert bound(*pair, box) < sampled(apart, box)[0]
