"""The metric is least at the unit itself, and weighs errors where the head lets them through."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import HEADS, RELU, correlated, dense_evidence, dense_layer, random_probes, unit_metric

from synth.batches import Inputs
from synth.evidence import LayerEvidence, Probes
from synth.layers import Head
from synth.metric import (
    FLOOR,
    Metric,
    refit_metric,
    row_weights,
    squares,
    unit_metrics,
)

COLUMNS = 6


def evidence_of(heads=HEADS, *, probes: Probes | None = None) -> LayerEvidence:
    generator = np.random.default_rng(1)
    weights = generator.standard_normal((len(heads), COLUMNS))
    layer = dense_layer(list(weights), [0.1] * len(heads), heads)
    return dense_evidence(layer, probes)


@pytest.fixture(scope="module")
def evidence() -> LayerEvidence:
    return evidence_of()


def own(evidence: LayerEvidence, channel: int) -> np.ndarray:
    layer = evidence.layer
    return np.append(layer.weight[channel], layer.bias[channel]).astype(np.float64)


def twins(*, still: Sequence[int] = ()) -> Probes:
    """Probes whose columns 2 and 3 are equal, and some always zero."""
    drawn, parts = random_probes((COLUMNS,)), []
    for part in (drawn.fit, drawn.select):
        (values,) = part.batch()
        values[:, 3] = values[:, 2]
        values[:, list(still)] = 0.0
        parts.append(Inputs([values]))
    return Probes(*parts)


@pytest.mark.parametrize("channel", range(len(HEADS)))
@pytest.mark.parametrize("caution", [0.0, 0.1, 5.0])
def test_on_original_sources_the_target_is_the_unit(evidence, channel, caution):
    """Whatever the head and the caution, the unit's own constants have the least loss: none."""
    metric = unit_metric(evidence, channel, caution=caution)
    assert metric.target == pytest.approx(own(evidence, channel), rel=1e-6, abs=1e-9)
    assert metric.loss(own(evidence, channel)) <= 1e-12
    assert np.linalg.eigvalsh(metric.gram).min() > 0


def test_a_source_that_never_changes():
    """Columns that are constant or equal on all probes leave the unit's own weights there."""
    evidence = evidence_of(probes=twins(still=[1]))
    assert unit_metric(evidence, 1).target == pytest.approx(own(evidence, 1), rel=1e-5, abs=1e-6)


def test_caution_counts_off_the_data_only():
    """On the sources caution adds Σ error² · width² / 12, and no blame for the bias."""
    evidence = evidence_of()
    plain, careful = (unit_metric(evidence, 1, caution=c) for c in (0.0, 0.5))
    width = (evidence.ranges.upper - evidence.ranges.lower).astype(np.float64)
    error = np.random.default_rng(0).standard_normal(COLUMNS + 1)
    added = careful.loss(careful.target + error) - plain.loss(plain.target + error)
    assert added == pytest.approx(0.5 * (error[:-1] ** 2 * width**2).sum() / 12, rel=1e-4)


def test_caution_spares_directions_that_are_seen():
    """Two equal columns may swap weight for free without caution, and not with it."""
    evidence = evidence_of(probes=twins())
    swapped = own(evidence, 0)
    swapped[[2, 3]] += [1.0, -1.0]
    assert unit_metric(evidence, 0).loss(swapped) < 1e-5
    assert unit_metric(evidence, 0, caution=0.1).loss(swapped) > 1e-3


def test_replaced_sources_regress_the_unit():
    """On scaled sources the target is the scaled unit: the same values from other inputs."""
    evidence = evidence_of()
    scale = np.linspace(0.5, 2, COLUMNS)
    stretched = np.append(1 / scale, 1.0)
    moments = replace(
        evidence.moments,
        gram=evidence.moments.gram * np.outer(stretched, stretched),
        cross=evidence.moments.cross * stretched[:, None],
    )
    patches = (evidence.patches / scale).astype(np.float32)
    replaced = replace(evidence, patches=patches, moments=moments)
    for channel in (0, 1, 5):
        wanted = own(evidence, channel) * np.append(scale, 1.0)
        assert unit_metric(replaced, channel).target == pytest.approx(wanted, rel=1e-3, abs=1e-3)


# fitted again


EVERY = np.arange(COLUMNS)


@pytest.mark.parametrize("channel", range(len(HEADS)))
def test_on_original_sources_a_refit_finds_the_unit(evidence, channel):
    """On all columns of the original patches a refit has the unit's own metric and target."""
    metric = refit_metric(evidence, channel, evidence.patches, EVERY)
    whole = unit_metric(evidence, channel)
    assert metric.gram == pytest.approx(whole.gram, rel=1e-9, abs=1e-12)
    assert metric.target == pytest.approx(own(evidence, channel), rel=1e-6, abs=1e-9)


@settings(max_examples=25)
@given(st.integers(0, len(HEADS) - 1), st.sets(st.sampled_from(list(EVERY)), min_size=1))
def test_a_refit_is_the_restricted_metric(channel, chosen):
    """On a support of the original patches it is the restriction of the whole metric to it."""
    evidence, support = evidence_of(), np.array(sorted(chosen))
    metric = refit_metric(evidence, channel, evidence.patches, support)
    restricted = unit_metric(evidence, channel).restricted(support)
    assert metric.gram == pytest.approx(restricted.gram, rel=1e-6, abs=1e-9)
    assert metric.target == pytest.approx(restricted.target, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("channel", [0, 1, 5])
def test_a_refit_is_a_weighted_regression(evidence, channel):
    """On other sources the target is least squares of the original unit, weighted by its gates."""
    generator = np.random.default_rng(channel)
    noise = generator.standard_normal(evidence.patches.shape).astype(np.float32)
    patches, support = evidence.patches + 0.3 * noise + 0.2, np.array([0, 2, 5])
    rows = evidence.fit
    wide = np.hstack([patches[np.ix_(rows, support)], np.ones((len(rows), 1))]).astype(float)
    scale = np.sqrt(evidence.gates(channel)[rows] + FLOOR)[:, None]  # all of fit is uniform here
    right = scale[:, 0] * evidence.pre[rows, channel]
    expected = np.linalg.lstsq(wide * scale, right, rcond=None)[0]
    metric = refit_metric(evidence, channel, patches, support)
    assert metric.target == pytest.approx(expected, rel=1e-4, abs=1e-5)
    errors = (wide @ expected) * scale[:, 0] - right
    moved = (wide @ (expected + 0.1)) * scale[:, 0] - right
    added = ((moved**2).sum() - (errors**2).sum()) / len(rows)
    assert metric.loss(metric.target + 0.1) == pytest.approx(added, rel=1e-4)


def test_refits_regress_the_unit_on_scaled_sources(evidence):
    """On scaled patches the target is the scaled unit, without moments of those patches."""
    scale = np.linspace(0.5, 2, COLUMNS)
    patches = (evidence.patches / scale).astype(np.float32)
    for channel in range(len(HEADS)):
        wanted = own(evidence, channel) * np.append(scale, 1.0)
        found = refit_metric(evidence, channel, patches, EVERY).target
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-4)


# gates


def test_gates_are_squared_slopes(evidence):
    """Gates are 1 for the identity, and near the squared derivative elsewhere."""
    assert evidence.gates(0) == pytest.approx(np.ones(len(evidence.patches)))
    for channel, derivative in ((5, _sigmoid_slope), (6, _tanh_slope)):
        gates, pre = evidence.gates(channel), evidence.pre[:, channel]
        assert (gates >= 0.9 * derivative(pre) ** 2).all()
        assert np.corrcoef(gates, derivative(pre) ** 2)[0, 1] > 0.95


def _sigmoid_slope(a: np.ndarray) -> np.ndarray:
    return np.exp(-a) / (1 + np.exp(-a)) ** 2


def _tanh_slope(a: np.ndarray) -> np.ndarray:
    return 1 / np.cosh(a) ** 2


def test_gates_of_a_relu(evidence):
    """A ReLU's gates are 1 where it is active or near it, and 0 far below the threshold."""
    gates, pre = evidence.gates(1), evidence.pre[:, 1]
    margin = 0.25 * pre.std()
    assert (gates[pre > 0] == pytest.approx(1.0)) and (gates[pre < -margin] == 0).all()
    near = (pre < 0) & (pre > -0.7 * margin)
    assert near.any() and gates[near] == pytest.approx(1.0)


def test_gates_of_slopes_and_clips(evidence):
    """A leaky ReLU keeps its slope squared below zero; a clip shuts on both sides."""
    leaky, pre = evidence.gates(2), evidence.pre[:, 2]
    assert leaky[pre < -pre.std() / 2] == pytest.approx(0.125**2)
    clip, pre = evidence.gates(4), evidence.pre[:, 4]
    margin = 0.25 * pre.std()
    shut = (pre > 1 + margin) | (pre < -margin)
    assert shut.any() and (clip[shut] == 0).all()
    assert clip[(pre > 0) & (pre < 1)] == pytest.approx(1.0)


def test_the_metric_is_gated(evidence):
    """The Gram matrix is that of the patches, weighted by gates, plus a little of all patches."""
    rows = evidence.fit
    patches = np.hstack([evidence.patches[rows], np.ones((len(rows), 1))]).astype(np.float64)
    gates = evidence.gates(1)[rows]
    expected = patches.T @ (patches * gates[:, None]) / len(rows) + FLOOR * evidence.moments.gram[0]
    assert unit_metric(evidence, 1).gram == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("channel", range(len(HEADS)))
def test_squares_are_those_of_the_rows(evidence, channel):
    """The losses of constants on a support are weighted mean squares of their errors, and no others
    on it lose less than the metric's target."""
    support, rows = np.array([0, 2, 5]), evidence.fit[::3]
    sums = squares(evidence, channel, evidence.patches, support, rows)
    generator, weight = np.random.default_rng(channel), row_weights(evidence, channel, rows)
    constants = np.vstack([generator.standard_normal((4, 4)), sums.metric().target])
    inputs = np.hstack([evidence.patches[np.ix_(rows, support)], np.ones((len(rows), 1))])
    errors = inputs @ constants.T - evidence.pre[rows, channel][:, None]
    assert sums.losses(constants) == pytest.approx(weight @ errors**2, rel=1e-6, abs=1e-9)
    near = sums.metric().target + 0.01 * generator.standard_normal((20, 4))
    assert (sums.losses(near) >= sums.losses(constants[-1:])).all()


def test_metrics_at_several_cautions_are_those_at_each(evidence):
    """What is summed up once serves every caution."""
    cautions = [0.0, 0.1, 1.0]
    for caution, found in zip(cautions, unit_metrics(evidence, 1, cautions), strict=True):
        alone = unit_metric(evidence, 1, caution=caution)
        assert np.array_equal(found.gram, alone.gram)
        assert np.array_equal(found.target, alone.target)


def test_a_rarely_active_unit_is_fitted_where_it_is_active():
    """Errors on inputs where the unit is shut cost far less than those where it is open."""
    layer = dense_layer([np.eye(COLUMNS)[0]], [-0.9], [RELU])
    probes = random_probes((COLUMNS,), fit=2000)
    evidence = dense_evidence(layer, probes)
    active = evidence.target[:, 0] > 0
    assert active[evidence.role != 1].mean() < 0.1
    metric = unit_metric(evidence, 0)
    (uniform,) = evidence.moments.gram
    tilt = np.append(np.eye(COLUMNS)[0], -0.9)  # vanishes at the threshold
    assert metric.loss(metric.target + tilt) < 0.2 * float(tilt @ uniform @ tilt)


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_a_restricted_metric_is_the_loss_on_a_support(seed, terms):
    """Its loss, and what remains at its target, are the loss of constants zero off the support."""
    generator = np.random.default_rng(seed)
    rows = correlated(40, COLUMNS + 1, 0.5, seed)
    metric = Metric(rows.T @ rows / 40, generator.standard_normal(COLUMNS + 1))
    support = np.sort(generator.choice(COLUMNS, terms, replace=False))
    inner, keep = metric.restricted(support), np.append(support, COLUMNS)

    def full(theta: np.ndarray) -> float:
        embedded = np.zeros(COLUMNS + 1)
        embedded[keep] = theta
        return metric.loss(embedded)

    theta = generator.standard_normal(terms + 1)
    assert full(theta) == pytest.approx(inner.loss(theta) + full(inner.target), rel=1e-6)
    assert full(inner.target) <= full(theta) + 1e-12


def test_margins_follow_the_scale_of_the_unit():
    """Gates of a unit do not change when its weights and bias are scaled."""
    probes = random_probes((COLUMNS,))
    generator = np.random.default_rng(1)
    weight = generator.standard_normal(COLUMNS)
    small, large = (
        dense_evidence(dense_layer([weight * s], [0.1 * s], [Head("relu")]), probes).gates(0)
        for s in (1.0, 64.0)
    )
    assert small == pytest.approx(large, abs=1e-6)
