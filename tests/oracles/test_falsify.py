"""The falsifier finds planted differences, never overstates one, and is the same every time."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from grammars.grammar import load_grammar
from grammars.program import call, linear, tap
from oracles.claims import Affine, AffineBank, Box, Refuted, Unknown, gap_at, head_form
from oracles.closed_form import bound_units
from oracles.falsify import Effort, affines, falsify, highest, networks, programs

CORE = load_grammar(tags=("core", "formula"), installed=False)
HEADS = (
    head_form("identity"),
    head_form("relu"),
    head_form("abs"),
    head_form("prelu", {"slope": -0.4}),
    head_form("clip", {"low": 0.0, "high": 1.0}),
    head_form("sigmoid"),
    head_form("gelu"),
)


def rounded_pair(head, size, seed):
    """A unit, its rounding on 1/8 and a box."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=size) / np.sqrt(size)
    unit, program = Affine(weights, 0.1, head), Affine(np.round(weights * 8) / 8, 0.125, head)
    lower = rng.normal(size=size)
    return unit, program, Box(lower, lower + rng.random(size) * 2)


def bank(one):
    return AffineBank(one.weights[None], np.array([one.bias]), (one.head,))


@settings(max_examples=40)
@given(head=st.sampled_from(HEADS), size=st.integers(1, 30), seed=st.integers(0, 1000))
def test_what_is_found_is_a_point_of_the_box_and_below_the_bound(head, size, seed):
    """The point replays to what is claimed of it, in the box, and the closed form is no less."""
    unit, program, box = rounded_pair(head, size, seed)
    found = highest(affines(unit, program, box, CORE), box, effort=Effort(400))
    assert (box.lower <= found.point).all() and (found.point <= box.upper).all()
    assert found.difference == gap_at(unit, program, found.point)
    bounds, _ = bound_units(bank(unit), bank(program), box)
    assert float(found.difference) <= bounds.values[0] * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("head", HEADS[:4])
def test_two_slopes_are_found_to_the_last_digits(head):
    """Where the closed form is exact, its worst point is what the falsifier answers."""
    for seed in range(10):
        unit, program, box = rounded_pair(head, 20, seed)
        found = highest(affines(unit, program, box, CORE), box)
        exact = bound_units(bank(unit), bank(program), box)[0].values[0]
        assert float(found.difference) >= exact * (1 - 1e-9)


def test_a_smooth_head_is_refuted_where_its_bound_says_nothing():
    """Ascent refutes claims on sigmoids far above what 20,000 samples see."""
    for seed in range(5):
        unit, program, box = rounded_pair(head_form("sigmoid"), 60, seed)
        points = box.lower + np.random.default_rng(seed).random((20_000, 60)) * (
            box.upper - box.lower
        )
        sides = affines(unit, program, box, CORE)
        sampled = float(sides.differences(torch.from_numpy(points)).abs().max())
        verdict = falsify(sides, box, Fraction(1.5 * sampled))
        assert isinstance(verdict, Refuted) and verdict.difference > 1.5 * sampled


def test_a_difference_in_one_corner_of_many_is_found():
    """A program that leaves its unit in one corner of 2^30 alone, where no gradient leads."""
    taps = [tap("x", i) for i in range(30)]
    unit = call("relu", linear([(1.0, t) for t in taps], -1.0))
    corner = call("relu", linear([(1.0 if i % 2 else -1.0, t) for i, t in enumerate(taps)], -29.5))
    program = linear([(1.0, unit), (1.0, corner)])
    index = {("x", i, 0, 0): i for i in range(30)}
    box = Box(-np.ones(30), np.ones(30))
    verdict = falsify(programs(unit, program, index, CORE), box, Fraction(1, 4))
    assert isinstance(verdict, Refuted) and verdict.difference == 0.5
    same = falsify(programs(unit, unit, index, CORE), box, Fraction(0))
    assert isinstance(same, Unknown) and "0" in same.reason


def test_programs_without_exact_values_are_replayed_by_intervals():
    """A program of a transcendental is refuted by no more than it certainly differs."""
    x, y = tap("x", 0), tap("x", 1)
    unit = call("tanh", call("mul", x, y))
    program = call("tanh", linear([(1.0, x)]))
    index = {("x", 0, 0, 0): 0, ("x", 1, 0, 0): 1}
    box = Box(np.array([-1.0, 0.5]), np.array([1.0, 1.5]))
    found = highest(programs(unit, program, index, CORE), box)
    true = max(np.tanh(1.0) - np.tanh(0.5), np.tanh(1.5) - np.tanh(1.0))
    assert 0.999 * true < float(found.difference) <= true


def net(seed):
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        for part in module.parameters():
            part.copy_(torch.randn(part.shape, generator=generator) * 0.4)
    return module


def test_networks_are_ascended_past_samples():
    """In every output and sign: beyond 50,000 samples, and what is found replays in float64."""
    first, second = net(0), net(0)
    with torch.no_grad():
        for part in second.parameters():
            part.copy_((part * 16).round() / 16)
    sides, box = networks(first, second, (3, 4)), Box(-np.ones(12), np.ones(12))
    found = highest(sides, box, effort=Effort(8000))
    drawn = torch.rand(50_000, 12, dtype=torch.float64, generator=torch.manual_seed(0)) * 2 - 1
    assert float(found.difference) > float(sides.differences(drawn).abs().max())
    point = torch.from_numpy(found.point).reshape(1, 3, 4)
    with torch.no_grad():
        again = (first.double()(point) - second.double()(point)).abs().max()
    assert float(again) == float(found.difference)


def test_the_same_seed_gives_the_same_point():
    """Two searches agree to the last bit; the budget is kept whatever it is."""
    sides, box = networks(net(0), net(1), (3, 4)), Box(-np.ones(12), np.ones(12))
    for evaluations in (1, 2, 30, 700):
        one, two = (highest(sides, box, effort=Effort(evaluations, 3)) for _ in range(2))
        assert (one.point == two.point).all() and one.difference == two.difference


@pytest.mark.parametrize("evaluations", [1, 7, 100, 1000])
def test_no_more_points_are_evaluated_than_allowed(evaluations):
    """The budget counts every point at which both functions are evaluated."""
    sides, box, seen = networks(net(0), net(1), (3, 4)), Box(-np.ones(12), np.ones(12)), []

    def counted(points):
        seen.append(len(points))
        return sides.differences(points)

    highest(
        type(sides)(counted, sides.replay, sides.directions, sides.suspects),
        box,
        effort=Effort(evaluations),
    )
    assert sum(seen) <= evaluations


def test_bad_input_is_told():
    """No budget, and a network that gives no number, are named."""
    with pytest.raises(ValueError, match="evaluations is 0"):
        Effort(0)
    broken = net(0)
    with torch.no_grad():
        broken[1].weight[0] = torch.nan
    with pytest.raises(ValueError, match="no number"):
        highest(networks(broken, net(0), (3, 4)), Box(-np.ones(12), np.ones(12)))
