"""Rounded constants are on their grids, and rounding together beats rounding alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import correlated

from synth import rounding
from synth.metric import Metric
from synth.rounding import (
    bias_step,
    descend,
    grid_of,
    round_columns,
    round_compensated,
    round_on_grids,
)


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    """Positive definite metrics of 1 to 10 constants, well or badly conditioned."""
    seed, size = draw(st.integers(0, 2**31)), draw(st.integers(1, 10))
    generator = np.random.default_rng(seed)
    rows = correlated(draw(st.integers(1, 20)), size, draw(st.sampled_from([0.0, 0.95])), seed)
    gram = rows.T @ rows / len(rows) + draw(st.sampled_from([1e-6, 1e-2, 1.0])) * np.eye(size)
    return Metric(gram, generator.standard_normal(size) * draw(st.sampled_from([0.1, 1, 30])))


steps = st.sampled_from([2.0**-j for j in range(-2, 8)])


def plain(metric: Metric, step: float, bias_step: float) -> np.ndarray:
    """Each constant rounded alone."""
    grid = np.append(np.full(metric.size, step), bias_step)
    return np.round(metric.target / grid) * grid


@settings(max_examples=300)
@given(metrics(), steps, st.sampled_from([1, 2, 4]))
def test_on_the_grid_and_no_worse_than_alone(metric, step, finer):
    """Weights are multiples of the step and the bias of its own; the loss is at most plain."""
    found = round_compensated(metric, step, bias_step=step / finer)
    assert np.array_equal(found[:-1] / step, np.round(found[:-1] / step))
    assert found[-1] * finer / step == round(found[-1] * finer / step)
    alone = metric.loss(plain(metric, step, step / finer))
    assert metric.loss(found) <= alone * (1 + 1e-9) + 1e-15


@settings(max_examples=200)
@given(metrics(), steps, st.integers(0, 2**31))
def test_descent_never_increases(metric, step, seed):
    """From any point of the grid descent ends on the grid, at no larger a loss."""
    grid = np.full(metric.size + 1, step)
    start = np.random.default_rng(seed).integers(-9, 10, metric.size + 1) * grid
    kept = start.copy()
    found = descend(metric, start, grid)
    assert np.array_equal(start, kept)
    assert np.array_equal(found / grid, np.round(found / grid))
    assert metric.loss(found) <= metric.loss(start) * (1 + 1e-9) + 1e-15


@settings(max_examples=100)
@given(metrics(), steps)
def test_no_single_step_helps(metric, step):
    """What comes out is a minimum among its neighbours on the lattice, but for rounding."""
    found = round_compensated(metric, step)
    loss = metric.loss(found)
    for i in range(metric.size + 1):
        for sign in (-1, 1):
            other = found.copy()
            other[i] += sign * step
            assert metric.loss(other) >= loss * (1 - 1e-6) - 1e-9 * metric.gram[i, i] * step**2


@settings(max_examples=50)
@given(metrics(), st.lists(steps, min_size=1, max_size=4), st.integers(0, 2**31))
def test_columns_are_rounded_one_by_one(metric, grids, seed):
    """Many targets rounded at once in one metric are what each of them is alone, on its grid."""
    targets = np.random.default_rng(seed).standard_normal((metric.size + 1, len(grids)))
    fine = np.array(grids)
    found = round_columns(metric.elimination, targets, fine, fine / 4)
    for column, target, step in zip(found.T, targets.T, fine, strict=True):
        alone = round_on_grids(Metric(metric.gram, target), step[None], step[None] / 4)
        assert np.allclose(column, alone[0], rtol=0, atol=1e-9)
        assert np.array_equal(column[:-1] / step, np.round(column[:-1] / step))


def test_a_finer_bias_is_used():
    """A bias between two multiples of the step is met on its finer grid."""
    metric = Metric(np.eye(3), np.array([1.0, -0.5, 0.375]))
    assert round_compensated(metric, 0.5, bias_step=0.125).tolist() == [1.0, -0.5, 0.375]
    assert round_compensated(metric, 0.5).tolist()[:2] == [1.0, -0.5]


def test_constants_make_up_for_each_other():
    """Of two nearly equal features one is rounded up and one down, which plain rounding cannot."""
    rows = correlated(400, 2, 0.999, 0)
    gram = rows.T @ rows / 400
    metric = Metric(np.pad(gram, (0, 1)) + np.diag([0, 0, 1.0]), np.array([0.4, 0.4, 0.0]))
    found = round_compensated(metric, 1.0)
    assert sorted(found[:2]) == [0.0, 1.0]
    assert metric.loss(found) < 0.3 * metric.loss(plain(metric, 1.0, 1.0))


@settings(max_examples=50)
@given(metrics())
def test_a_target_on_the_grid_stays(metric):
    """Constants that are on the grid already are what comes out."""
    target = np.round(metric.target * 8) / 8
    assert np.array_equal(round_compensated(Metric(metric.gram, target), 0.125), target)


# many grids at once


@settings(max_examples=100)
@given(metrics(), st.lists(steps, min_size=1, max_size=5), st.sampled_from([1, 3, 64]))
def test_many_grids_are_rounded_as_each_alone(metric, chosen, tile):
    """A row for each grid, on it, the same whatever grids are beside it and however it is tiled."""
    grids, finer = np.array(chosen), np.array(chosen) / 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounding, "TILE", tile)
        found = round_on_grids(metric, grids, finer)
    for row, step, small in zip(found, grids, finer, strict=True):
        assert np.array_equal(row[:-1] / step, np.round(row[:-1] / step))
        assert row[-1] / small == np.round(row[-1] / small)
        alone = round_on_grids(metric, np.array([step]), np.array([small]))[0]
        assert metric.loss(row) == pytest.approx(metric.loss(alone), rel=1e-6, abs=1e-9)
        best = round_compensated(metric, step, bias_step=small)
        assert metric.loss(best) <= metric.loss(row) * (1 + 1e-9) + 1e-12


@settings(max_examples=50)
@given(metrics(), steps)
def test_without_correlation_each_is_rounded_alone(metric, step):
    """Where no constant makes up for another, the passes give plain rounding."""
    diagonal = Metric(np.diag(np.diagonal(metric.gram)), metric.target)
    found = round_on_grids(diagonal, np.array([step]), np.array([step / 2]))[0]
    assert np.array_equal(found, plain(diagonal, step, step / 2))


def test_passes_make_up_for_roundings():
    """On correlated features one pass loses far less than plain rounding."""
    shares = []
    for seed in range(8):
        rows = correlated(200, 20, 0.9, seed)
        target = np.random.default_rng(seed).standard_normal(20)
        metric = Metric(rows.T @ rows / 200 + 1e-6 * np.eye(20), target)
        found = round_on_grids(metric, np.array([0.5, 0.125]), np.array([0.5, 0.125]))
        for row, step in zip(found, (0.5, 0.125), strict=True):
            shares.append(metric.loss(row) / metric.loss(plain(metric, step, step)))
    assert np.median(shares) < 0.5


@settings(max_examples=200)
@given(
    st.floats(-1e9, 1e9).filter(lambda b: abs(b) > 1e-9), st.integers(-30, 10), st.integers(0, 4)
)
def test_a_bias_on_its_grid_is_a_float32(bias, exponent, near):
    """The bias step is at most a quarter of the weights', or as coarse as a float32 needs."""
    step = 2.0**exponent
    finer = bias_step(bias, step)
    assert finer == step / 4 or finer > step / 4
    rounded = (np.round(bias / finer) + near) * finer
    assert float(np.float32(rounded)) == rounded
    assert finer <= max(step / 4, abs(bias) * 2.0**-21)


@given(st.lists(st.integers(-(2**20), 2**20), max_size=6), st.integers(-40, 40))
def test_a_grid_is_the_largest_that_divides_all(integers, exponent):
    """All values are multiples of it, and not all of twice it; 1 for zeros."""
    values = [n * 2.0**exponent for n in integers]
    grid = grid_of(values)
    multiples = [v / grid for v in values]
    assert all(m == round(m) for m in multiples)
    assert any(m % 2 for m in multiples) if any(values) else grid == 1.0
