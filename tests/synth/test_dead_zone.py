"""Roundings of wide units: the grid stays, the cheapest are dropped, errors are spread."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import HEADS, IDENTITY, RELU, correlated, dense_evidence, dense_layer, read
from torch import nn

import synth.dead_zone as module
import synth.survey as survey
from synth.batches import Inputs
from synth.dead_zone import Roundings, rebiased, roundings
from synth.evidence import LayerEvidence, Probes, gather
from synth.layers import Head
from synth.metric import FLOOR, own_constants

COLUMNS = 24
STEPS = 2.0 ** -np.arange(6)
EVERY = np.ones(len(STEPS))
BLOCKS = [survey.BLOCK, 8]


def normal_probes(columns: int, correlation: float, seed: int, *, fit: int = 300) -> Probes:
    """Standard normal probes, each pair of columns with that correlation."""
    rows = correlated(fit + 60, columns, correlation, seed)
    return Probes(Inputs([rows[:fit]]), Inputs([rows[fit:]]))


def evidence_of(
    weights: Sequence[float] | np.ndarray,
    *,
    correlation: float = 0.0,
    seed: int = 0,
    head: Head = IDENTITY,
    bias: float = 0.25,
) -> LayerEvidence:
    """Evidence of one dense unit."""
    probes = normal_probes(len(weights), correlation, seed)
    return dense_evidence(dense_layer([np.asarray(weights)], [bias], [head]), probes)


def drawn(seed: int, columns: int = COLUMNS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(columns)


def plain(evidence: LayerEvidence, steps: np.ndarray) -> Roundings:
    """Every weight rounded alone."""
    own, column = own_constants(evidence, 0), steps[:, None]
    weights = np.round(own[:-1] / column) * column
    return Roundings(np.column_stack([weights, np.full(len(steps), own[-1])]), steps)


def losses(evidence: LayerEvidence, found: Roundings) -> np.ndarray:
    """What roundings lose with their best biases."""
    return rebiased(evidence, 0, found, found.steps / 4)[1]


@pytest.fixture(params=BLOCKS, ids=["one block", "several blocks"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(survey, "BLOCK", request.param)
    return request.param


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([1, 7, 9, 24]), st.sampled_from(BLOCKS))
def test_a_unit_on_the_grid_stays(seed, columns, size):
    """Where nothing is dropped, weights that are multiples of the step come back exactly."""
    weights = np.random.default_rng(seed).integers(-9, 10, columns) / 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey, "BLOCK", size)
        evidence = evidence_of(weights, correlation=0.9, seed=seed)
    found = roundings(evidence, 0, [0.125, 2.0**-9], [1.0, 1.0])
    assert found.constants[:, :-1].tolist() == [weights.tolist()] * 2
    assert found.constants[:, -1].tolist() == [0.25, 0.25]
    assert np.array_equal(found.integers, np.outer([8, 512], weights))


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_fine_steps_return_the_unit(block, correlation):
    """Every constant is a multiple of its step; fine ones are near to the unit and lose nothing."""
    evidence = evidence_of(drawn(0), correlation=correlation)
    steps = 2.0 ** -np.arange(0.0, 24.0, 4.0)
    found = roundings(evidence, 0, steps, np.ones(6))
    scaled = found.constants[:, :-1] / steps[:, None]
    assert np.array_equal(scaled, np.round(scaled)) and np.array_equal(scaled, found.integers)
    errors = np.abs(found.constants[:, :-1] - own_constants(evidence, 0)[:-1]).max(1)
    assert (errors <= 8 * steps).all()
    assert (losses(evidence, found) <= COLUMNS * steps**2).all()


@pytest.mark.parametrize("head", [IDENTITY, RELU], ids=["identity", "relu"])
def test_errors_are_spread(head):
    """Rounding together never loses twice as much as alone, and far less on correlated inputs."""
    shares = {}
    for correlation in (0.0, 0.5, 0.9):
        found = []
        for seed in range(12):
            evidence = evidence_of(drawn(seed), correlation=correlation, seed=seed, head=head)
            alone = losses(evidence, plain(evidence, STEPS))
            found.append(losses(evidence, roundings(evidence, 0, STEPS, EVERY)) / alone)
        shares[correlation] = np.array(found)
        assert shares[correlation].max() < 2
    medians = [np.median(s) for s in shares.values()]
    assert medians[1] < 0.9 and medians[2] < 0.5


def test_blocks_spread_errors_too(block):
    """In several blocks errors spread within each, and the median unit still gains by it."""
    found = []
    for seed in range(12):
        evidence = evidence_of(drawn(seed, 48), correlation=0.9, seed=seed)
        assert len(evidence.moments.gram) == -(-48 // block)
        alone = losses(evidence, plain(evidence, STEPS))
        found.append(losses(evidence, roundings(evidence, 0, STEPS, EVERY)) / alone)
    assert np.median(found) < 0.7


@pytest.mark.parametrize("tile", [1, 5])
def test_tiles_do_not_matter(monkeypatch, tile):
    """Errors that are spread late, tile by tile, are spread all the same."""
    evidence = evidence_of(drawn(3), correlation=0.9)
    shares = np.linspace(0.2, 1.0, len(STEPS))
    whole = roundings(evidence, 0, STEPS, shares)
    monkeypatch.setattr(module, "TILE", tile)
    assert np.array_equal(roundings(evidence, 0, STEPS, shares).constants, whole.constants)


def test_caution_rounds_alone():
    """To a metric that fears every input no error makes up for another."""
    evidence = evidence_of(drawn(1), correlation=0.9)
    found = roundings(evidence, 0, STEPS, EVERY, caution=1e9)
    assert np.array_equal(found.constants, plain(evidence, STEPS).constants)
    other = roundings(evidence, 0, STEPS, EVERY)
    assert not np.array_equal(other.constants, found.constants)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_fewer_are_kept_of_a_smaller_share(block, correlation):
    """The smaller the share, the fewer weights and the larger the loss."""
    shares = [1.0, 0.5, 0.2, 0.05]
    for seed in range(6):
        evidence = evidence_of(drawn(seed, 48), correlation=correlation, seed=seed)
        for step in (0.5, 0.0625):
            found = roundings(evidence, 0, [step] * 4, shares)
            kept = (found.integers != 0).sum(1)
            assert (np.diff(kept) < 0).all()
            assert kept[1:] == pytest.approx(48 * np.array(shares[1:]), abs=9)
            assert (np.diff(losses(evidence, found)) > 0).all()


def test_what_costs_least_is_dropped(block):
    """Of weights that matter much and little, in any order of columns, the little ones go."""
    generator = np.random.default_rng(2)
    large = generator.permuted(np.tile([True, False], (6, 4)), axis=1).ravel()
    weights = generator.choice([-1, 1], 48) * np.where(large, 1.0, 0.125)
    found = roundings(evidence_of(weights), 0, [0.125], [0.5])
    assert np.array_equal(found.constants[0, :-1] != 0, large)


def test_a_rare_input_is_dropped_before_a_common_one():
    """What a weight costs is its size times that of its input, not its size alone."""
    weights, scale = np.full(COLUMNS, 1.0), np.where(np.arange(COLUMNS) % 2, 1.0, 0.01)
    weights[::2] = 4.0
    rows = correlated(400, COLUMNS, 0.0, 3) * scale
    probes = Probes(Inputs([rows[:300]]), Inputs([rows[300:]]))
    evidence = dense_evidence(dense_layer([weights], [0.0], [IDENTITY]), probes)
    found = roundings(evidence, 0, [0.5], [0.5])
    assert not found.constants[0, :-1][::2].any() and found.constants[0, 1:-1:2].all()


# biases


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from(HEADS), st.sampled_from([1.0, 0.25, 2.0**-7]))
def test_biases_are_the_best_on_their_grid(seed, head, bias_step):
    """No other multiple of the step loses less, and the losses are the weighted mean squares."""
    evidence = evidence_of(drawn(seed, 9), head=head, seed=seed)
    found = roundings(evidence, 0, [0.5, 0.125], [0.5, 1.0])
    biased, lost = rebiased(evidence, 0, found, np.full(2, bias_step))
    assert np.array_equal(biased.constants[:, :-1], found.constants[:, :-1])
    rows = evidence.fit
    share = evidence.gates(0)[rows] / len(rows) + FLOOR * (evidence.role[rows] == 0) / 300
    for constants, loss in zip(biased.constants, lost, strict=True):
        assert constants[-1] / bias_step == np.round(constants[-1] / bias_step)
        pre = evidence.patches[rows].astype(float) @ constants[:-1]
        error = evidence.pre[rows, 0] - pre
        found_at = [
            float((share * (error - b) ** 2).sum())
            for b in constants[-1] + bias_step * np.arange(-2, 3)
        ]
        assert loss == pytest.approx(found_at[2], rel=1e-4, abs=1e-9)
        assert found_at[2] <= min(found_at) * (1 + 1e-5) + 1e-12


# groups


def test_a_grouped_unit_is_rounded_in_its_own_columns():
    """A unit of a grouped layer is rounded as the same unit of a layer of its group alone."""
    torch.manual_seed(0)
    conv = nn.Conv2d(12, 6, 1, groups=3)
    rows = torch.randn(400, 12, 1, 1)
    probes = Probes(Inputs([rows[:300]]), Inputs([rows[300:]]))
    (grouped,) = gather(read(conv, (12, 1, 1)), probes, seed=0)
    for channel in range(6):
        part = grouped.layer.part(channel)
        own = Probes(*(Inputs([p.arrays[0][:, part, 0, 0]]) for p in (probes.fit, probes.select)))
        weights, bias = grouped.layer.weight[channel], float(grouped.layer.bias[channel])
        alone = dense_evidence(dense_layer([weights], [bias], [IDENTITY]), own)
        for caution in (0.0, 0.1):
            one = roundings(grouped, channel, STEPS, [0.5] * 6, caution=caution)
            other = roundings(alone, 0, STEPS, [0.5] * 6, caution=caution)
            assert np.array_equal(one.constants, other.constants)
            mine, same = (rebiased(e, c, one, STEPS) for e, c in ((grouped, channel), (alone, 0)))
            assert np.array_equal(mine[0].constants, same[0].constants)
            assert mine[1] == pytest.approx(same[1], rel=1e-6)
