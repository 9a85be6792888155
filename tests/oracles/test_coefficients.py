"""Coarsest coefficients: what is found is proved, what is impossible is so for every program."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oracles import masters
from oracles.claims import Affine, Box, Proved, Refuted, Unknown, gap_at, head_form
from oracles.closed_form import closed_form
from oracles.coefficients import CoefficientSearch
from oracles.masters import HighsMaster, Row, Space, Z3Master
from oracles.questions import Effort, Found, Grid, Impossible
from oracles.reach import least_left, reach_of

IDENTITY, RELU = head_form("identity"), head_form("relu")
LEAKY, STEEP = head_form("leaky_relu", {"slope": 0.25}), head_form("prelu", {"slope": 2.0})
CLIP, SIGMOID = head_form("clip", {"low": 0.0, "high": 1.0}), head_form("sigmoid")
TIGHT = (IDENTITY, RELU, LEAKY)


def unit_of(weights, bias=0.0, head=RELU):
    return Affine(np.array(weights, dtype=float), bias, head)


def cube(size, low=-1.0, high=1.0):
    return Box(np.full(size, low), np.full(size, high))


def least_errors(unit, box, grid, terms, *, beyond=2):
    """For 0 … terms taps, the least supremum of all programs of so many on a grid, by the closed
    form of each in floats; weights go up to the unit's largest and so far beyond it."""
    ends = np.abs(unit.weights).max() + beyond
    steps = round(ends / grid.step)
    line = np.arange(-steps, steps + 1) * grid.step
    mesh = np.array(list(product(line, repeat=len(unit.weights))))
    mesh = mesh[(mesh != 0).sum(1) <= terms]
    reach = float(np.abs(unit.weights).sum() * np.abs([box.lower, box.upper]).max()) + 2 * beyond
    biases = np.arange(-round(4 * reach / grid.step), round(4 * reach / grid.step) + 1)
    weights = np.repeat(mesh, len(biases), axis=0)
    offsets = np.tile(biases * grid.step / 4, len(mesh))
    slopes = np.array([unit.head.slopes])
    own = unit.weights[None], np.array([unit.bias]), slopes
    values = closed_form(own, (weights, offsets, slopes), box.lower, box.upper).values
    taps = (weights != 0).sum(1)
    return [float(values[taps <= count].min()) for count in range(terms + 1)]


@pytest.mark.parametrize("head", [*TIGHT, STEEP, CLIP], ids=lambda head: head.op)
def test_planted_units_are_found_on_their_grid(head):
    """Without error, a unit of quarters is on the grid of quarters and on no coarser one."""
    unit = unit_of([0.75, -1.5, 0.25, 0.0], 0.5, head)
    found = CoefficientSearch(unit, cube(4), Fraction(0)).coarsest()
    assert found.found and str(found.found.grid) == "1/4"
    assert (found.found.program.weights == unit.weights).all()
    assert found.found.program.bias == unit.bias and found.found.proof.bound == 0
    if head in TIGHT:
        assert isinstance(found.coarser, Impossible)


@settings(max_examples=25)
@given(
    st.lists(st.integers(-20, 20), min_size=2, max_size=2),
    st.integers(-12, 12),
    st.sampled_from(TIGHT),
    st.sampled_from([Fraction(1, 4), Fraction(1, 2), Fraction(9, 8)]),
    st.integers(0, 2),
)
def test_agrees_with_brute_force(weights, bias, head, epsilon, terms):
    """On each of a few grids a program is found where one exists, and else proved impossible."""
    unit = unit_of(np.array(weights) / 10, bias / 10, head)
    box, search = cube(2, -1.0, 0.5), CoefficientSearch(unit, cube(2, -1.0, 0.5), epsilon)
    for power in (-1, 0, 1):
        answer = search.on_grid(Grid(power), terms=terms)
        least = least_errors(unit, box, Grid(power), terms)[-1]
        assume(abs(least - float(epsilon)) > 1e-9)  # of what lies within rounding nothing is said
        assert isinstance(answer, Found if least < epsilon else Impossible), answer


@pytest.mark.parametrize("seed", range(4))
def test_three_taps_against_brute_force(seed):
    """The coarsest grid that is found is the coarsest that there is, for each number of taps."""
    generator = np.random.default_rng(seed)
    unit = unit_of(generator.normal(size=3).astype(np.float32), 0.25, TIGHT[seed % 3])
    box, epsilon = cube(3), Fraction(3, 4)
    search = CoefficientSearch(unit, box, epsilon)
    least = {power: least_errors(unit, box, Grid(power), 3, beyond=1) for power in (-1, 0, 1)}
    for terms in range(4):
        answer = search.coarsest(terms=terms)
        assert not isinstance(answer.coarser, Unknown)
        for power, errors in least.items():
            exists = errors[terms] < epsilon
            assert exists == (answer.found is not None and answer.found.grid.power <= power)


def test_what_is_found_is_proved_and_a_mutant_is_refuted():
    """A program stands with the closed form's proof; a turned sign or a smaller ε does not."""
    generator = np.random.default_rng(5)
    unit, box = unit_of(generator.normal(size=6), 0.5), cube(6)
    search = CoefficientSearch(unit, box, Fraction(1))
    found = search.coarsest().found
    assert found and isinstance(search.verdict(found.program), Proved)
    turned = Affine(-found.program.weights, found.program.bias, RELU)
    refuted = search.verdict(turned)
    assert isinstance(refuted, Refuted)
    seen = search.worst(turned, refuted)
    assert gap_at(unit, turned, seen.point) > 1
    assert (seen.point >= box.lower).all() and (seen.point <= box.upper).all()
    closer = CoefficientSearch(unit, box, found.proof.bound * Fraction(99, 100))
    assert isinstance(closer.verdict(found.program), Refuted)


def test_points_that_prove_it_are_in_the_domain():
    """What is impossible is so at the points alone: no small integers hold at all of them."""
    unit, box, epsilon = unit_of([0.7, -0.4, 0.9], 0.1), cube(3), Fraction(3, 10)
    answer = CoefficientSearch(unit, box, epsilon).on_grid(Grid(0))
    assert isinstance(answer, Impossible) and answer.grid == Grid(0)
    assert (answer.points >= box.lower).all() and (answer.points <= box.upper).all()
    if answer.solver:
        assert answer.trust == "solver"
        for weights in product(range(-2, 3), repeat=3):
            for bias in np.arange(-3, 3.25, 0.25):
                program = Affine(np.array(weights, dtype=float), float(bias), RELU)
                assert any(gap_at(unit, program, point) > epsilon for point in answer.points)


def test_too_few_taps_are_impossible_on_every_grid():
    """Taps that move a unit by more than 2ε together are not all left out, whatever the grid."""
    unit = unit_of([1.0, 1.0, 1.0, 0.25], 0.0)
    search = CoefficientSearch(unit, cube(4), Fraction(1, 2))
    assert search.least_terms() == 3
    answer = search.coarsest(terms=2)
    assert answer.found is None and isinstance(answer.coarser, Impossible)
    assert answer.coarser.grid is None and answer.coarser.trust == "checked"
    assert search.coarsest(terms=3).found
    assert search.coarsest(taps=[0, 1, 3]).found is None  # the third one is missed


def test_dead_and_half_dead_units():
    """A unit that is shut on all of the box is 0 on every grid; one that opens a little may keep
    fewer taps than its weights say."""
    dead = CoefficientSearch(unit_of([1.0, -1.0], -2.5), cube(2), Fraction(0))
    found = dead.coarsest(terms=0)
    assert found.found and found.coarser is None and not found.found.program.weights.any()
    ajar = CoefficientSearch(unit_of([1.0, -1.0], -1.5), cube(2), Fraction(1, 4))
    assert ajar.least_terms() == 0 and ajar.coarsest(terms=0).found
    assert (
        CoefficientSearch(unit_of([1.0, -1.0], -1.5, IDENTITY), cube(2), Fraction(1, 4))
        .coarsest(terms=1)
        .found
        is None
    )


@pytest.mark.parametrize("head", [CLIP, SIGMOID, STEEP, head_form("tanh")], ids=lambda h: h.op)
def test_heads_without_a_tight_bound(head):
    """Programs are found and proved; what is called impossible is not contradicted by one."""
    generator = np.random.default_rng(1)
    unit, box = unit_of(generator.normal(size=4), 0.25, head), cube(4)
    search = CoefficientSearch(unit, box, Fraction(1, 8))
    answer = search.coarsest()
    assert answer.found and answer.found.proof.bound <= Fraction(1, 8)
    if isinstance(answer.coarser, Impossible) and answer.coarser.grid:
        step, points = answer.coarser.grid.step, answer.coarser.points
        near = np.rint(unit.weights / step) * step
        program = Affine(near, float(np.rint(unit.bias / step) * step), head)
        assert not isinstance(search.verdict(program), Proved) and len(points)


def questions(count):
    """Small random questions with a choice of taps."""
    generator = np.random.default_rng(9)
    for _ in range(count):
        taps = int(generator.integers(1, 5))
        terms = int(generator.integers(0, taps + 1))
        moves = tuple(Fraction(int(n)) for n in generator.integers(0, 6, taps))
        dropped = Fraction(int(generator.integers(0, 8))) if generator.random() < 0.5 else None
        space = Space(((-4, 4),) * taps, terms, moves, dropped)
        rows = []
        for _ in range(int(generator.integers(1, 6))):
            factors = (*generator.integers(-5, 6, taps).tolist(), 1)
            low = int(generator.integers(-12, 10))
            rows.append(Row(factors, low, low + int(generator.integers(0, 8))))
        yield space, rows


def test_z3_and_highs_agree():
    """Both say of 100 small questions alike whether integers exist, and theirs meet every row."""
    kinds = set()
    for space, rows in questions(100):
        answers = []
        for master in (Z3Master(space, 10**7), HighsMaster(space, 1000)):
            for row in rows:
                master.add(row)
            answers.append(master.ask())
        assert (answers[0] is None) == (answers[1] is None)
        kinds.add(answers[0] is None)
        for found in answers:
            assert not isinstance(found, Unknown)
            if found is not None:
                assert all(row.holds(found) for row in rows)
                assert np.count_nonzero(found[:-1]) <= space.terms or not space.chooses
    assert kinds == {True, False}


def test_forty_taps_by_highs(monkeypatch):
    """Beyond Z3's size HiGHS finds programs that the nearest multiples miss; all are proved."""
    generator = np.random.default_rng(2)
    unit, box = unit_of(generator.normal(size=40), -12.0), cube(40)
    search = CoefficientSearch(unit, box, Fraction(4), effort=Effort(points=4, nodes=2))
    answer = search.coarsest()
    assert answer.found and isinstance(search.verdict(answer.found.program), Proved)
    monkeypatch.setattr(masters, "UNKNOWNS", 3)
    small = unit_of([0.7, -0.4, 0.9], -1.0)
    by_highs = CoefficientSearch(small, cube(3), Fraction(3, 10)).coarsest()
    monkeypatch.undo()
    by_z3 = CoefficientSearch(small, cube(3), Fraction(3, 10)).coarsest()
    assert by_highs.found and by_z3.found and by_highs.found.grid == by_z3.found.grid


def test_effort_ends_honestly_and_repeatably():
    """Too little of it gives Unknown, twice alike."""
    unit, box = unit_of(np.random.default_rng(4).normal(size=8), 0.5), cube(8)
    few = [
        CoefficientSearch(unit, box, Fraction(1), effort=Effort(steps=10)).coarsest()
        for _ in range(2)
    ]
    assert isinstance(few[0].coarser, Unknown) and few[0].coarser == few[1].coarser
    none = CoefficientSearch(unit, box, Fraction(1), effort=Effort(points=0)).coarsest()
    assert isinstance(none.coarser, Unknown) and "counterexamples" in none.coarser.reason


@pytest.mark.parametrize("op", ["abs", "gelu", "silu", "hardswish"])
def test_heads_that_fall_are_refused(op):
    """Where a head falls somewhere, conditions at points are no intervals: the head is named."""
    with pytest.raises(ValueError, match=op):
        CoefficientSearch(unit_of([1.0], 0.0, head_form(op)), cube(1), Fraction(1))
    with pytest.raises(ValueError, match="epsilon is -1"):
        CoefficientSearch(unit_of([1.0]), cube(1), Fraction(-1))


EDGE = unit_of([0.75, -0.75], 0.0, IDENTITY), cube(2), Fraction(1, 2)
"""A unit whose nearest program on the grid of 1 is off by exactly 1/2 in a corner."""


def keeps_to_the_edge():
    """At exactly ε there is a program; a hundredth below it there is none, and coarser there is
    none."""
    unit, box, epsilon = EDGE
    found = CoefficientSearch(unit, box, epsilon).on_grid(Grid(0))
    below = CoefficientSearch(unit, box, epsilon * Fraction(99, 100)).on_grid(Grid(0))
    coarser = CoefficientSearch(unit, box, epsilon).on_grid(Grid(-1))
    whole = isinstance(found, Found) and (found.program.weights % 1 == 0).all()
    return whole and isinstance(below, Impossible) and isinstance(coarser, Impossible)


def test_the_edge_of_what_is_possible():
    assert keeps_to_the_edge()


def strict(self, unit, box, epsilon, *, make=CoefficientSearch.__init__, **options):
    make(self, unit, box, epsilon * Fraction(99, 100), **options)


def lax(self, unit, box, epsilon, *, make=CoefficientSearch.__init__, **options):
    make(self, unit, box, epsilon * Fraction(102, 100), **options)


@pytest.mark.parametrize(
    ("where", "name", "broken"),
    [
        (Grid, "step", property(lambda grid: 2.0 ** -(grid.power + 1))),
        (Grid, "step", property(lambda grid: 2.0 ** -(grid.power - 1))),
        (CoefficientSearch, "__init__", strict),
        (CoefficientSearch, "__init__", lax),
    ],
    ids=["finer grid", "coarser grid", "epsilon 1 % too small", "epsilon 2 % too large"],
)
def test_mutants_are_caught(where, name, broken, monkeypatch):
    """A grid off by one and an ε that is a little off are seen at the edge."""
    monkeypatch.setattr(where, name, broken)
    assert not keeps_to_the_edge()


@settings(max_examples=60)
@given(
    st.lists(st.integers(-16, 16), min_size=2, max_size=2),
    st.integers(-10, 20),
    st.sampled_from(TIGHT),
    st.fractions(Fraction(1, 8), Fraction(2), max_denominator=16),
    st.integers(0, 2),
    st.integers(-1, 1),
)
def test_bounds_without_a_search_never_rule_out_a_program(
    weights, bias, head, epsilon, terms, power
):
    """Where a program lies within ε by brute force, the bound leaves room for it."""
    unit, box = unit_of(np.array(weights) / 8, bias / 8, head), cube(2, -0.5, 1.0)
    left = least_left(unit, reach_of(unit, box), epsilon, (0, 1), terms, Fraction(Grid(power).step))
    if left > 2 * epsilon:
        assert least_errors(unit, box, Grid(power), terms)[-1] >= float(epsilon) - 1e-9


def test_the_bound_without_a_search_is_tight_at_the_edge():
    unit, box, epsilon = EDGE
    given = unit, reach_of(unit, box), epsilon, (0, 1)
    assert least_left(*given, 2, Fraction(1)) == 1  # that is 2ε
    assert least_left(*given, 1, Fraction(1)) == 2
