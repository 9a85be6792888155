"""A curve is walked where bits change, and a choice from it is the best of all that was tried."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from synth.choice import Point
from synth.multiplier import DEAREST, MULTIPLIERS
from synth.picking import Criteria
from synth.spread import POINTS, search_curve, spread

CRITERIA = Criteria(max_fvu=0.05, max_error=0.25, max_kl=math.inf, min_agreement=0.0)
PROGRAMS: Any = ("programs",)


def rising(multiplier: float) -> Point:
    """Bits grow from 1e4 to 1e7 alone; the divergence falls everywhere."""
    steps = min(max(math.log10(multiplier), 4.0), 7.0) - 4.0
    agreement = 1 - 0.1 / (1 + steps)
    return Point(multiplier, PROGRAMS, int(1000 + 1000 * steps), 1 / multiplier, agreement)


def valley(multiplier: float) -> Point:
    """Fewest bits at 1e6: below, units keep their weights."""
    away = abs(math.log10(multiplier) - 6.0)
    return Point(multiplier, (), int(1000 + 300 * away), 1 / multiplier, 1.0)


def test_points_stand_where_bits_change() -> None:
    """Both ends are there, and most points divide the range in which bits grow."""
    points = spread(rising, 12)
    places = [p.multiplier for p in points]
    assert len(set(places)) == 12 and places == sorted(places)
    assert (places[0], places[-1]) == (MULTIPLIERS[0], DEAREST)
    assert sum(1e4 < m < 1e7 for m in places) >= 7
    assert max(b.bits / a.bits for a, b in pairwise(points)) < 1.4 and not any(
        p.choices for p in points
    )


def test_a_staircase_has_as_many_points() -> None:
    """A step that no multiplier divides is not walked for ever, nor is a network of one choice."""

    def step(multiplier: float) -> Point:
        return Point(multiplier, (), 10 if multiplier < 2e5 else 90, 0.1, 1.0)

    for at in (step, lambda m: Point(m, (), 10, 0.1, 1.0)):
        places = [p.multiplier for p in spread(at, 30)]
        assert len(set(places)) == 30
        widths = [math.log(b / a) for a, b in pairwise(places)]
        assert min(widths) > 1e-3


@pytest.mark.parametrize("limit", [1e-5, 3e-6, 1e-7])
def test_the_fewest_bits_within_a_limit(limit: float) -> None:
    """The chosen point holds, has its programs, and one of a twentieth less bits would not."""
    *others, chosen = search_curve(rising, replace(CRITERIA, max_kl=limit))
    assert chosen.kl <= limit and chosen.choices is PROGRAMS
    assert len(others) + 1 <= POINTS + 6 and not any(p.choices for p in others)
    assert chosen.bits <= 1.05 * rising(1 / limit).bits


@pytest.mark.parametrize("bits", [1000, 1900, 3400, 10_000])
def test_the_least_divergence_within_bits(bits: int) -> None:
    """The chosen point has so few bits, and nearly as many as it may."""
    *_, chosen = search_curve(rising, replace(CRITERIA, most_bits=bits))
    assert min(0.95 * bits, 4000) <= chosen.bits <= bits
    assert bits < 4000 or chosen.multiplier == DEAREST


def test_a_valley_is_found() -> None:
    """Where bits rise at both ends, the fewest are in the middle."""
    assert search_curve(valley, CRITERIA)[-1].bits <= 1050
    nothing = search_curve(valley, replace(CRITERIA, most_bits=10))
    assert nothing[-1].bits == min(p.bits for p in nothing) <= 1050
    assert search_curve(valley, replace(CRITERIA, max_kl=1e-30))[-1].multiplier == DEAREST
