from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import cross_check
from oracles.claims import Affine, AffineBank, Box, Proved, Refuted, Unknown, gap_at, head_form
from oracles.closed_form import bound_units
from oracles.cross_check import smt_check
from oracles.prove import prove_layer

RELU = head_form("relu")
TWO_SLOPE = (
    head_form("identity"),
    RELU,
    head_form("abs"),
    head_form("leaky_relu", {"slope": 0.01}),
    head_form("prelu", {"slope": -0.4}),
)


def random_pairs(rng, units, inputs):
    """Units and programs of all pairs of heads: rounded, pruned, or unrelated."""
    weights = rng.normal(size=(units, inputs)).astype(np.float32).astype(np.float64)
    biases = rng.normal(size=units).astype(np.float32).astype(np.float64)
    rounded = np.round(weights * 64) / 64
    kinds = rng.integers(3, size=(units, 1))
    other = np.round(rng.normal(size=(units, inputs)) * 16) / 16
    programs = np.where(kinds == 0, rounded, np.where(kinds == 1, rounded * (weights > 0), other))
    pairs = list(product(TWO_SLOPE, TWO_SLOPE))
    heads = [pairs[k % len(pairs)] for k in range(units)]
    lower = rng.normal(size=inputs)
    return (
        AffineBank(weights, biases, tuple(u for u, _ in heads)),
        AffineBank(programs, np.round(biases * 64) / 64, tuple(p for _, p in heads)),
        Box(lower, lower + np.abs(rng.normal(size=inputs))),
    )


@pytest.mark.parametrize("inputs", [1, 4, 12])
@pytest.mark.parametrize("closeness", [1e-2, 1e-8])
def test_agrees_with_the_closed_form(inputs, closeness):
    """Just above the supremum Z3 proves what the closed form proves, just below it refutes."""
    units, programs, box = random_pairs(np.random.default_rng(inputs), 25, inputs)
    values = bound_units(units, programs, box)[0].values
    for index, value in enumerate(values):
        pair, exact = (units[index], programs[index]), Fraction(float(value))
        margin = Fraction(closeness) * exact + Fraction(1, 10**12)
        assert isinstance(smt_check(*pair, box, exact + margin), Proved)
        if exact > margin:
            refuted = smt_check(*pair, box, exact - margin)
            assert isinstance(refuted, Refuted)
            assert gap_at(*pair, refuted.counterexample) > exact - margin
            assert (refuted.counterexample >= box.lower).all()
            assert (refuted.counterexample <= box.upper).all()


def test_agrees_at_the_size_of_a_first_layer():
    """n = 147, rounded to 2^-8: proved above and refuted below, as prove_layer says."""
    rng = np.random.default_rng(3)
    weights = (rng.normal(size=(8, 147)) / 12).astype(np.float32)
    heads, biases = (RELU,) * 8, np.zeros(8)
    units = AffineBank(weights, biases, heads)
    programs = AffineBank(np.round(weights * 256) / 256, biases, heads)
    box = Box(-np.ones(147), rng.random(147))
    values = bound_units(units, programs, box)[0].values
    for factor, expected in ((1.1, Proved), (0.8, Refuted)):
        epsilons = [Fraction(float(value) * factor) for value in values]
        verdicts = prove_layer(units, programs, box, epsilons)
        for index, verdict in enumerate(verdicts):
            again = smt_check(units[index], programs[index], box, epsilons[index])
            assert isinstance(verdict, expected)
            assert isinstance(again, expected)


small = st.sampled_from([0.0, 0.0, 1.0, -1.0, 0.5, -2.0])


@settings(max_examples=60)
@given(
    numbers=st.lists(small, min_size=8, max_size=8),
    heads=st.tuples(st.sampled_from(TWO_SLOPE), st.sampled_from(TWO_SLOPE)),
    epsilon=st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(1), Fraction(3)]),
    width=st.sampled_from([0.0, 1.0]),
)
def test_decides_degenerate_claims(numbers, heads, epsilon, width):
    """Zeros, ties, flat boxes and an epsilon met exactly: the same verdict as prove_layer's."""
    unit = Affine(np.array(numbers[:2]), numbers[2], heads[0])
    program = Affine(np.array(numbers[3:5]), numbers[5], heads[1])
    lower = np.array(numbers[6:])
    box = Box(lower, lower + width)
    banks = [
        AffineBank(each.weights[None], np.array([each.bias]), (each.head,))
        for each in (unit, program)
    ]
    (expected,) = prove_layer(banks[0], banks[1], box, [epsilon])
    if not isinstance(expected, Unknown):
        assert type(smt_check(unit, program, box, epsilon)) is type(expected)


@pytest.mark.parametrize("bits", [1, 3, 6, 12])
def test_no_enclosure_proves_what_is_false(monkeypatch, bits):
    """However coarse the directions, a claim just below the supremum is never proved."""
    monkeypatch.setattr(cross_check, "LADDER", (bits,))
    units, programs, box = random_pairs(np.random.default_rng(bits), 25, 5)
    for index, value in enumerate(bound_units(units, programs, box)[0].values):
        epsilon = Fraction(float(value)) * (1 - Fraction(1, 10**9)) - Fraction(1, 10**9)
        if epsilon > 0:
            verdict = smt_check(units[index], programs[index], box, epsilon)
            assert not isinstance(verdict, Proved)


def test_monotone_heads_by_their_lipschitz_constant():
    """A sigmoid is proved where |a − a'| is small, refuted by replay, else Unknown."""
    sigmoid = head_form("sigmoid")
    unit, program = Affine(np.ones(1), 0.0, sigmoid), Affine(np.ones(1), 1.0, sigmoid)
    box = Box(np.array([2.0]), np.array([3.0]))
    assert isinstance(smt_check(unit, program, box, Fraction(1, 4)), Proved)
    assert isinstance(smt_check(unit, program, box, Fraction(1, 5)), Unknown)
    refuted = smt_check(unit, program, box, Fraction(1, 100))
    assert isinstance(refuted, Refuted)
    assert refuted.difference > 0.01


def test_dead_units_are_zero():
    """A ReLU that no input opens is proved to be 0, if only by a bit; one that opens is refuted."""
    rng = np.random.default_rng(6)
    for inputs in (1, 3, 147):
        weights = rng.normal(size=inputs)
        box = Box(-np.ones(inputs), rng.random(inputs))
        zero = Affine(np.zeros(inputs), 0.0, TWO_SLOPE[0])
        corner = np.where(weights > 0, box.upper, box.lower)
        largest = float(gap_at(Affine(weights, 0.0, TWO_SLOPE[0]), zero, corner))
        for bias, expected in (
            (np.nextafter(-largest, -np.inf), Proved),
            (-0.999 * largest, Refuted),
        ):
            unit = Affine(weights, float(bias), RELU)
            assert isinstance(smt_check(unit, zero, box, Fraction(0)), expected)


def test_heads_that_do_not_pair_are_unknown():
    """Z3 has no exp: sigmoid against ReLU is Unknown, with the heads named."""
    verdict = smt_check(
        Affine(np.ones(1), 0.0, head_form("sigmoid")),
        Affine(np.ones(1), 0.0, RELU),
        Box(np.zeros(1), np.ones(1)),
        Fraction(1),
    )
    assert isinstance(verdict, Unknown)
    assert "sigmoid" in verdict.reason


def test_steps_run_out_honestly_and_repeatably():
    """Too few steps give Unknown, twice alike, whatever ran in between."""
    units, programs, box = random_pairs(np.random.default_rng(4), 7, 60)
    value = Fraction(float(bound_units(units, programs, box)[0].values[6]))
    claim = units[6], programs[6], box, value * Fraction(101, 100)
    first, second = (smt_check(*claim, steps=500) for _ in range(2))
    assert isinstance(smt_check(*claim), Proved)
    assert isinstance(first, Unknown)
    assert "steps" in first.reason
    assert first == second


def test_a_planted_mutant_is_refuted():
    """A weight moved by more than epsilon over the input's reach is always found."""
    rng = np.random.default_rng(5)
    for _ in range(8):
        weights = np.round(rng.normal(size=12) * 32) / 32
        mutant = weights.copy()
        mutant[rng.integers(12)] += 0.25
        unit, program = Affine(weights, 50.0, RELU), Affine(mutant, 50.0, RELU)
        box = Box(np.zeros(12), np.ones(12))
        assert isinstance(smt_check(unit, program, box, Fraction(1, 4)), Proved)
        assert isinstance(smt_check(unit, program, box, Fraction(24, 100)), Refuted)
