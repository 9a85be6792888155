"""Zonotopes in the plane: how far they reach, what cuts off a point, and how a point is reached."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracles.zonotope import AXES, Zonotope

coordinates = st.integers(-6, 6) | st.integers(-(2**70), 2**70)
near = st.integers(-6, 6) | st.integers(-(2**20), 2**20)  # floats tell such directions apart
points = st.tuples(coordinates, coordinates)
fractions = st.builds(Fraction, coordinates, st.sampled_from([1, 3, 8]))


@st.composite
def zonotopes(draw: st.DrawFn, vectors: st.SearchStrategy = points) -> Zonotope:
    """Up to six generators: none, zeros, parallel ones and very long ones among them."""
    return Zonotope(draw(st.lists(vectors, max_size=6)), draw(st.tuples(fractions, fractions)))


def corners(zonotope: Zonotope) -> list[tuple[Fraction, Fraction]]:
    """All sums of generators with signs: the corners are among them."""
    found = []
    for signs in product((-1, 1), repeat=len(zonotope.generators)):
        parts = [(s * a, s * d) for s, (a, d) in zip(signs, zonotope.generators, strict=True)]
        sums = (sum(p[axis] for p in parts) for axis in (0, 1))
        found.append(tuple(c + s for c, s in zip(zonotope.center, sums, strict=True)))
    return found


def along(normal: tuple[int, int], point: tuple[Fraction, Fraction]) -> Fraction:
    return normal[0] * point[0] + normal[1] * point[1]


@given(zonotopes(), points)
def test_it_reaches_as_far_as_its_corners(zonotope, normal):
    """In every direction the farthest corner is exactly at the reach from the center."""
    farthest = max(along(normal, corner) for corner in corners(zonotope))
    assert zonotope.reach(normal) == farthest - along(normal, zonotope.center)


@given(zonotopes(), st.tuples(fractions, fractions))
def test_what_lies_outside_lies_beyond_its_side(zonotope, point):
    """A point that some side or axis leaves out by more than rounding lies beyond the side that is
    named; a corner lies beyond none."""
    sides = [(d, -a) for a, d in zonotope.generators if a or d]
    size = sum(abs(a) + abs(d) for a, d in zonotope.generators) + sum(map(abs, point)) + 1
    beyond = max(zonotope.beyond(n, point) / sum(map(abs, n)) for n in (*sides, *AXES))
    if beyond > (size + sum(map(abs, zonotope.center))) / 10**9:
        assert zonotope.beyond(zonotope.side(point), point) > 0
    for corner in corners(zonotope):
        assert all(zonotope.beyond(n, corner) <= 0 for n in (*sides, zonotope.side(corner)))


@given(zonotopes(st.tuples(near, near)), st.lists(st.integers(-8, 8), min_size=6, max_size=6))
def test_shares_lead_to_the_point(zonotope, eighths):
    """The shares lie in [-1, 1] and give back a point that is made of any others."""
    chosen = [Fraction(e, 8) for e in eighths]
    pairs = list(zip(chosen, zonotope.generators, strict=False))
    first, second = (
        c + sum(t * g[axis] for t, g in pairs)
        for axis, c in zip((0, 1), zonotope.center, strict=True)
    )
    shares = zonotope.shares((first, second))
    assert shares.shape == (len(zonotope.generators),) and (np.abs(shares) <= 1).all()
    size = float(max([max(map(abs, g)) for g in zonotope.generators] or [0])) or 1.0
    for axis, value in enumerate((first, second)):
        made = sum(t * g[axis] for t, g in zip(shares.tolist(), zonotope.generators, strict=True))
        assert made / size == pytest.approx(float(value - zonotope.center[axis]) / size, abs=1e-9)


@given(points, st.lists(st.integers(-9, 9), min_size=1, max_size=5), st.integers(1, 2**90))
def test_a_line_is_framed_exactly(direction, lengths, denominator):
    """A point beside a line, however near, lies beyond a normal of the frame; no corner does."""
    line = Zonotope(
        [(n * direction[0], n * direction[1]) for n in lengths], (Fraction(1, 3), Fraction(0))
    )
    side = (-direction[1], direction[0]) if any(direction) else (1, 0)
    off = tuple(c + Fraction(n, denominator) for c, n in zip(line.center, side, strict=True))
    assert max(line.beyond(n, (off[0], off[1])) for n in line.frame) > 0
    assert all(line.beyond(n, corner) <= 0 for n in line.frame for corner in corners(line))
