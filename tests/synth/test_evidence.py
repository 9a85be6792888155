"""Evidence says of a layer what all its patches say, and keeps the rows that matter."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import pytest
import torch
from small import (
    BANK,
    CORE,
    RELU,
    dense_evidence,
    dense_layer,
    random_probes,
    read,
    seeded,
    unit_evidence,
)
from torch import Tensor, nn

import synth.evidence as module
import synth.survey as survey
from grammars.program import tap
from synth.batches import Inputs
from synth.evidence import EXTRA, FIT, SELECT, LayerEvidence, Probes, Walks, gather, kept_rows
from synth.fronts import judge
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
    drawn = random_probes(SHAPE, fit=300, select=40)
    (select,) = drawn.select.batch()
    select[3, 1, 2, 2] = 7.0
    return Probes(drawn.fit, Inputs([select]))


def evidence_at(network: Network, probes: Probes, place: int, *, seed: int = 0) -> LayerEvidence:
    """The evidence of one layer, after those before it."""
    return list(gather(network, probes, seed=seed))[place]


def all_patches(network: Network, layer: Layer, inputs: Inputs) -> np.ndarray:
    """Every patch in one go."""
    maps = network.record(inputs.batch(), [layer.source])[layer.source]
    return layer.geometry.patches(maps).numpy()


def values_of(layer: Layer, patches: np.ndarray) -> np.ndarray:
    return apply_heads(layer.heads, torch.from_numpy(layer.pre(patches))).numpy()


def test_layers_come_in_order(network, probes):
    """There is evidence of every layer, once, as the network has them."""
    found = [e.layer for e in gather(network, probes, seed=0)]
    assert found == list(network.layers)


@pytest.mark.parametrize("place", [0, 1])
def test_moments_are_those_of_all_patches(network, probes, place):
    """Gram and cross moments, variances and ranges equal brute force over all fit patches."""
    layer = network.layers[place]
    evidence = evidence_at(network, probes, place)
    patches = all_patches(network, layer, probes.fit).astype(np.float64)
    rows = np.hstack([patches, np.ones((len(patches), 1))])
    (gram,) = evidence.moments.gram
    assert gram == pytest.approx(rows.T @ rows / len(rows), rel=1e-9)
    expected = rows.T @ layer.pre(patches) / len(rows)
    assert evidence.moments.cross == pytest.approx(expected, rel=1e-9, abs=1e-12)
    values = values_of(layer, patches)
    assert evidence.ranges.variance == pytest.approx(values.var(0), rel=1e-9)
    assert evidence.ranges.span == pytest.approx(np.ptp(values, 0), rel=1e-12)


@pytest.mark.parametrize("place", [0, 1])
def test_the_envelope_is_of_fit_and_select(network, probes, place):
    """The envelope is the box of all patches of both, padding zeros included."""
    layer = network.layers[place]
    ranges = evidence_at(network, probes, place).ranges
    both = np.concatenate([all_patches(network, layer, p) for p in (probes.fit, probes.select)])
    assert np.array_equal(ranges.lower, both.min(0))
    assert np.array_equal(ranges.upper, both.max(0))
    assert place or ranges.upper.max() == 7.0


def test_the_envelope_holds_padding():
    """Where sources are never zero, padded columns have a box that reaches zero, and no others."""
    network = read(seeded(nn.Conv2d(1, 1, 3, padding=(1, 0))), (1, 4, 5))
    probes = random_probes((1, 4, 5), fit=20, select=5)
    shifted = Probes(*(Inputs([p.batch()[0] + 3]) for p in (probes.fit, probes.select)))
    ranges = evidence_at(network, shifted, 0).ranges
    rows = np.array([dy for _, dy, _ in ranges.layer.columns()])
    assert (ranges.lower[rows != 0] == 0).all() and (ranges.lower[rows == 0] > 2).all()


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> int:
    for name in ("SAMPLE", "LEAST"):
        monkeypatch.setattr(module, name, 100)
    monkeypatch.setattr(survey, "EXTREMES", 4)
    return 100


def test_a_sample_has_its_roles(network, probes, small_sample):
    """Uniform rows of fit and of select are bounded in number; extremes come besides, once."""
    layer = network.layers[0]
    evidence = evidence_at(network, probes, 0)
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
    assert set(evidence.role[evidence.uniform]) == {FIT}
    assert len(evidence.uniform) == small_sample


def test_a_sample_depends_on_the_seed_alone(network, probes, small_sample):
    """The same seed keeps the same rows, another seed others; moments are the same for both."""
    one, same, other = (evidence_at(network, probes, 0, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.sample.fit, same.sample.fit)
    assert not np.array_equal(one.sample.fit, other.sample.fit)
    assert np.array_equal(one.moments.gram, other.moments.gram)


def test_small_probes_are_kept_whole(network):
    """Below the limit every patch is kept as uniform, and none as an extreme."""
    probes = random_probes(SHAPE, fit=10, select=4)
    evidence = evidence_at(network, probes, 0)
    assert set(evidence.role) == {FIT, SELECT}
    assert len(evidence.patches) == 14 * network.layers[0].out_shape[1] * 5


def test_wide_layers_keep_fewer_rows(monkeypatch):
    """The sample of a layer is bounded in bytes, but there are always some rows."""
    wide = dense_layer([np.ones(1000)] * 4, [0.0] * 4, [RELU] * 4)
    narrow = dense_layer([np.ones(2)] * 4, [0.0] * 4, [RELU] * 4)
    assert kept_rows(narrow) == module.SAMPLE
    bytes_kept = kept_rows(wide) * (4 * 1000 + 2 * 8 * 4)
    assert kept_rows(wide) < module.SAMPLE and bytes_kept <= module.SAMPLE_BYTES
    monkeypatch.setattr(module, "SAMPLE_BYTES", 1)
    assert kept_rows(wide) == module.LEAST


def test_extremes_of_wide_layers_are_fewer(monkeypatch, small_sample):
    """Extreme rows take no more than their bytes; of each unit the most active patch is there."""
    generator = np.random.default_rng(0)
    layer = dense_layer(list(generator.standard_normal((20, 30))), [0.0] * 20, [RELU] * 20)
    probes = random_probes((30,), fit=3000)
    whole = dense_evidence(layer, probes)
    monkeypatch.setattr(survey, "EXTREME_BYTES", 60 * survey.row_bytes(layer))
    evidence = dense_evidence(layer, probes)
    before, after = ((e.role == EXTRA).sum() for e in (whole, evidence))
    assert 20 < after <= 60 < before
    assert np.array_equal(evidence.pre[evidence.fit].max(0), whole.pre[whole.fit].max(0))
    assert set(evidence.sample.fit) <= set(whole.sample.fit)


def test_extremes_hold_a_rarely_active_unit(monkeypatch):
    """The few patches on which a unit is active are kept, however small the uniform sample."""
    for name in ("SAMPLE", "LEAST"):
        monkeypatch.setattr(module, name, 50)
    probes = random_probes((3,), fit=5000, select=100)
    weights = np.array([1.0, 1.0, 1.0])
    sums = np.sort(probes.fit.batch()[0].numpy().astype(np.float64) @ weights)
    layer = dense_layer([weights], [-float(sums[-9:-7].mean())], [RELU])
    evidence = dense_evidence(layer, probes)
    active = evidence.target[:, 0] > 0
    assert active[evidence.role != SELECT].sum() == 8
    assert evidence.pre[evidence.fit].max() == pytest.approx(sums[-1] + float(layer.bias[0]))
    nearest = np.sort(np.abs(sums + float(layer.bias[0])))[: survey.EXTREMES]
    kept = np.abs(evidence.pre[evidence.fit, 0])
    assert np.isin(nearest.round(9), kept.round(9)).all()


def test_a_constant_unit_has_no_variance():
    """Variance and range of a unit that never changes are exactly zero, and of others not."""
    layer = dense_layer([np.zeros(3), np.ones(3) * 1e-9], [0.7, 1e3], [RELU, RELU])
    ranges = dense_evidence(layer).ranges
    assert ranges.variance[0] == ranges.span[0] == 0
    assert ranges.variance[1] > 0
    assert ranges.constant.tolist() == [True, False]


def test_a_unit_that_only_select_moves_is_not_constant():
    """`constant` is of fit and select; variance and range of fit alone."""
    probes = random_probes((3,))
    still = Probes(Inputs([torch.full((50, 3), 0.25)]), probes.select)
    ranges = dense_evidence(dense_layer([np.ones(3)], [0.1], [RELU]), still).ranges
    assert ranges.variance[0] == ranges.span[0] == 0 and not ranges.constant[0]


@pytest.mark.parametrize(
    ("program", "column"),
    [
        (tap(BANK, 1), lambda e: e.patches[:, 1]),
        (tap("fc1", 2), lambda e: e.target[:, 2]),
        (tap("fc1:pre", 1), lambda e: e.pre[:, 1]),
    ],
    ids=["source", "sibling", "pre-activation"],
)
def test_readable_columns_are_those_of_the_scope(program, column):
    """A program that is one tap is judged by that column: source, sibling or pre-activation."""
    layer = dense_layer(list(np.eye(3)), [0.5, -0.25, 0.0], [RELU] * 3)
    evidence = dense_evidence(layer)
    assert len(evidence.scope.index) == 9
    for channel in range(3):
        (found,) = judge(unit_evidence(evidence, channel), [program], ["hand"])
        errors = column(evidence) - evidence.target[:, channel]
        assert found.worst == pytest.approx(float(np.abs(errors).max()), abs=1e-12)
        variance = evidence.ranges.variance[channel]
        expected = float((errors[evidence.select] ** 2).mean()) / variance
        assert found.fvu_select == pytest.approx(expected, abs=1e-12)
    assert unit_evidence(evidence).grammar is CORE


# other batches


def figures(evidence: LayerEvidence) -> dict[str, np.ndarray]:
    """Every array of evidence by its name."""
    parts = (evidence, evidence.ranges, evidence.sample, evidence.moments)
    named = {f.name: getattr(p, f.name) for p in parts for f in fields(p)}
    return {name: value for name, value in named.items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize(("batch", "chunk"), [(7, 2**23), (256, 200), (1, 1)])
def test_batches_do_not_matter(network, monkeypatch, small_sample, batch, chunk):
    """However many samples run and patches are held at once, the evidence is the same."""
    probes = random_probes(SHAPE, fit=61, select=23)
    whole = [figures(e) for e in gather(network, probes, seed=0)]
    monkeypatch.setattr(module, "batch_size", lambda _: batch)
    monkeypatch.setattr(module, "CHUNK_FLOATS", chunk)
    parts = [figures(e) for e in gather(network, probes, seed=0)]
    assert set(whole[0]) >= {"patches", "pre", "target", "gram", "cross", "lower", "variance"}
    for one, other in zip(whole, parts, strict=True):
        for name, values in one.items():
            assert other[name] == pytest.approx(values, rel=1e-5, abs=1e-6), name
        assert all(np.array_equal(one[n], other[n]) for n in ("fit", "select", "role"))


# replaced sources


def walked(network: Network, probes: Probes, modules: Mapping[str, nn.Module], layer: str) -> Walks:
    """Walks that stand before a layer, with modules in place of layers before it."""
    walks = Walks(network, probes)
    for before in network.layers[: [la.name for la in network.layers].index(layer)]:
        walks.put(before.name, modules.get(before.name))
    return walks


def test_nothing_replaced_changes_nothing(network, probes):
    """Past the layers as they are the patches are the evidence's; past the layer itself, nearly."""
    evidence = evidence_at(network, probes, 1)
    layer = evidence.layer
    again = walked(network, probes, {}, "2").patches(layer, evidence.sample)
    assert np.array_equal(again, evidence.patches)
    own = {"0": layer_module(network.layers[0])}
    same = walked(network, probes, own, "2").patches(layer, evidence.sample)
    assert same == pytest.approx(evidence.patches, abs=1e-6)


class Halved(nn.Module):
    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.own = layer_module(layer)

    def forward(self, maps: Tensor) -> Tensor:
        return self.own(maps) / 2


def test_replaced_sources_change_patches(network, probes):
    """Patches of the same rows are of the replaced sources, and so are moments gathered there."""
    evidence = evidence_at(network, probes, 1)
    layer, halved = evidence.layer, {"0": Halved(network.layers[0])}
    walks = walked(network, probes, halved, "2")
    patches = walks.patches(layer, evidence.sample)
    assert patches == pytest.approx(evidence.patches / 2, abs=1e-6)
    other = walks.evidence(layer, seed=0)
    halves = np.append(np.full(layer.fan, 0.5), 1.0)
    expected = evidence.moments.gram * np.outer(halves, halves)
    assert other.moments.gram == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert other.ranges.upper == pytest.approx(evidence.ranges.upper / 2, abs=1e-6)


def test_rows_of_replaced_sources_are_in_order(network, probes, small_sample):
    """A sample without most rows reads the same ones of replaced sources, fit before select."""
    evidence = evidence_at(network, probes, 1)
    layer, halved = evidence.layer, {"0": Halved(network.layers[0])}
    patches = walked(network, probes, halved, "2").patches(layer, evidence.sample)
    both = []
    for inputs, rows in (
        (probes.fit, evidence.sample.fit),
        (probes.select, evidence.sample.select),
    ):
        maps = network.record(inputs.batch(), [layer.source], modules=halved)[layer.source]
        both.append(layer.geometry.patches(maps).numpy()[rows])
    assert patches == pytest.approx(np.concatenate(both), abs=1e-6)


class Beside(nn.Module):
    """Two convolutions of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 3, 2), nn.Conv2d(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.relu(self.one(x)).flatten(1), self.two(x).flatten(1)], 1)


def test_layers_that_it_does_not_read_do_not_matter(probes):
    """Replacing a layer beside another leaves the other's patches as they were, to the bit."""
    network = read(Beside(), SHAPE)
    first, second = network.layers
    evidence = evidence_at(network, probes, 1)
    walks = walked(network, probes, {first.name: Halved(first)}, second.name)
    assert np.array_equal(walks.patches(second, evidence.sample), evidence.patches)
