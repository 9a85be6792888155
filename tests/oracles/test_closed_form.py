from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from oracles.claims import (
    Affine,
    AffineBank,
    Box,
    Pairing,
    Proved,
    Refuted,
    gap_at,
    head_form,
    pair_heads,
)
from oracles.closed_form import bound_units, closed_form, exact_bound, snap
from oracles.prove import prove_layer

RELU = head_form("relu")
TWO_SLOPE = (
    head_form("identity"),
    RELU,
    head_form("abs"),
    head_form("leaky_relu", {"slope": 0.01}),
    head_form("prelu", {"slope": 0.3}),
    head_form("prelu", {"slope": -0.4}),
)
LIPSCHITZ = (
    head_form("clip", {"low": 0.0, "high": 6.0}),
    head_form("sigmoid"),
    head_form("tanh"),
    head_form("gelu"),
    head_form("silu"),
    head_form("hardsigmoid"),
    head_form("hardswish"),
    head_form("prelu", {"slope": 1.7}),
)


def random_pairs(rng, units, inputs, heads=TWO_SLOPE):
    """Units, programs (near, far, sparse, negated) and one box a unit, some of zero width."""
    weights = rng.normal(size=(units, inputs)).astype(np.float32).astype(np.float64)
    noise = rng.choice([0.0, 0.05, 1.0], size=(units, 1)) * rng.normal(size=(units, inputs))
    near = np.round((weights + noise) * 64) / 64 * rng.choice([1, 1, -1], size=(units, 1))
    near[rng.random((units, inputs)) < 0.2] = 0.0
    biases = rng.normal(size=units)
    others = biases + 0.3 * rng.normal(size=units)
    lower = rng.normal(size=(units, inputs))
    upper = lower + np.abs(rng.normal(size=(units, inputs))) * (rng.random((units, inputs)) < 0.9)
    pairs = list(product(heads, heads))
    drawn = [pairs[k % len(pairs)] for k in range(units)]
    first, second = tuple(u for u, _ in drawn), tuple(p for _, p in drawn)
    return (
        AffineBank(weights, biases, first),
        AffineBank(near, others, second),
        Box(lower, upper),
    )


def head_values(affine, points):
    values = points @ affine.weights + affine.bias
    return np.maximum(affine.head.slopes[0] * values, affine.head.slopes[1] * values)


def brute_force(unit, program, box):
    """The maximum over all edges of the box: their ends and where a pre-activation changes sign."""
    points = []
    for free in range(box.lower.size):
        sides = [
            (low, high) if column != free else (0.0,)
            for column, (low, high) in enumerate(zip(box.lower, box.upper, strict=True))
        ]
        for corner in product(*sides):
            base = np.array(corner)
            ends = [box.lower[free], box.upper[free]]
            for affine in (unit, program):
                if affine.weights[free]:
                    zero = -(affine.weights @ base + affine.bias) / affine.weights[free]
                    ends.append(np.clip(zero, box.lower[free], box.upper[free]))
            for end in ends:
                base[free] = end
                points.append(base.copy())
    stacked = np.array(points)
    return np.abs(head_values(unit, stacked) - head_values(program, stacked)).max()


def linear_program(unit, program, box):
    """max over signs and slopes of an LP: z <= s·a − m·a' for both slopes m of the other head."""
    best = -np.inf
    for outer, inner in ((unit, program), (program, unit)):
        for s in outer.head.slopes:
            rows = [[*(m * inner.weights - s * outer.weights), 1.0] for m in inner.head.slopes]
            limits = [s * outer.bias - m * inner.bias for m in inner.head.slopes]
            bounds = [*zip(box.lower, box.upper, strict=True), (None, None)]
            goal = np.zeros(box.lower.size + 1)
            goal[-1] = -1.0
            solved = linprog(goal, A_ub=rows, b_ub=limits, bounds=bounds, method="highs")
            best = max(best, -solved.fun)
    return best


@pytest.mark.parametrize("inputs", [1, 2, 3, 4])
def test_equals_brute_force(inputs):
    """For all pairs of slopes the bound is the supremum, and the worst point attains it."""
    units, programs, box = random_pairs(np.random.default_rng(inputs), 108, inputs)
    bounds, _ = bound_units(units, programs, box)
    for index, value in enumerate(bounds.values):
        pair = units[index], programs[index]
        truth = brute_force(*pair, box.of_unit(index))
        assert value == pytest.approx(truth, rel=1e-9, abs=1e-12)
        assert float(gap_at(*pair, bounds.points[index])) == pytest.approx(
            truth, rel=1e-9, abs=1e-12
        )


def test_equals_linear_programming():
    """At n = 30 the bound is the optimum that a linear program finds, and is attained."""
    units, programs, box = random_pairs(np.random.default_rng(5), 72, 30)
    bounds, _ = bound_units(units, programs, box)
    for index, value in enumerate(bounds.values):
        pair = units[index], programs[index]
        assert value == pytest.approx(linear_program(*pair, box.of_unit(index)), rel=1e-7)
        assert float(gap_at(*pair, bounds.points[index])) == pytest.approx(value, rel=1e-9)


def test_worst_points_lie_in_the_box_and_are_almost_vertices():
    """A worst point leaves the box's vertices in one coordinate at most."""
    units, programs, box = random_pairs(np.random.default_rng(6), 200, 40)
    points = bound_units(units, programs, box)[0].points
    assert ((points >= box.lower) & (points <= box.upper)).all()
    assert ((points != box.lower) & (points != box.upper)).sum(axis=1).max() <= 1


def test_no_sample_exceeds_the_bound():
    """For every head, monotone ones included, samples stay below the bound."""
    rng = np.random.default_rng(7)
    for head in (*TWO_SLOPE, *LIPSCHITZ):
        units, programs, box = random_pairs(rng, 12, 9, (head,))
        bounds, pairings = bound_units(units, programs, box)
        for index, value in enumerate(bounds.values):
            pair, place = (units[index], programs[index]), box.of_unit(index)
            assert isinstance(pairings[index], Pairing)
            for share in rng.random((20, 9)).round():
                point = place.lower + share * (place.upper - place.lower)
                assert float(gap_at(*pair, point)) <= value * (1 + 1e-12) + 1e-12


def test_any_multiplier_is_sound_and_the_found_one_is_best():
    """Random multipliers bound the difference from above, none of them below the found ones."""
    rng = np.random.default_rng(8)
    units, programs, box = random_pairs(rng, 72, 6)
    bounds, pairings = bound_units(units, programs, box)
    for index, pairing in enumerate(pairings):
        place, pair = box.of_unit(index), (units[index], programs[index])
        found = exact_bound(*pair, place, snap(bounds.multipliers[index], pairing, bits=None))
        reached = gap_at(*pair, bounds.points[index])
        assert float(found) == pytest.approx(bounds.values[index], rel=1e-12, abs=1e-14)
        assert found >= reached
        for _ in range(4):
            spans = [pairing.program] * 2 + [pairing.unit] * 2
            drawn = [Fraction(min(max(rng.uniform(lo, hi), lo), hi)) for lo, hi in spans]
            assert exact_bound(*pair, place, drawn, pairing) >= found - Fraction(1, 10**12)
            assert exact_bound(*pair, place, drawn, pairing) >= reached


def test_short_multipliers_are_short_and_inside():
    """Snapped multipliers are multiples of 2^-20, or an end of the interval."""
    units, programs, box = random_pairs(np.random.default_rng(9), 100, 8)
    bounds, pairings = bound_units(units, programs, box)
    for row, pairing in zip(bounds.multipliers, pairings, strict=True):
        spans = [pairing.program] * 2 + [pairing.unit] * 2
        for multiplier, (lo, hi) in zip(snap(row, pairing), spans, strict=True):
            assert lo <= multiplier <= hi
            assert multiplier in (Fraction(lo), Fraction(hi)) or 2**20 % multiplier.denominator == 0


def test_a_multiplier_outside_its_interval_is_refused():
    """exact_bound does not extrapolate, and wants four multipliers."""
    affine, box = Affine(np.ones(1), 0.0, RELU), Box(np.zeros(1), np.ones(1))
    with pytest.raises(ValueError, match="outside"):
        exact_bound(affine, affine, box, [Fraction(2)] * 4)
    with pytest.raises(ValueError, match="expected 4"):
        exact_bound(affine, affine, box, [Fraction(1)] * 3)
    with pytest.raises(ValueError, match="no bound joins"):
        exact_bound(affine, Affine(np.ones(1), 0.0, LIPSCHITZ[1]), box, [Fraction(1)] * 4)


small = st.sampled_from([0.0, 0.0, 1.0, -1.0, 0.5, -2.0, 3.0])


@st.composite
def degenerate_pairs(draw):
    """Few distinct numbers: zero programs and weights, equal ratios, flat boxes, stable units."""
    size = draw(st.integers(1, 4))
    row = st.lists(small, min_size=size, max_size=size).map(np.array)
    heads = st.sampled_from(TWO_SLOPE)
    lower, width = draw(row), np.abs(draw(row)) * draw(st.sampled_from([0.0, 1.0, 1.0]))
    unit = Affine(draw(row), draw(small) * draw(st.sampled_from([1, 10])), draw(heads))
    program = Affine(draw(row), draw(small), draw(heads))
    return unit, program, Box(lower, lower + width)


def as_bank(affine):
    return AffineBank(affine.weights[None], np.array([affine.bias]), (affine.head,))


@settings(max_examples=200)
@given(degenerate_pairs())
def test_degenerate_pairs(case):
    """Ties, zeros and flat boxes change nothing: bound, brute force and worst point agree."""
    unit, program, box = case
    bounds, pairings = bound_units(as_bank(unit), as_bank(program), box)
    assert isinstance(pairings[0], Pairing)
    truth = brute_force(unit, program, box)
    assert bounds.values[0] == pytest.approx(truth, abs=1e-12)
    assert float(gap_at(unit, program, bounds.points[0])) == pytest.approx(truth, abs=1e-12)
    exact = exact_bound(unit, program, box, snap(bounds.multipliers[0], pairings[0]))
    assert float(exact) == pytest.approx(truth, rel=1e-5, abs=1e-5)
    assert exact >= gap_at(unit, program, bounds.points[0])


@settings(max_examples=150)
@given(st.lists(st.floats(-1e300, 1e300), min_size=8, max_size=8))
def test_wild_magnitudes_stay_sound(numbers):
    """Overflow in floats gives at worst Unknown: what is proved or refuted is exact."""
    unit = Affine(np.array(numbers[:2]), numbers[2], RELU)
    program = Affine(np.array(numbers[3:5]), numbers[5], RELU)
    box = Box(np.array([-1.0, 0.0]), np.abs(numbers[6:]))
    (verdict,) = prove_layer(as_bank(unit), as_bank(program), box, [Fraction(10**290)])
    corners = product(*zip(box.lower, box.upper, strict=True))
    reached = max(gap_at(unit, program, np.array(corner)) for corner in corners)
    assert not (isinstance(verdict, Proved) and reached > 10**290)
    if isinstance(verdict, Refuted):
        assert gap_at(unit, program, verdict.counterexample) > 10**290


def test_one_unit_against_many_candidates():
    """Leading axes of 1 broadcast, and chunking changes nothing."""
    rng = np.random.default_rng(10)
    one = rng.normal(size=(1, 700)), rng.normal(size=1), np.array([[0.0, 1.0]])
    many = rng.normal(size=(900, 700)), rng.normal(size=900), np.array([[0.0, 1.0]])
    together = closed_form(one, many, -np.ones(700), np.ones(700))
    for index in (0, 373, 374, 899):
        alone = closed_form(
            one, (many[0][[index]], many[1][[index]], many[2]), -np.ones(700), np.ones(700)
        )
        assert together.values[index] == pytest.approx(alone.values[0], rel=1e-13)
        assert together.points[index].tolist() == alone.points[0].tolist()


def test_a_layer_is_decided_around_its_supremum():
    """Just above the supremum all is proved and checked; just below, refuted and replayed."""
    units, programs, box = random_pairs(np.random.default_rng(11), 144, 12)
    values = [Fraction(float(v)) for v in bound_units(units, programs, box)[0].values]
    tiny = Fraction(1, 10**9)
    above = prove_layer(units, programs, box, [v * (1 + tiny) + tiny for v in values])
    under = prove_layer(units, programs, box, [v * (1 - tiny) - tiny for v in values])
    for index, (proved, refuted) in enumerate(zip(above, under, strict=True)):
        pair, place = (units[index], programs[index]), box.of_unit(index)
        assert isinstance(proved, Proved)
        assert proved.trust == "checked"
        assert proved.certificate is not None
        again = exact_bound(*pair, place, proved.certificate.multipliers)
        assert again == proved.bound <= values[index] * (1 + tiny) + tiny
        assert isinstance(refuted, Refuted)
        assert gap_at(*pair, refuted.counterexample) >= Fraction(refuted.difference)
        assert refuted.difference > values[index] * (1 - tiny) - tiny


def test_planted_differences_have_their_known_size():
    """A program that drops one weight differs by that weight times the input's reach, exactly."""
    rng = np.random.default_rng(12)
    weights = np.round(rng.normal(size=(50, 20)) * 256) / 256
    programs = weights.copy()
    programs[:, 0] = 0.0
    heads = (RELU,) * 50
    box, biases = Box(-np.ones(20), np.ones(20)), np.full(50, 100.0)  # all units are active
    known = [abs(Fraction(w)) for w in weights[:, 0]]
    banks = AffineBank(weights, biases, heads), AffineBank(programs, biases, heads)
    verdicts = prove_layer(*banks, box, known)
    assert [v.bound for v in verdicts if isinstance(v, Proved)] == known
    less = [k - Fraction(1, 2**60) for k in known]
    assert all(isinstance(v, Refuted) for v in prove_layer(*banks, box, less))


def test_heads_with_a_lipschitz_constant_are_proved_by_cells():
    """At that constant there is a proof, with covers; at half of it, if they differ by less."""
    for head in LIPSCHITZ:
        unit = Affine(np.array([20.0]), 3.0, head)
        program = Affine(np.array([20.0]), 4.0, head)
        banks, box = (as_bank(unit), as_bank(program)), Box(np.array([-1.0]), np.array([1.0]))
        (wide,) = prove_layer(*banks, box, [Fraction(head.lipschitz)])
        assert isinstance(wide, Proved)
        assert wide.certificate is not None
        assert wide.trust == "checked" and len(wide.certificate.covers) == 2
        assert wide.bound <= Fraction(head.lipschitz)
        (narrow,) = prove_layer(*banks, box, [Fraction(head.lipschitz) * Fraction(1, 2)])
        assert isinstance(narrow, Refuted if differ_by_half((unit, program)) else Proved)


def differ_by_half(pair):
    """Whether two units over [-1, 1] differ by more than half of their Lipschitz constant."""
    points = np.linspace(-1, 1, 201)[:, None]
    most = max(float(gap_at(*pair, point)) for point in points)
    return most > pair[0].head.lipschitz / 2


def test_heads_of_two_forms_are_bounded_too():
    """A ReLU program of a sigmoid unit has covers, and its neighbour multipliers."""
    heads = (head_form("sigmoid"), RELU)
    units = AffineBank(np.ones((2, 1)), np.zeros(2), heads)
    programs = AffineBank(np.ones((2, 1)), np.zeros(2), (RELU, RELU))
    box = Box(np.zeros(1), np.ones(1))
    first, second = prove_layer(units, programs, box, [Fraction(1)] * 2)
    assert isinstance(first, Proved)
    assert first.certificate and len(first.certificate.covers) == 2
    assert Fraction(1, 2) <= first.bound < Fraction(51, 100)  # at 0
    assert isinstance(second, Proved)
    assert second.bound == 0
    assert second.certificate and len(second.certificate.multipliers) == 4


def test_sizes_must_match():
    """One program and one epsilon a unit, or an error that says so."""
    bank = AffineBank(np.ones((2, 1)), np.zeros(2), (RELU, RELU))
    with pytest.raises(ValueError, match="one epsilon a unit"):
        prove_layer(bank, bank, Box(np.zeros(1), np.ones(1)), [Fraction(1)])


def test_pairing_is_symmetric():
    """Exchanging unit and program exchanges the problems and keeps the bound."""
    units, programs, box = random_pairs(np.random.default_rng(13), 72, 5)
    forth, back = bound_units(units, programs, box)[0], bound_units(programs, units, box)[0]
    assert forth.values == pytest.approx(back.values, rel=1e-12)
    assert forth.problems[:, [2, 3, 0, 1]] == pytest.approx(back.problems, rel=1e-12, abs=1e-12)
    assert pair_heads(units.heads[1], programs.heads[1]) is not None
