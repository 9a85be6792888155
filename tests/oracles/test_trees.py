"""Programs of any form: the bound is sound, near to the truth for few rows, and honest if not."""

from fractions import Fraction

import numpy as np
import pytest
from bent_programs import GRAMMAR, affine, columns, relu, sampled
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.program import call, const, linear, tap
from oracles import forms, trees
from oracles.claims import Box, Proved, Refuted, Unknown
from oracles.prove import prove_program
from oracles.trees import prove_tree
from oracles.unit_difference import difference

WIDE = Fraction(1000)
numbers = st.integers(-8, 8).map(lambda n: n / 8)
sums = st.builds(affine, st.tuples(numbers, numbers), numbers)
UNARY = ("relu", "tanh", "sigmoid", "silu", "gelu", "square", "sin", "cos", "exp", "sqrt")
UNARY += ("reciprocal", "step", "abs", "hardswish")
programs = st.recursive(
    sums,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(UNARY), inner).map(lambda pair: call(*pair)),
        st.tuples(st.sampled_from(["mul", "max", "min"]), inner, inner).map(lambda t: call(*t)),
        st.tuples(numbers, inner, numbers, inner).map(
            lambda t: linear([(t[0], t[1]), (t[2], t[3])])
        ),
    ),
    max_leaves=3,
)


@settings(max_examples=60)
@given(sums, programs, numbers, numbers)
def test_no_point_exceeds_the_bound(unit, program, low, width):
    """Whatever it is made of; a flat box and constants included."""
    box = Box(np.array([low, -1.0]), np.array([low + abs(width), 1.0]))
    apart = difference(call("relu", unit), program, columns(2), GRAMMAR)
    verdict = prove_tree(apart, box, Fraction(10) ** 9)
    reached, point = sampled(apart, box)
    if isinstance(verdict, Proved):
        assert reached <= verdict.bound
    elif isinstance(verdict, Refuted):
        assert apart.apart(verdict.counterexample) > 10**9
    if reached > 0.01:
        refuted = prove_tree(apart, box, Fraction(reached) / 2)
        assert isinstance(refuted, Refuted)
        assert apart.apart(refuted.counterexample) > reached / 2
        assert apart.apart(point) <= reached + 1e-6  # rows in floats, and the root is steep


@pytest.mark.parametrize(
    ("program", "truth"),
    [
        (call("mul", affine([1.0, 0.0]), affine([0.0, 1.0])), 3.0),
        (call("square", affine([0.5, 0.5])), 3.0),
        (linear([(2.0, call("tanh", affine([0.5, 0.5])))]), 2 - 2 * np.tanh(1.0)),
        (call("exp", affine([1.0, 1.0], -1.0)), 2 + np.exp(-3.0)),
    ],
    ids=("product", "square", "tanh", "exp"),
)
def test_known_suprema_are_met(program, truth):
    """Against x + y over the square, at a corner: within a hundredth."""
    box = Box(-np.ones(2), np.ones(2))
    apart = difference(affine([1.0, 1.0]), program, columns(2), GRAMMAR)
    verdict = prove_tree(apart, box, Fraction(truth * 1.02))
    assert isinstance(verdict, Proved)
    assert truth * (1 - 1e-12) <= float(verdict.bound) <= truth * 1.01


def test_many_inputs_and_few_rows_are_near_too():
    """A product of two sums of 200 inputs, and what is shared with the unit cancels."""
    rng = np.random.default_rng(0)
    w, u = np.round(rng.normal(size=(2, 200)) * 64) / 1024
    box = Box(-np.ones(200), np.ones(200))
    gated = call("mul", relu(w, 0.25), call("sigmoid", affine(u, 4.0)))
    apart = difference(relu(w, 0.25), gated, columns(200), GRAMMAR)
    seen, _ = trees._largest_seen(apart, trees._Symbols.of(apart, box), box)
    verdict = prove_tree(apart, box, Fraction(seen * 1.02))
    assert isinstance(verdict, Proved)
    assert Fraction(seen) <= verdict.bound


def test_the_ladder_takes_the_first_oracle_that_answers():
    """Straight pieces by linear programs, all others by splitting, and none for what has no
    enclosure."""
    box, pair = Box(-np.ones(2), np.ones(2)), (columns(2),)
    larger = call("max", tap("x", 0), tap("x", 1))
    straight = prove_program(larger, larger, *pair, box, Fraction(0), GRAMMAR)
    assert straight == Proved("enclosed", Fraction(0))
    bent = call("mul", larger, larger)
    assert isinstance(prove_program(const(0.0), bent, *pair, box, WIDE, GRAMMAR), Proved)
    assert isinstance(prove_program(const(0.0), bent, *pair, box, Fraction(1, 2), GRAMMAR), Refuted)


def test_an_epsilon_at_the_supremum_is_not_decided():
    """Cells come near to it and no nearer: Unknown, with the gap."""
    box = Box(-np.ones(2), np.ones(2))
    product = call("mul", tap("x", 0), tap("x", 1))
    apart = difference(const(0.0), product, columns(2), GRAMMAR)
    verdict = prove_tree(apart, box, Fraction(1))
    assert isinstance(verdict, Unknown)
    assert "1 <= sup <= 1" in verdict.reason


def test_a_curvature_that_is_understated_is_caught(monkeypatch):
    """Were tanh straight between the ends of cells, samples would exceed the bound."""
    box, program = Box(np.array([-6.0]), np.array([6.0])), call("tanh", affine([1.0]))
    apart = difference(linear([(0.25, tap("x", 0))]), program, columns(1), GRAMMAR)
    seen, epsilon = _grid_of(apart, box), Fraction(3)
    honest = prove_tree(apart, box, epsilon)
    assert isinstance(honest, Proved)
    assert honest.bound >= seen
    monkeypatch.setattr(forms, "_CURVATURES", {"tanh": lambda low, high: 0.0})
    monkeypatch.setattr(trees, "CELLS", 1)
    monkeypatch.setattr(trees, "_largest_seen", lambda *_: (0.0, box.lower))
    mutant = prove_tree(apart, box, epsilon)
    assert isinstance(mutant, Proved)
    assert mutant.bound < seen


def _grid_of(apart, box):
    return sampled(apart, box, per_side=2001)[0]
