"""Supports: planted ones are found again, paths are nested, and swaps never lose."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import orthogonal_mp_gram
from small import correlated

from synth.metric import Metric
from synth.sparse import eliminate, pursue, remaining, supports, swap, thin


def metric_of(features: np.ndarray, weights: np.ndarray, bias: float = 0.3) -> Metric:
    """The Gram metric of (n, F) features for a target of (F,) weights."""
    rows = np.hstack([features, np.ones((len(features), 1))])
    return Metric(rows.T @ rows / len(rows), np.append(weights, bias))


def planted(columns: int, terms: int, seed: int, *, noise: float = 1e-3) -> np.ndarray:
    """(F,) weights: `terms` of size 0.5 … 2 and noise on all."""
    generator = np.random.default_rng(seed)
    weights = noise * generator.standard_normal(columns)
    chosen = generator.choice(columns, terms, replace=False)
    weights[chosen] += generator.uniform(0.5, 2, terms) * generator.choice([-1, 1], terms)
    return weights


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    """Metrics of 2 to 9 correlated or few samples, always positive definite."""
    seed, columns = draw(st.integers(0, 2**31)), draw(st.integers(2, 9))
    generator = np.random.default_rng(seed)
    features = correlated(draw(st.integers(1, 30)), columns, draw(st.sampled_from([0, 0.9])), seed)
    metric = metric_of(features, generator.standard_normal(columns))
    ridge = draw(st.sampled_from([1e-6, 1e-2]))
    return Metric(metric.gram + ridge * np.eye(columns + 1), metric.target)


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.97])
@pytest.mark.parametrize("terms", [1, 3, 8, 12])
def test_planted_supports_are_found(correlation, terms):
    """The support of a disturbed sparse unit is found exactly, also at correlation 0.9 and more."""
    for seed in range(4):
        weights = planted(60, terms, seed)
        metric = metric_of(correlated(500, 60, correlation, seed), weights)
        wanted = np.flatnonzero(np.abs(weights) > 0.1)
        assert np.array_equal(supports(metric, [terms])[terms], wanted)


@pytest.mark.parametrize("seed", range(4))
def test_pursuit_agrees_with_scikit_learn(seed):
    """On centred features of one scale, pursuit takes what `orthogonal_mp_gram` takes."""
    features = correlated(400, 30, 0.3, seed)
    features = (features - features.mean(0)) / features.std(0)
    metric = metric_of(features, np.random.default_rng(seed).standard_normal(30), bias=0.0)
    for terms in (1, 4, 8):
        found = orthogonal_mp_gram(
            metric.gram[:-1, :-1], (metric.gram @ metric.target)[:-1], n_nonzero_coefs=terms
        )
        mine = pursue(metric, terms)
        assert set(np.flatnonzero(found)) == set(mine)
        best = metric.restricted(np.sort(mine)).target[:-1]
        assert best == pytest.approx(found[np.sort(mine)], rel=1e-6)


@settings(max_examples=60)
@given(metrics())
def test_elimination_is_nested(metric):
    """Each support of the path lies in the next larger one and has the size asked for."""
    path = eliminate(metric, range(metric.size + 1))
    assert sorted(path) == list(range(metric.size + 1))
    for size in range(metric.size):
        assert set(path[size]) < set(path[size + 1]) and len(path[size]) == size


@settings(max_examples=60)
@given(metrics())
def test_elimination_removes_what_costs_least(metric):
    """Each weight removed is the one whose best removal costs least, by trying them all."""
    path = eliminate(metric, range(metric.size + 1))
    scale = remaining(metric, path[0])
    for size in range(metric.size, 0, -1):
        losses = [remaining(metric, np.delete(path[size], i)) for i in range(size)]
        assert remaining(metric, path[size - 1]) <= min(losses) * (1 + 1e-6) + 1e-9 * scale


@settings(max_examples=60)
@given(metrics())
def test_thinning_by_one_is_elimination(metric):
    """One at a time, thinning removes what costs least, and so loses what elimination loses."""
    path, other = (f(metric, range(metric.size + 1)) for f in (thin, eliminate))
    assert sorted(path) == sorted(other)
    scale = remaining(metric, path[0])
    for size, support in path.items():
        assert len(support) == size and np.array_equal(support, np.sort(support))
        expected = remaining(metric, other[size])
        assert remaining(metric, support) == pytest.approx(expected, rel=1e-3, abs=1e-6 * scale)


@settings(max_examples=60)
@given(metrics(), st.data())
def test_thinning_is_nested(metric, data):
    """Whatever sizes are asked for, each support lies in the next larger one."""
    sizes = sorted(data.draw(st.sets(st.integers(0, metric.size), min_size=1)))
    path = thin(metric, sizes)
    assert sorted(path) == sizes and [len(path[s]) for s in sizes] == sizes
    for small, large in pairwise(sizes):
        assert set(path[small]) <= set(path[large])


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.97])
def test_thinning_finds_planted_supports(correlation):
    """In steps of a fifth the support of a disturbed sparse unit is found exactly."""
    for seed in range(4):
        weights = planted(60, 8, seed)
        metric = metric_of(correlated(500, 60, correlation, seed), weights)
        found = thin(metric, [60, 50, 42, 35, 29, 24, 20, 17, 14, 12, 10, 8])[8]
        assert np.array_equal(found, np.flatnonzero(np.abs(weights) > 0.1))


@settings(max_examples=60)
@given(metrics(), st.data())
def test_a_swap_never_worsens(metric, data):
    """Swapping keeps the size and never raises the loss that remains."""
    size = data.draw(st.integers(1, metric.size))
    start = np.sort(data.draw(st.permutations(range(metric.size)))[:size])
    after = swap(metric, start)
    assert len(after) == len(set(after)) == size
    assert np.array_equal(after, np.sort(after))
    assert remaining(metric, after) <= remaining(metric, start) + 1e-12


@settings(max_examples=40)
@given(metrics())
def test_supports_are_near_the_best(metric):
    """Of two weights the best pair is found up to what one swap can see; more never lose."""
    found = supports(metric, range(metric.size + 2))
    assert sorted(found) == list(range(metric.size + 1))
    losses = [remaining(metric, found[s]) for s in range(metric.size + 1)]
    path = eliminate(metric, range(metric.size + 1))
    for size, loss in enumerate(losses):
        assert loss <= remaining(metric, path[size]) * (1 + 1e-9) + 1e-12
    assert losses[metric.size] <= 1e-9 * max(losses[0], 1)


def test_what_remains_is_least_squares():
    """`remaining` is the residual of a least-squares fit on the support and the constant."""
    features = correlated(200, 8, 0.5, 0)
    weights = planted(8, 5, 1)
    metric, target = metric_of(features, weights), features @ weights + 0.3
    rows = np.hstack([features[:, [1, 4]], np.ones((200, 1))])
    fitted = rows @ np.linalg.lstsq(rows, target, rcond=None)[0]
    assert remaining(metric, np.array([1, 4])) == pytest.approx(((fitted - target) ** 2).mean())
