"""The multiplier that buys most: few walks, the fewest bits that select accepts, or the least
divergence within a share of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.choice import Point
from synth.multiplier import search_bits, search_multiplier
from synth.picking import Criteria
from synth.preference import best_of

CRITERIA = Criteria(max_fvu=0.05, max_error=0.25, max_kl=0.01, min_agreement=0.99)


def toy(points: Sequence[tuple[float, int, float, float]], opaque: int = 0):
    """`at` of a network that needs so many bits per nat for each step, beside some opaque ones."""
    beside: Any = SimpleNamespace(units=[SimpleNamespace(program=None, bits=opaque)])
    asked: list[float] = []

    def at(multiplier: float) -> Point:
        asked.append(multiplier)
        row = [p for p in points if p[0] <= multiplier][-1]
        return Point(multiplier, (beside,), row[1] + opaque, row[2], row[3])

    return at, asked


STEPS = [(0.0, 10, 1.0, 0.5), (3e2, 20, 0.1, 0.9), (7e4, 30, 0.009, 0.995), (1e8, 90, 0.001, 1.0)]


def test_the_multiplier_finds_the_fewest_bits():
    """The last point has the fewest bits of all that select accepts."""
    at, asked = toy(STEPS)
    points = search_multiplier(at, CRITERIA)
    assert points[-1].bits == 30 and points[-1].accepted(CRITERIA)
    assert sorted(p.multiplier for p in points) == sorted(asked)
    assert len(asked) <= 13


def test_opaque_layers_do_not_end_the_search():
    """However much is opaque, the programs beside it are chosen as they are alone."""
    (alone, _), (beside, _) = toy(STEPS), toy(STEPS, opaque=10**9)
    wanted = [p.multiplier for p in search_multiplier(alone, CRITERIA)]
    found = search_multiplier(beside, CRITERIA)
    assert [p.multiplier for p in found] == wanted and found[-1].spoken == 30


def test_the_multiplier_is_bisected():
    """The limit between refused and accepted is found to a factor of 1.01 wherever it lies."""
    for limit in (3e1, 4e4, 7e8):

        def at(multiplier: float, limit: float = limit) -> Point:
            return Point(
                multiplier, (), int(1e6 * np.log(multiplier)), limit / multiplier / 100, 1.0
            )

        chosen = search_multiplier(at, CRITERIA)[-1]
        assert limit <= chosen.multiplier <= 1.01 * limit


def test_the_multiplier_where_nothing_may_be_lost():
    """Where no divergence at all is allowed, the fewest bits without any are found."""

    def at(multiplier: float) -> Point:
        lost = 0.0 if multiplier >= 3e5 else 1.0 / multiplier
        return Point(multiplier, (), int(1e3 * np.log(multiplier)), lost, 1.0)

    points = search_multiplier(at, replace(CRITERIA, max_kl=0.0))
    assert 3e5 <= points[-1].multiplier <= 1.05 * 3e5


def test_the_multiplier_where_nothing_is_accepted():
    """Where select accepts nothing the point of least divergence is chosen."""
    at, asked = toy([(p[0], p[1], 2 * p[2] + 0.1, 0.5) for p in STEPS])
    points = search_multiplier(at, CRITERIA)
    assert points[-1].kl == min(p.kl for p in points)
    assert asked == [1e9]


@pytest.mark.parametrize("opaque", [0, 10**9])
@pytest.mark.parametrize("bits", [300_000, 5_000_000, 17_000_000])
def test_the_least_divergence_within_bits(bits, opaque):
    """Wherever a limit of bits lies, what is chosen takes at most so many, and nearly all; what is
    opaque beside it is no slack."""
    beside: Any = SimpleNamespace(units=[SimpleNamespace(program=None, bits=opaque)])

    def at(multiplier: float) -> Point:
        spoken = int(1e6 * np.log(multiplier)) - 2_300_000
        return Point(multiplier, (beside,), opaque + spoken, 1 / multiplier, 0.0)

    *_, chosen = points = search_bits(at, opaque + bits)
    assert bits - max(10_000, 0.003 * bits) <= chosen.spoken <= bits
    assert chosen.kl == min(p.kl for p in points if p.spoken <= bits)


def test_no_search_where_all_that_is_known_has_few_enough_bits():
    """Where the dearest programs are within the limit they are chosen after two walks."""
    at, asked = toy(STEPS)
    *_, chosen = search_bits(at, 100)
    assert chosen.bits == 90 and len(asked) == 2


def test_the_fewest_bits_where_none_are_few_enough():
    """Where no multiplier gives so few bits the point of fewest is chosen."""
    at, _ = toy(STEPS)
    *_, chosen = points = search_bits(at, 1)
    assert chosen.bits == min(p.bits for p in points) > 1


@pytest.mark.parametrize(
    ("kl", "share", "accepted"),
    [(0.01, 0.99, True), (0.0101, 1.0, False), (0.0, 0.98, False), (float("inf"), 1.0, False)],
)
def test_acceptance_needs_both(kl, share, accepted):
    """A point is accepted by divergence and by agreement, limits included."""
    assert Point(1.0, (), 1, kl, share).accepted(CRITERIA) is accepted


@pytest.mark.parametrize(("floor", "limit"), [(0.0, 4e4), (0.005, 2e6), (0.0095, 1e4)])
def test_few_walks_find_the_multiplier_of_many_units(floor: float, limit: float):
    """Of 3,000 units that each choose among costs, beyond what is lost in any case, hardly more
    bits are kept than the best multiplier of a fine grid would, in half the steps of bisection."""
    generator = np.random.default_rng(0)
    costs = generator.lognormal(0, 1, (3000, 1)) / limit * 4.0 ** -np.arange(16)
    bits = np.broadcast_to(30 * np.arange(16), costs.shape)

    def at(multiplier: float) -> Point:
        best = np.argmin(bits + multiplier * costs, axis=1)[:, None]
        kl, size = (float(np.take_along_axis(a, best, 1).sum()) for a in (costs, bits))
        return Point(multiplier, (), int(size), floor + kl, 1.0)

    points = search_multiplier(at, CRITERIA)
    grid = [at(m) for m in np.geomspace(1e1, 1e9, 3000)]
    fewest = min(p.bits for p in grid if p.accepted(CRITERIA))
    assert points[-1].accepted(CRITERIA) and points[-1].bits <= 1.005 * fewest
    assert len(points) <= 8


def test_a_staircase_is_searched_below_its_limit():
    """Where divergence jumps over the limit and falls again below it, the cheaper points are found;
    where agreement refuses, divergence is no reason to go on."""
    steps = [
        (0.0, 10, 1.0, 0.5),
        (7e4, 28, 0.009, 1.0),
        (8e4, 29, 0.02, 1.0),
        (1e5, 30, 0.009, 1.0),
    ]
    points = search_multiplier(toy([*steps, (1e8, 90, 0.001, 1.0)])[0], CRITERIA)
    assert points[-1].bits == 28 and len(points) == 13
    smooth = [(0.0, 10, 1e-3, 0.5), (1e5, 30, 1e-3, 1.0), (1e8, 90, 1e-4, 1.0)]
    at, asked = toy(smooth)
    assert search_multiplier(at, CRITERIA)[-1].bits == 30
    assert min(m for m in asked if m >= 1e5) <= 1.01e5


def valley(bottom: float, *, kept: bool = False) -> Callable[[float], Point]:
    """`at` of a network that has fewest bits at one multiplier: below, units find programs that are
    longer, or none and keep their weights."""

    def at(multiplier: float) -> Point:
        away = math.log10(multiplier / bottom)
        bits, lost = int(1000 + 100 * max(away, 0)), int(150 * max(-away, 0))
        units = [SimpleNamespace(program=None if kept else "longer", bits=lost)]
        beside: Any = SimpleNamespace(units=units)
        return Point(multiplier, (beside,), bits + lost, 1 / multiplier, 1.0)

    return at


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("bottom", [2e2, 1e4, 3e5, 2e7])
def test_a_loose_limit_ends_in_the_valley(bottom: float, kept: bool):
    """Where all is accepted, and bits grow again where little is paid for a nat, a point near to
    the fewest bits is chosen, in no more walks than a limit takes: both ends are dominated."""
    at = valley(bottom, kept=kept)
    points = search_multiplier(at, replace(CRITERIA, max_kl=10.0))
    assert points[-1].bits <= 1060 < min(at(1e1).bits, at(1e9).bits) and len(points) <= 8


def test_units_that_keep_their_weights_are_a_sign():
    """Bits are fewer at the limit than at all that was tried above it, and fewer still between,
    where no unit keeps its weights; where bits grow with the multiplier no walk is spent."""
    limit = replace(CRITERIA, max_kl=1.0 / 2e3)
    sought = [search_multiplier(valley(b, kept=True), limit) for b in (1e5, 1e1)]
    valley_point, plain = (points[-1] for points in sought)
    assert valley_point.bits <= 1060 < valley(1e5)(2e3).bits
    assert plain.multiplier <= 2.03e3 and len(sought[1]) <= len(sought[0]) <= 8


@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from([0.0, 0.01, 0.02]), st.booleans())),
    st.integers(0, 7) | st.none(),
)
def test_no_choice_is_dominated(rows: list[tuple[int, float, bool]], most: int | None):
    """No point that was tried, and may be chosen, has fewer bits at no more KL, or less KL at no
    more bits."""
    criteria = replace(CRITERIA, most_bits=most)
    points = [Point(1.0, (), bits, kl, float(agrees)) for bits, kl, agrees in [(9, 1.0, 0), *rows]]
    best = best_of(points, criteria)
    judged = most is None and best.accepted(criteria)
    able = [p for p in points if p.accepted(criteria)] if judged else points
    same = best.bits, best.kl
    others = (p for p in able if (p.bits, p.kl) != same)
    assert not any(p.bits <= best.bits and p.kl <= best.kl for p in others)
