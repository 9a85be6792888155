"""Evidence says of a layer what all its patches say, and keeps the rows that matter."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from small import BANK, RELU, dense_evidence, dense_layer, random_probes, read, seeded
from torch import Tensor, nn

import synth.evidence as module
from synth.evidence import (
    EXTRA,
    EXTREMES,
    FIT,
    SELECT,
    LayerEvidence,
    Probes,
    gather,
    on_replaced,
    scope_of,
)
from synth.layers import Layer
from synth.modules import apply_heads, layer_module
from synth.network import Network

SHAPE = (2, 5, 4)


@pytest.fixture(scope="module")
def network() -> Network:
    return read(
        seeded(
            nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=1),
            nn.LeakyReLU(0.25),
            nn.Conv2d(3, 2, 2, dilation=(1, 2)),
            nn.Tanh(),
        ),
        SHAPE,
    )


@pytest.fixture(scope="module")
def probes() -> Probes:
    """More than one batch of fit, with a value that only select has."""
    probes = random_probes(SHAPE, fit=300, select=40)
    probes.select[3, 1, 2, 2] = 7.0
    return probes


def all_patches(network: Network, layer: Layer, inputs: Tensor) -> np.ndarray:
    """Every patch in one go."""
    maps = network.record(inputs, [layer.source])[layer.source]
    return layer.geometry.patches(maps).numpy()


def values_of(layer: Layer, patches: np.ndarray) -> np.ndarray:
    return apply_heads(layer.heads, torch.from_numpy(layer.pre(patches))).numpy()


@pytest.mark.parametrize("place", [0, 1])
def test_moments_are_those_of_all_patches(network, probes, place):
    """Gram and cross moments, variances and ranges equal brute force over all fit patches."""
    layer = network.layers[place]
    evidence = gather(network, layer, probes, seed=0)
    patches = all_patches(network, layer, probes.fit).astype(np.float64)
    rows = np.hstack([patches, np.ones((len(patches), 1))])
    assert evidence.moments.gram == pytest.approx(rows.T @ rows / len(rows), rel=1e-9)
    expected = rows.T @ layer.pre(patches) / len(rows)
    assert evidence.moments.cross == pytest.approx(expected, rel=1e-9, abs=1e-12)
    values = values_of(layer, patches)
    assert evidence.variance == pytest.approx(values.var(0), rel=1e-9)
    assert evidence.span == pytest.approx(np.ptp(values, 0), rel=1e-12)


@pytest.mark.parametrize("place", [0, 1])
def test_the_envelope_is_of_fit_and_select(network, probes, place):
    """The envelope is the exact box of all patches of both, padding zeros included."""
    layer = network.layers[place]
    evidence = gather(network, layer, probes, seed=0)
    both = np.concatenate([all_patches(network, layer, p) for p in (probes.fit, probes.select)])
    assert np.array_equal(evidence.lower, both.min(0))
    assert np.array_equal(evidence.upper, both.max(0))
    assert place or evidence.upper.max() == 7.0


def test_the_envelope_holds_padding():
    """Where sources are never zero, padded columns have a box that reaches zero, and no others."""
    network = read(seeded(nn.Conv2d(1, 1, 3, padding=(1, 0))), (1, 4, 5))
    probes = random_probes((1, 4, 5), fit=20, select=5)
    shifted = Probes(probes.fit + 3, probes.select + 3)
    evidence = gather(network, network.layers[0], shifted, seed=0)
    rows = np.array([dy for _, dy, _ in evidence.layer.columns()])
    assert (evidence.lower[rows != 0] == 0).all() and (evidence.lower[rows == 0] > 2).all()


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "SAMPLE", 100)
    monkeypatch.setattr(module, "EXTREMES", 4)
    return 100


def test_a_sample_has_its_roles(network, probes, small_sample):
    """Uniform rows of fit and of select are bounded in number; extremes come besides, once."""
    layer = network.layers[0]
    evidence = gather(network, layer, probes, seed=0)
    counts = [int((evidence.role == r).sum()) for r in (FIT, EXTRA, SELECT)]
    assert counts[0] == counts[2] == small_sample and 0 < counts[1] <= 2 * 4 * layer.units
    assert len(set(evidence.sample.fit.tolist())) == counts[0] + counts[1]
    fit, select = (all_patches(network, layer, p) for p in (probes.fit, probes.select))
    rows = np.concatenate([fit[evidence.sample.fit], select[evidence.sample.select]])
    assert np.array_equal(evidence.patches, rows)
    assert evidence.pre == pytest.approx(layer.pre(rows))
    assert evidence.target == pytest.approx(values_of(layer, rows))
    assert set(evidence.role[evidence.fit]) == {FIT, EXTRA}
    assert set(evidence.role[evidence.select]) == {SELECT}
    assert set(evidence.role[evidence.judged]) == {FIT, SELECT}


def test_a_sample_depends_on_the_seed_alone(network, probes, small_sample):
    """The same seed keeps the same rows, another seed others; moments are the same for both."""
    layer = network.layers[0]
    one, same, other = (gather(network, layer, probes, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.sample.fit, same.sample.fit)
    assert not np.array_equal(one.sample.fit, other.sample.fit)
    assert np.array_equal(one.moments.gram, other.moments.gram)


def test_small_probes_are_kept_whole(network):
    """Below the limit every patch is kept as uniform, and none as an extreme."""
    probes = random_probes(SHAPE, fit=10, select=4)
    evidence = gather(network, network.layers[0], probes, seed=0)
    assert set(evidence.role) == {FIT, SELECT}
    assert len(evidence.patches) == 14 * network.layers[0].out_shape[1] * 5


def test_extremes_hold_a_rarely_active_unit(monkeypatch):
    """The few patches on which a unit is active are kept, however small the uniform sample."""
    monkeypatch.setattr(module, "SAMPLE", 50)
    probes = random_probes((3,), fit=5000, select=100)
    weights = np.array([1.0, 1.0, 1.0])
    sums = np.sort(probes.fit.numpy().astype(np.float64) @ weights)
    layer = dense_layer([weights], [-float(sums[-9:-7].mean())], [RELU])
    evidence = dense_evidence(layer, probes)
    active = evidence.target[:, 0] > 0
    assert active[evidence.role != SELECT].sum() == 8
    assert evidence.pre[evidence.fit].max() == pytest.approx(sums[-1] + float(layer.bias[0]))
    nearest = np.sort(np.abs(sums + float(layer.bias[0])))[:EXTREMES]
    kept = np.abs(evidence.pre[evidence.fit, 0])
    assert np.isin(nearest.round(9), kept.round(9)).all()


def test_a_constant_unit_has_no_variance():
    """Variance and range of a unit that never changes are exactly zero, and of others not."""
    layer = dense_layer([np.zeros(3), np.ones(3) * 1e-9], [0.7, 1e3], [RELU, RELU])
    evidence = dense_evidence(layer)
    assert evidence.variance[0] == evidence.span[0] == 0
    assert evidence.variance[1] > 0


def test_readable_columns_are_those_of_the_scope():
    """Column i of `readable` is what the scope numbers i: sources, siblings, pre-activations."""
    layer = dense_layer(list(np.eye(3)), [0.5, -0.25, 0.0], [RELU] * 3)
    evidence = dense_evidence(layer)
    index = scope_of(layer).index
    assert evidence.readable.shape[1] == len(index) == 9
    for key, column in (
        ((BANK, 1, 0, 0), evidence.patches[:, 1]),
        (("fc1", 2, 0, 0), evidence.target[:, 2]),
        (("fc1:pre", 1, 0, 0), evidence.pre[:, 1]),
    ):
        assert evidence.readable[:, index[key]] == pytest.approx(column)


# replaced sources


def changed(one: LayerEvidence, other: LayerEvidence) -> set[str]:
    names = (f.name for f in fields(one))
    return {n for n in names if getattr(one, n) is not getattr(other, n)}


def test_nothing_replaced_changes_nothing(network, probes):
    """Without modules the evidence is the same object; with the layer itself, the same numbers."""
    evidence = gather(network, network.layers[1], probes, seed=0)
    assert on_replaced(network, evidence, probes, {}) is evidence
    same = on_replaced(network, evidence, probes, {"0": layer_module(network.layers[0])})
    assert same.patches == pytest.approx(evidence.patches, abs=1e-6)
    assert same.moments.gram == pytest.approx(evidence.moments.gram, rel=1e-5, abs=1e-6)
    assert same.moments.cross == pytest.approx(evidence.moments.cross, rel=1e-5, abs=1e-6)


class Halved(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.own = layer_module(layer)

    def forward(self, maps: Tensor) -> Tensor:
        return self.own(maps) / 2


def test_replaced_sources_change_patches_and_moments(network, probes):
    """Patches and moments are of the replaced sources; targets, rows and envelope stay."""
    layer = network.layers[1]
    evidence = gather(network, layer, probes, seed=0)
    other = on_replaced(network, evidence, probes, {"0": Halved(network.layers[0])})
    assert changed(evidence, other) == {"patches", "moments"}
    assert other.patches == pytest.approx(evidence.patches / 2, abs=1e-6)
    halves = np.append(np.full(layer.weight.shape[1], 0.5), 1.0)
    expected = evidence.moments.gram * np.outer(halves, halves)
    assert other.moments.gram == pytest.approx(expected, rel=1e-5, abs=1e-6)
    expected = evidence.moments.cross * halves[:, None]
    assert other.moments.cross == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert other.readable[:, : layer.weight.shape[1]] == pytest.approx(other.patches)


def test_layers_that_come_later_do_not_matter(network, probes):
    """Replacing what a layer does not read leaves its evidence as it was."""
    evidence = gather(network, network.layers[0], probes, seed=0)
    other = on_replaced(network, evidence, probes, {"2": Halved(network.layers[1])})
    assert np.array_equal(other.patches, evidence.patches)
    assert np.array_equal(other.moments.gram, evidence.moments.gram)
