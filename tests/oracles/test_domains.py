"""Zonotopes, balls and replaced inputs: sound, tight, and composed layer by layer."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import domains
from oracles.claims import Affine, AffineBank, Box, Proved, Refuted, gap_at, head_form
from oracles.closed_form import bound_units
from oracles.domains import Ball, Zonotope, in_situ
from oracles.heads import float_head
from oracles.prove import prove_layer

HEADS = (
    head_form("relu"),
    head_form("identity"),
    head_form("leaky_relu", {"slope": 0.25}),
    head_form("prelu", {"slope": -0.5}),
)


def drawn(seed, heads=HEADS):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    w = rng.normal(size=n)
    q = np.round(w * 4) / 4 if seed % 2 else rng.normal(size=n)
    unit = Affine(w, float(rng.normal()), heads[seed % len(heads)])
    program = Affine(q, float(rng.normal()), heads[seed // 2 % len(heads)])
    return rng, n, unit, program


def differences(unit, program, points):
    values = [float_head(one.head, points @ one.weights + one.bias) for one in (unit, program)]
    return np.abs(values[0] - values[1])


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_a_ball_is_bounded_by_its_supremum(seed):
    """No point inside is above the bound; just below it a point of the ball refutes."""
    rng, n, unit, program = drawn(seed)
    ball = Ball(rng.normal(size=n), float(rng.random() * 2))
    verdict = ball.decide(unit, program, Fraction(1000))
    assert isinstance(verdict, Proved)
    steps = rng.normal(size=(500, n))
    steps *= ball.radius / np.linalg.norm(steps, axis=1, keepdims=True)
    assert differences(unit, program, ball.centre + steps).max() <= verdict.bound * (1 + 1e-12)
    less = verdict.bound * Fraction(9999, 10000) - Fraction(1, 10**6)
    if less > 0:
        refuted = ball.decide(unit, program, less)
        assert isinstance(refuted, Refuted)
        assert gap_at(unit, program, refuted.counterexample) > less
        assert np.linalg.norm(refuted.counterexample - ball.centre) <= ball.radius * (1 + 1e-12)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_a_zonotope_is_bounded_by_its_supremum(seed):
    """For straight and smooth heads: samples stay below, and just below it all is refuted."""
    heads = (*HEADS, head_form("tanh"), head_form("silu"))
    rng, n, unit, program = drawn(seed, heads)
    zonotope = Zonotope(rng.normal(size=n), rng.normal(size=(n, 4)))
    verdict = zonotope.decide(unit, program, Fraction(1000))
    assert isinstance(verdict, Proved)
    corners = np.sign(rng.normal(size=(200, 4)))
    points = zonotope.centre + corners @ zonotope.generators.T
    assert differences(unit, program, points).max() <= verdict.bound * (1 + 1e-12)
    less = verdict.bound * Fraction(97, 100) - 1
    assert less <= 0 or isinstance(zonotope.decide(unit, program, less), Refuted)


def test_a_box_is_a_zonotope():
    """With a generator a column, the bound is that over the box."""
    _, n, unit, program = drawn(12)
    zonotope = Zonotope(np.zeros(n), np.eye(n))
    verdict = zonotope.decide(unit, program, Fraction(100))
    banks = domains._bank(unit), domains._bank(program)
    (expected,) = prove_layer(*banks, Box(-np.ones(n), np.ones(n)), [Fraction(100)])
    assert isinstance(verdict, Proved)
    assert isinstance(expected, Proved)
    assert verdict.bound == expected.bound


def test_bad_balls_and_errors_are_refused():
    """A radius or an error below zero says so."""
    with pytest.raises(ValueError, match="radius is -1"):
        Ball(np.zeros(1), -1.0)
    bank = AffineBank(np.ones((1, 1)), np.zeros(1), HEADS[:1])
    with pytest.raises(ValueError, match=">= 0"):
        in_situ(bank, bank, Box(np.zeros(1), np.ones(1)), np.array([-1.0]))


def test_errors_of_replaced_inputs_compose():
    """Two layers: the second's bound in situ holds for the composed programs on samples, exceeds
    its own bound, and without errors is the same."""
    rng = np.random.default_rng(0)
    sizes, boxes = (6, 5, 4), [Box(-np.ones(6), np.ones(6)), Box(np.zeros(5), np.full(5, 20.0))]
    relu = head_form("relu")
    units = [
        AffineBank(rng.normal(size=(o, i)), rng.normal(size=o), (relu,) * o)
        for i, o in pairwise(sizes)
    ]
    programs = [AffineBank(np.round(u.weights * 8) / 8, u.biases, u.heads) for u in units]
    first = bound_units(units[0], programs[0], boxes[0])[0].values
    joint = in_situ(units[1], programs[1], boxes[1], first)
    second = bound_units(*joint)[0].values
    points = rng.uniform(-1, 1, size=(5000, 6))
    values = [points, points]
    for bank in zip(units, programs, strict=True):
        values = [
            np.maximum(v @ b.weights.T + b.biases, 0) for v, b in zip(values, bank, strict=True)
        ]
    assert (np.abs(values[0] - values[1]).max(0) <= second).all()
    local = bound_units(units[1], programs[1], boxes[1])[0].values
    assert (second > local).all()
    same = in_situ(units[1], programs[1], boxes[1], np.zeros(5))
    assert bound_units(*same)[0].values.tolist() == local.tolist()
    verdicts = prove_layer(*joint, [Fraction(float(v)) * Fraction(1001, 1000) for v in second])
    assert all(isinstance(v, Proved) for v in verdicts)


def test_a_root_that_is_rounded_down_is_caught(monkeypatch):
    """Were square roots too small, a point on the ball would exceed the bound."""
    unit, program = (Affine(np.array([w, w]), 0.0, head_form("identity")) for w in (1.0, 0.0))
    ball = Ball(np.zeros(2), 1.0)
    reached = Fraction(float(differences(unit, program, np.full((1, 2), 0.7071067)).max()))
    honest = ball.decide(unit, program, Fraction(2))
    assert isinstance(honest, Proved)
    assert honest.bound >= reached
    monkeypatch.setattr(domains, "_root_above", lambda value: Fraction(7, 5))
    mutant = ball.decide(unit, program, Fraction(2))
    assert isinstance(mutant, Proved)
    assert mutant.bound < reached
