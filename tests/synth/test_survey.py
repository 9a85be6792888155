"""A survey says of streamed patches what brute force says of all of them at once."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_layers import geometries, layers, maps_of, seeds, sizes
from small import IDENTITY
from torch.nn import functional as F

import synth.survey as module
from synth.layers import Geometry, Layer
from synth.modules import apply_heads
from synth.survey import EXTREMES, Survey, blocks_of, extreme_rows, row_bytes


def surveyed(layer: Layer, patches: torch.Tensor, size: int) -> Survey:
    """A survey of patches that come so many at a time."""
    survey = Survey(layer)
    for part in patches.split(size):
        survey.add(part, layer.pre(part.double()))
    return survey


def pre_of(layer: Layer, patches: np.ndarray) -> np.ndarray:
    """(n, U) pre-activations, unit by unit."""
    rows = [patches[:, layer.part(c)] @ layer.weight[c] + layer.bias[c] for c in range(layer.units)]
    return np.stack(rows, 1)


def with_ones(columns: np.ndarray) -> np.ndarray:
    return np.hstack([columns, np.ones((len(columns), 1))])


def gram_of(columns: np.ndarray, size: int) -> np.ndarray:
    """The Gram matrix of [x, 1] of a block of `size`, covariances shrunk where patches are few."""
    rows, count = with_ones(columns), len(columns)
    gram = rows.T @ rows / count
    if count < 2 * (size + 1):
        covariance = np.cov(columns.T, bias=True).reshape(len(gram) - 1, -1)
        off = covariance - np.diag(np.diagonal(covariance))
        gram[:-1, :-1] -= size / (count + size) * off
    return gram


@settings(max_examples=60)
@given(layers(), seeds, st.integers(1, 40))
def test_blocks_are_the_plain_gram_of_their_group(layer, seed, size):
    """Each group's block is [x, 1][x, 1]ᵀ of its own columns, and `cross` is with its units."""
    patches = layer.geometry.patches(maps_of(layer, seed))
    moments, wide = surveyed(layer, patches, size).moments, patches.double().numpy()
    pre, count = pre_of(layer, wide), len(wide)
    assert moments.gram.shape == (layer.groups, layer.fan + 1, layer.fan + 1)
    assert moments.cross.shape == (layer.fan + 1, layer.units)
    for channel in range(layer.units):
        own = wide[:, layer.part(channel)]
        block = moments.gram[channel * layer.groups // layer.units]
        assert block == pytest.approx(gram_of(own, layer.fan), rel=1e-9, abs=1e-12)
        constants = np.append(layer.weight[channel], layer.bias[channel])
        expected = with_ones(own).T @ pre[:, channel] / count
        if count < 2 * (layer.fan + 1):
            expected = block @ constants
        assert moments.cross[:, channel] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=60)
@given(layers(groups=st.just(1)), seeds, st.integers(1, 12), st.integers(1, 40))
def test_wide_layers_have_several_blocks(layer, seed, block, size):
    """A wide layer's blocks are the diagonal ones of its Gram matrix, in order, zeros behind."""
    patches = layer.geometry.patches(maps_of(layer, seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        moments, (count, columns) = surveyed(layer, patches, size).moments, blocks_of(layer)
    assert columns <= block and (count - 1) * columns < layer.fan <= count * columns
    wide = patches.double().numpy()
    starts = [*range(0, layer.fan, columns), layer.fan]
    assert len(moments.gram) == len(starts) - 1
    for found, (start, stop) in zip(moments.gram, pairwise(starts), strict=True):
        keep = np.append(np.arange(stop - start), columns)
        expected = np.zeros_like(found)
        expected[np.ix_(keep, keep)] = gram_of(wide[:, start:stop], columns)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    if len(wide) >= 2 * (columns + 1):
        expected = with_ones(wide).T @ pre_of(layer, wide) / len(wide)
        assert moments.cross == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=40)
@given(layers(), seeds, st.integers(1, 3))
def test_few_patches_say_little_of_directions(layer, seed, samples):
    """Shrunk moments keep means and variances, and no direction but constant ones costs nothing."""
    patches = layer.geometry.patches(maps_of(layer, seed, samples=samples))
    moments, wide = surveyed(layer, patches, 7).moments, patches.double().numpy()
    assume(len(patches) < 2 * (layer.fan + 1))
    for group, gram in enumerate(moments.gram):
        own = wide[:, group * layer.fan : (group + 1) * layer.fan]
        covariance = gram[:-1, :-1] - np.outer(gram[-1, :-1], gram[-1, :-1])
        assert gram[-1] == pytest.approx(np.append(own.mean(0), 1.0))
        assert np.diagonal(covariance) == pytest.approx(own.var(0), abs=1e-9)
        least = layer.fan / (len(own) + layer.fan) * own.var(0).min()
        assert np.linalg.eigvalsh(covariance).min() >= least - 1e-9


@settings(max_examples=60)
@given(layers(), seeds, st.integers(1, 40))
def test_statistics_are_those_of_all_activations(layer, seed, size):
    """Envelope, variance and range equal those of all patches, whatever the chunks."""
    patches = layer.geometry.patches(maps_of(layer, seed))
    survey = surveyed(layer, patches, size)
    wide = patches.double().numpy()
    values = apply_heads(layer.heads, torch.from_numpy(pre_of(layer, wide))).numpy()
    assert survey.count == len(patches)
    assert np.array_equal(survey.lower, wide.min(0)) and np.array_equal(survey.upper, wide.max(0))
    assert survey.span.numpy() == pytest.approx(np.ptp(values, 0), rel=1e-9, abs=1e-12)
    assert survey.variance.numpy() == pytest.approx(values.var(0), rel=1e-9, abs=1e-12)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """(count, U) the largest values of each unit, in order."""
    return -np.sort(-values, axis=0)[:count]


@settings(max_examples=40)
@given(layers(), seeds, st.integers(1, 40), st.sampled_from([1, 3, EXTREMES]))
def test_extremes_are_the_true_ones(layer, seed, size, count):
    """For each unit the rows of the largest and of the nearest pre-activations, and no others."""
    patches = layer.geometry.patches(maps_of(layer, seed, samples=9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EXTREMES", count)
        found = surveyed(layer, patches, size).extremes
    pre = pre_of(layer, patches.double().numpy())
    assert np.array_equal(found, np.unique(found)) and len(found) <= 2 * count * layer.units
    for values in (pre, -np.abs(pre)):
        kept = largest(values[found], count)
        assert kept == pytest.approx(largest(values, count), rel=1e-9, abs=1e-12)
    if all(len(np.unique(column)) == len(column) for column in pre.T):  # nothing is equally extreme
        tops = [np.argsort(-v, axis=0)[:count] for v in (pre, -np.abs(pre))]
        assert np.array_equal(found, np.unique(tops))


@settings(max_examples=40)
@given(layers(), seeds, st.integers(1, 40), st.integers(1, 60))
def test_extremes_are_bounded_in_bytes(layer, seed, size, rows):
    """In so many rows every unit keeps as many as the others: the most extreme, one at least."""
    patches = layer.geometry.patches(maps_of(layer, seed, samples=9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EXTREME_BYTES", rows * row_bytes(layer))
        survey = surveyed(layer, patches, size)
        found, most = survey.extremes, extreme_rows(layer)
        patch.undo()
        everything = survey.extremes
    assert len(found) <= most == max(rows, 2 * layer.units)
    pre = pre_of(layer, patches.double().numpy())
    assume(all(len(np.unique(np.abs(column))) == len(column) for column in pre.T))
    order = [np.argsort(-v, axis=0)[:EXTREMES] for v in (pre, -np.abs(pre))]
    shares = [np.unique([o[:k] for o in order]) for k in range(1, len(order[0]) + 1)]
    assert np.array_equal(found, [s for s in shares if len(s) <= most][-1])
    assert np.array_equal(everything, shares[-1])


def test_a_constant_unit_has_exactly_no_variance():
    """However the sums are rounded, a unit of one value has variance 0, and no other unit has."""
    layer = Layer(
        "layer",
        "source",
        (1, 1, 1),
        (2, 1, 1),
        Geometry((1, 1)),
        np.array([[0.0], [1e-7]]),
        np.array([0.1, 1e4]),
        (IDENTITY, IDENTITY),
    )
    survey = surveyed(layer, torch.rand(1000, 1), 7)
    assert survey.variance[0] == survey.span[0] == 0
    assert survey.variance[1] > 0 and survey.span[1] > 0


# how patches are read


@st.composite
def read_maps(draw: st.DrawFn) -> tuple[Geometry, torch.Tensor]:
    geometry = draw(geometries)
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 3)), *draw(sizes(geometry))
    return geometry, torch.randn(shape, generator=torch.Generator().manual_seed(draw(seeds)))


@settings(max_examples=150)
@given(read_maps(), st.data())
def test_patches_at_rows_are_those_rows(read, data):
    """Some patches, in any order and twice too, are those of all patches, to the bit."""
    geometry, maps = read
    patches = geometry.patches(maps)
    rows = torch.tensor(
        data.draw(st.lists(st.integers(0, len(patches) - 1), max_size=20)), dtype=torch.long
    )
    assert torch.equal(geometry.patches_at(maps, rows), patches[rows])


@settings(max_examples=60)
@given(layers(), seeds)
def test_pre_activations_are_the_convolution(layer, seed):
    """`pre` of all patches is the grouped convolution, in float32 and, by NumPy, in float64."""
    maps = maps_of(layer, seed)
    g = layer.geometry
    weight = torch.tensor(layer.weight).unflatten(1, (-1, *g.window)).double()
    bias = torch.tensor(layer.bias).double()
    expected = F.conv2d(maps.double(), weight, bias, g.stride, g.padding, g.dilation, layer.groups)
    rows = expected.permute(0, 2, 3, 1).flatten(0, 2).numpy()
    patches = g.patches(maps)
    assert layer.pre(patches.numpy()) == pytest.approx(rows, rel=1e-9, abs=1e-9)
    assert layer.pre(patches).numpy() == pytest.approx(rows, rel=1e-4, abs=1e-4)
    spread = patches.double().numpy() @ layer.spread(range(layer.units)).T.astype(float)
    assert spread + layer.bias == pytest.approx(rows, rel=1e-9, abs=1e-9)
