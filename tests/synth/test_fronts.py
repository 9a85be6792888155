"""Fronts hold what nothing beats, with errors that an evaluation tap by tap confirms."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import (
    BANK,
    CORE,
    HEADS,
    RELU,
    by_taps,
    dense_evidence,
    dense_layer,
    random_probes,
    read,
    seeded,
    unit_evidence,
)
from torch import nn

from grammars.coding import program_bits
from grammars.program import call, const, linear, tap
from synth.engines.linear import LinearEngine
from synth.evidence import FIT, SELECT, LayerEvidence, gather
from synth.fronts import Candidate, front, is_short, judge
from synth.modules import apply_heads
from synth.schedule import search_unit

figures = st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0, float("inf")])


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    bits = draw(st.integers(1, 6))
    return Candidate(const(0.0), bits, draw(figures), draw(figures), 0.0, draw(figures), "linear")


def error(candidate: Candidate) -> float:
    return max(candidate.fvu_fit, candidate.fvu_select)


def beats(a: Candidate, b: Candidate) -> bool:
    """a is nowhere worse than b, and somewhere better."""
    left = a.bits, error(a), a.bound
    right = b.bits, error(b), b.bound
    return left != right and all(x <= y for x, y in zip(left, right, strict=True))


@given(st.lists(candidates(), min_size=1, max_size=20))
def test_a_front_is_what_nothing_beats(found):
    """Members are beaten by no candidate; all others are matched in error, and in bound."""
    kept = front(found)
    assert not any(beats(other, member) for member in kept for other in found)
    assert [c.bits for c in kept] == sorted(c.bits for c in kept)
    for other in found:
        cheaper = [c for c in kept if c.bits <= other.bits]
        assert min(error(c) for c in cheaper) <= error(other)
        assert min(c.bound for c in cheaper) <= other.bound
    assert len(set(kept)) == len(kept)


def test_short_programs_have_a_front_of_their_own(dense):
    """With `short` a front gains short programs, which others beat and no short one does."""
    for channel in range(dense.layer.units):
        unit = unit_evidence(dense, channel)
        plain = search_unit(unit, [LinearEngine()], budget=300, seed=0).front
        both = search_unit(unit, [LinearEngine()], budget=300, seed=0, short=True).front
        own = len(unit.scope.columns)
        more = [c for c in both if c not in plain]
        brief = [c for c in both if is_short(c.program, c.bits, own)]
        assert set(plain) <= set(both) and set(more) <= set(brief)
        assert [c.bits for c in both] == sorted(c.bits for c in both)
        assert not any(beats(other, c) for c in more for other in brief)


@pytest.fixture(scope="module")
def dense() -> LayerEvidence:
    """Random units under every head, and a noisy copy and negation of the second."""
    generator = np.random.default_rng(2)
    weights = list(generator.standard_normal((len(HEADS), 6)))
    copies = [weights[1] + 0.01, -weights[1] + 0.01]
    layer = dense_layer([*weights, *copies], [0.1] * (len(HEADS) + 2), [*HEADS, RELU, RELU])
    return dense_evidence(layer)


@pytest.fixture(scope="module")
def convolved() -> LayerEvidence:
    """A padded, strided convolution of patches, some of them with padding."""
    network = read(seeded(nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=1), nn.ReLU()), (2, 5, 4))
    return next(gather(network, random_probes((2, 5, 4), fit=40, select=20), seed=0))


def independent(candidate: Candidate, evidence: LayerEvidence, channel: int) -> dict[str, float]:
    """A candidate's errors from its taps, one by one, with variances of our own."""
    errors = by_taps(candidate.program, evidence) - evidence.target[:, channel]
    variance = float(evidence.ranges.variance[channel])
    return {
        "fvu_fit": float((errors[evidence.role == FIT] ** 2).mean()) / variance,
        "fvu_select": float((errors[evidence.role == SELECT] ** 2).mean()) / variance,
        "worst": float(np.abs(errors).max()),
    }


@pytest.mark.parametrize("kind", ["dense", "convolved"])
def test_errors_are_those_of_the_taps(kind, request):
    """FVUs and the worst error of all front points equal an evaluation that reads tap by tap."""
    evidence: LayerEvidence = request.getfixturevalue(kind)
    for channel in range(evidence.layer.units):
        for c in search_unit(
            unit_evidence(evidence, channel), [LinearEngine()], budget=400, seed=0
        ).front:
            for name, value in independent(c, evidence, channel).items():
                assert getattr(c, name) == pytest.approx(value, rel=1e-6, abs=1e-13)
            assert c.bits == program_bits(c.program, evidence.scope, CORE)


def test_bounds_hold_on_probes_and_corners(dense):
    """No probe, and no corner of the envelope, is further off than a candidate's bound."""
    generator = np.random.default_rng(0)
    corners = generator.integers(2, size=(200, dense.layer.weight.shape[1])).astype(bool)
    points = np.where(corners, dense.ranges.upper, dense.ranges.lower).astype(np.float32)
    layer = dense.layer
    pre = layer.pre(points)
    target = apply_heads(layer.heads, torch.from_numpy(pre)).numpy()
    at_corners = replace(dense, patches=points, pre=pre, target=target)
    for channel in range(layer.units):
        unit = unit_evidence(dense, channel)
        for c in search_unit(unit, [LinearEngine()], budget=300, seed=0).front:
            errors = by_taps(c.program, at_corners) - at_corners.target[:, channel]
            assert max(c.worst, float(np.abs(errors).max())) <= c.bound * (1 + 1e-9) + 1e-12


def test_references_are_bounded_as_what_they_refer_to(dense):
    """A copy or negation of a sibling has the bound of the sibling's own weights in its place."""
    weights, bias = dense.layer.weight[1].astype(float), float(dense.layer.bias[1])
    terms = [(w, tap(BANK, i)) for i, w in enumerate(weights.tolist())]
    pairs = [
        (tap("fc1", 1), call("relu", linear(terms, bias))),
        (
            call("relu", linear([(-1.0, tap("fc1:pre", 1))])),
            call("relu", linear([(-w, t) for w, t in terms], -bias)),
        ),
    ]
    for channel in (0, 7, 8):
        for pair in pairs:
            short, long = judge(unit_evidence(dense, channel), pair, ["a", "b"])
            assert short.bound == pytest.approx(long.bound, rel=1e-9) and short.bound > 0
            assert short.bits < long.bits


def test_programs_of_any_form_are_bounded(dense):
    """A program that is no affine form under a head has a bound too, above all probes."""
    program = call("max", tap(BANK, 0), linear([(0.5, tap(BANK, 1))], 0.25))
    (candidate,) = judge(unit_evidence(dense, 1), [program], ["mine"])
    assert candidate.worst <= candidate.bound < float("inf")
    assert candidate.engine == "mine"


@pytest.mark.parametrize("place", range(len(HEADS)), ids=[h.op for h in HEADS])
def test_other_heads_are_bounded_but_for_jumps(dense, place):
    """A constant, or another head, has a bound above all probes; a head that jumps has none, and is
    judged on probes."""
    sums = linear([(0.5, tap(BANK, 1))], 0.25)
    programs = [const(0.5), call("relu", sums), call("step", sums)]
    *found, jumping = judge(unit_evidence(dense, place), programs, ["a", "b", "c"])
    assert all(c.worst <= c.bound < float("inf") for c in found)
    assert jumping.bound == float("inf") and np.isfinite(jumping.fvu_select)


def test_a_front_holds_one_program_once(dense):
    """Two engines that propose the same give one candidate, in the name of the first."""

    class Other(LinearEngine):
        name = "other"

    once = search_unit(unit_evidence(dense, 1), [LinearEngine()], budget=200, seed=0)
    twice = search_unit(unit_evidence(dense, 1), [LinearEngine(), Other()], budget=200, seed=0)
    assert once.front == twice.front
