"""Bounds of heads of any form: sound, near to the truth, and caught where a part is wrong."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import cells
from oracles.bent import prove_bent
from oracles.cells import Cell, Cover, Side, covered_bound
from oracles.claims import SMOOTH, Affine, Box, Proved, Refuted, apply_head, gap_at, head_form
from oracles.heads import bend_of, enclosed, float_head

HEADS = (
    *map(head_form, ("identity", "relu", "abs", "step", "sign", "sigmoid", "tanh", "gelu", "silu")),
    *map(head_form, ("hardsigmoid", "hardswish")),
    head_form("clip", {"low": -0.5, "high": 1.0}),
    head_form("prelu", {"slope": 1.7}),
    head_form("prelu", {"slope": -0.4}),
    head_form("leaky_relu", {"slope": 0.01}),
)
WIDE = Fraction(100)
GRID = np.linspace(-9, 9, 3601)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.op)
def test_bends_are_as_declared(head):
    """Second derivatives, their change, turns and least values: by differences on a fine grid."""
    bend, step = bend_of(head), float(GRID[1] - GRID[0])
    values = float_head(head, GRID)
    far = np.all([np.abs(GRID - float(k)) > 2 * step for k in bend.kinks] or [GRID < 99], axis=0)
    second = (np.diff(values, 2) / step**2)[far[1:-1]]
    assert np.abs(second).max() <= float(bend.curvature) + 1e-6
    assert np.abs(second).max() >= 0.98 * float(bend.curvature) - 1e-6
    if bend.third is not None:
        third = np.diff(values, 3) / step**3
        assert 0.98 * float(bend.third) - 1e-3 <= np.abs(third).max() <= float(bend.third) + 1e-3
    falls = float(bend.turn[0]) if bend.turn else -np.inf
    rises = float(bend.turn[1]) if bend.turn else -np.inf
    steps = np.diff(values)
    assert (steps[GRID[1:] <= falls] <= 0).all()
    assert (steps[GRID[:-1] >= rises] >= 0).all()
    if bend.turn:
        assert float(bend.least) <= values.min() <= float(bend.least) + step


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.op)
def test_enclosures_hold_the_value_and_are_narrow(head):
    """Also far out; at a jump both the value and its limit."""
    for number in (-(10**9), -750, -37, -3, Fraction(-1, 3), 0, Fraction(5, 7), 3, 41, 10**9):
        value = Fraction(number)
        low, high = enclosed(head, value, value + Fraction(1, 2**40))
        near = apply_head(head, value)
        slack = Fraction(1, 2**45) * (1 + abs(value)) if head.op in SMOOTH else 0
        assert low - slack <= near <= high + slack
        if head.op not in ("step", "sign"):
            assert high - low <= Fraction(1, 2**90)


@st.composite
def pairs(draw):
    """Units and programs of one to three columns, near and far, some without any weight."""
    size = draw(st.integers(1, 3))
    numbers = st.floats(-3, 3).map(lambda x: round(x * 64) / 64)
    row = st.lists(numbers, min_size=size, max_size=size).map(np.array)
    head = draw(st.sampled_from(HEADS))
    other = head if draw(st.booleans()) else draw(st.sampled_from(HEADS))
    weights, bias = draw(row), draw(numbers)
    near = draw(st.booleans())
    moved = weights + draw(row) / 32 if near else draw(row)
    lower = draw(row)
    box = Box(lower, lower + np.abs(draw(row)) * draw(st.sampled_from([0.0, 1.0, 1.0])))
    return Affine(weights, bias, head), Affine(moved, bias + draw(numbers) / 16, other), box


def sampled(unit, program, box, *, per_side=9):
    """A large certified difference: of a grid over the box, its corners included, the points that
    floats find best."""
    sides = [np.linspace(*ends, per_side) for ends in zip(box.lower, box.upper, strict=True)]
    points = np.array(list(product(*sides)))
    values = [float_head(one.head, points @ one.weights + one.bias) for one in (unit, program)]
    best = np.argsort(-np.abs(values[0] - values[1]), kind="stable")[:3]
    return max(gap_at(unit, program, point) for point in points[best])


@settings(max_examples=25)
@given(pairs())
def test_no_point_exceeds_the_bound(case):
    """Of any two heads: the bound is above all samples, and below 1.02 times what was replayed if
    heads do not jump."""
    unit, program, box = case
    verdict = prove_bent(unit, program, box, WIDE)
    assert isinstance(verdict, Proved)
    reached = sampled(*case)
    assert reached <= verdict.bound
    again = prove_bent(unit, program, box, verdict.bound)
    assert isinstance(again, Proved)
    lower = verdict.bound * Fraction(97, 100) - Fraction(1, 10)
    if lower > 0 and not {unit.head.op, program.head.op} & {"step", "sign"}:
        refuted = prove_bent(unit, program, box, lower)
        assert isinstance(refuted, Refuted)
        assert gap_at(unit, program, refuted.counterexample) >= Fraction(refuted.difference)


def test_small_differences_have_bounds_as_near():
    """A program that is off by 2^-20 is bounded as well, relatively, as one that is off by 1/4."""
    box = Box(np.full(4, -1.0), np.ones(4))
    for head in map(head_form, SMOOTH):
        unit = Affine(np.array([1.0, -0.75, 0.5, 2.0]), 0.25, head)
        for off in (2.0**-2, 2.0**-20):
            program = Affine(unit.weights, unit.bias + off, head)
            verdict = prove_bent(unit, program, box, Fraction(off * 2))
            assert isinstance(verdict, Proved)
            a = np.linspace(-4, 4.5, 20001)
            truth = np.abs(float_head(head, a) - float_head(head, a + off)).max()
            assert truth * (1 - 1e-6) <= verdict.bound <= truth * 1.01


def test_sums_of_many_columns_are_covered_whole():
    """Floats that find cells are off by the roundings of a thousand terms: cells reach as far."""
    rng = np.random.default_rng(0)
    for head in map(head_form, ("sigmoid", "gelu")):
        weights = rng.normal(size=1000) / 8
        program = Affine(np.round(weights * 128) / 128, 0.125, head)
        box = Box(np.zeros(1000), rng.random(1000) + 0.5)
        verdict = prove_bent(Affine(weights, 0.1, head), program, box, WIDE)
        assert isinstance(verdict, Proved)


def side(op, weight=1.0, bias=0.0, **params):
    return Side.of(Affine(np.array([weight]), bias, head_form(op, params)))


def test_covers_that_do_not_cover_are_refused():
    """Gaps, cells in the wrong order, lines on the wrong side of a turn: each has its message."""
    box, one = Box(np.array([-1.0]), np.array([1.0])), Fraction(1)
    pair = side("sigmoid"), side("sigmoid", bias=0.5)
    for cover in (
        Cover(-0.5, (Cell(1.0, 1, one),)),
        Cover(-1.0, (Cell(0.5, 1, one),)),
    ):
        with pytest.raises(ValueError, match="do not cover"):
            covered_bound(*pair, box, cover)
    with pytest.raises(ValueError, match="before it starts"):
        covered_bound(*pair, box, Cover(-1.0, (Cell(-1.5, 1, one), Cell(1.0, 1, one))))
    for sign in (0, -1):
        with pytest.raises(ValueError, match="turns"):
            covered_bound(*pair, box, Cover(-1.0, (Cell(1.0, sign, one),)))
    with pytest.raises(ValueError, match="turns"):
        covered_bound(pair[0], side("silu", bias=-1.0), box, Cover(-1.0, (Cell(1.0, 1, one),)))


def test_a_bend_that_is_understated_is_caught(monkeypatch):
    """Were heads taken for straight between cells' ends, samples would exceed the bound."""
    unit, program = (Affine(np.array([6.0]), b, head_form("tanh")) for b in (0.0, 1.0))
    box, cover = Box(np.array([-1.0]), np.array([1.0])), Cover(-7.0, (Cell(7.0, 1, Fraction(1)),))
    sides, truth = (Side.of(program), Side.of(unit)), sampled(unit, program, box, per_side=101)
    assert covered_bound(*sides, box, cover) >= truth
    straight = replace(bend_of(unit.head), curvature=Fraction(0), third=Fraction(0))
    monkeypatch.setattr(cells, "bend_of", lambda head: straight)
    mutants = Side(program.head, sides[0].map), Side(unit.head, sides[1].map)
    assert covered_bound(*mutants, box, cover) < truth
