"""Of many roundings few are kept: those that lose less, far enough apart, and not alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import RELU, dense_evidence, dense_layer, random_probes

from synth.dead_zone import Roundings
from synth.evidence import LayerEvidence
from synth.metric import own_constants
from synth.thinning import ALIKE, APART, Rated, best_of, rated, thinned


def rated_as(bits, loses, reach=None) -> Rated:
    """Roundings of which nothing but these figures is known."""
    figures = [np.array(f, dtype=float) for f in (bits, loses, loses if reach is None else reach)]
    return Rated(Roundings(np.zeros((len(bits), 2)), np.ones(len(bits))), *figures)


pairs = st.lists(st.tuples(st.integers(1, 1000), st.floats(0.001, 1)), min_size=1, max_size=30)


@settings(max_examples=100)
@given(pairs)
def test_dearer_ones_lose_less_and_lie_apart(found):
    """Bits rise and losses fall along what is kept; two steps are at least APART, and the one that
    loses least is always there."""
    known = rated_as(*zip(*found, strict=True))
    kept = thinned(known.bits, known.loses)
    bits, loses = known.bits[kept], known.loses[kept]
    assert (np.diff(bits) > 0).all() and (np.diff(loses) < 0).all()
    assert (bits[2:] >= APART * bits[:-2]).all()
    assert loses[-1] == known.loses.min()


@settings(max_examples=100)
@given(pairs)
def test_no_gap_is_made(found):
    """For whatever loses less than all cheaper ones, one is kept that loses no more, at not much
    more than the bits."""
    known = rated_as(*zip(*found, strict=True))
    kept = thinned(known.bits, known.loses)
    for bits, loses in found:
        near = known.loses[kept] <= loses
        assert known.bits[kept][near].min() <= APART * bits


def test_nothing_of_nothing():
    """No roundings, none kept."""
    assert thinned(np.zeros(0), np.zeros(0)) == [] and list(best_of([rated_as([], [])])) == []


def test_an_alike_one_is_left_out():
    """It has to be better by more than ALIKE in bits, in loss or in reach than each known one."""
    less = 1 / (ALIKE * 1.01)
    known = rated_as([100], [1])
    others = [(100, 1, 1), (100 * less, 1, 1), (100, less, 1), (100, 1, less)]
    kept = [len(list(best_of([known, rated_as(*zip(o, strict=True))]))) - 1 for o in others]
    assert kept == [0, 1, 1, 1]
    alone = [len(list(best_of([rated_as(*zip(o, strict=True))]))) for o in others]
    assert alone == [1, 1, 1, 1]


def test_a_pool_does_not_thin_another():
    """Each pool is thinned alone, and then left out where it is like the pools before."""
    one, two = rated_as([100, 200], [1, 0.5]), rated_as([150, 199, 300], [0.8, 0.505, 0.1])
    constants = list(best_of([one, two]))
    assert len(constants) == 4 and all(c.shape == (2,) and step == 1.0 for c, step in constants)


@pytest.fixture(scope="module")
def evidence() -> LayerEvidence:
    weights = np.random.default_rng(0).standard_normal(6)
    return dense_evidence(dense_layer([weights], [0.5], [RELU]), random_probes((6,)))


def test_reach_is_the_largest_error_in_the_envelope(evidence):
    """At the corner where all errors add up, as at every other corner tried, it holds."""
    constants = np.random.default_rng(1).integers(-8, 9, (3, 7)) / 4
    known = rated(evidence, 0, Roundings(constants, np.full(3, 0.25)), np.ones(3))
    low, high = evidence.ranges.lower.astype(float), evidence.ranges.upper.astype(float)
    corners = np.where((np.arange(64)[:, None] >> np.arange(6)) & 1, high, low)
    error = constants - own_constants(evidence, 0)
    largest = np.abs(corners @ error[:, :-1].T + error[:, -1]).max(0)
    assert known.reach == pytest.approx(largest, rel=1e-9)
