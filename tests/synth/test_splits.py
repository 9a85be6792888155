"""The split: three parts that cover all, drawn alike each time, each class in its share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from synth.batches import Inputs
from synth.config import AcceptConfig, Config, NetworkConfig, ProbesConfig, RunConfig, SearchConfig
from synth.errors import InputError
from synth.inputs import Probes
from synth.splits import Split, check_enough, part_sizes, parts, patches_needed, split

shares = st.floats(0.1, 0.9)
seeds = st.integers(0, 2**32 - 1)


def config(held_out: float = 0.3, select: float = 0.3) -> Config:
    probes = ProbesConfig("x.npy", held_out=held_out, select=select)
    network = NetworkConfig("n.py:f")
    return Config(Path("/c.toml"), network, probes, SearchConfig(), AcceptConfig(), RunConfig())


def probes(labels: list[int] | int) -> Probes:
    if isinstance(labels, int):
        return Probes(column(np.zeros(labels)))
    return Probes(column(np.zeros(len(labels))), torch.tensor(labels))


def column(values: np.ndarray) -> Inputs:
    """A sample of one number for each value."""
    return Inputs([values[:, None]])


@given(st.lists(st.integers(0, 4), min_size=40, max_size=200), shares, shares, seeds)
def test_parts_cover_all_and_share_nothing(
    labels: list[int], held_out: float, select: float, seed: int
) -> None:
    """Every probe is in exactly one part, in the sizes that part_sizes tells, drawn alike twice."""
    assume(min(part_sizes(len(labels), held_out, select)) >= 1)  # else an InputError: tested below
    given = config(held_out, select)
    first, second = (split(probes(labels), given, seed) for _ in range(2))
    found = (first.fit, first.select, first.held_out)
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(len(labels)))
    assert tuple(map(len, found)) == part_sizes(len(labels), held_out, select)
    for a, b in zip(found, (second.fit, second.select, second.held_out), strict=True):
        assert np.array_equal(a, b)
        assert (np.diff(a) > 0).all()


@given(st.integers(2, 10), st.integers(20, 60), seeds)
def test_classes_have_their_share(classes: int, each: int, seed: int) -> None:
    """In each part a class differs from its exact share by at most a few probes."""
    labels = np.repeat(np.arange(classes), each)
    drawn = split(probes(labels.tolist()), config(), seed)
    for part in (drawn.fit, drawn.select, drawn.held_out):
        counts = np.bincount(labels[part], minlength=classes)
        assert abs(counts - len(part) / classes).max() <= 3


def test_seed_draws_another_split() -> None:
    """Another seed gives another split, with labels and without."""
    for given_probes in (probes(100), probes([0, 1] * 50)):
        one, two = (split(given_probes, config(), seed) for seed in (0, 1))
        assert not np.array_equal(one.fit, two.fit)


def test_split_is_pinned() -> None:
    """The split is a promise to stored runs: these very indices for seed 0."""
    drawn = split(probes([0, 1] * 6), config(), 0)
    assert drawn.held_out.tolist() == [2, 3, 8, 11]
    assert drawn.select.tolist() == [1, 6]


def test_own_test_set_is_held_out() -> None:
    """A user's test set replaces held-out, and the probes are shared by fit and select."""
    own = Probes(column(np.arange(10.0)), None, column(np.arange(3.0) - 5), None)
    drawn = split(own, config(), 0)
    assert drawn.own
    assert sorted([*drawn.fit, *drawn.select]) == list(range(10))
    taken = parts(own, drawn)
    assert taken.held_out.inputs.batch()[0].ravel().tolist() == [-5, -4, -3]
    assert taken.fit.inputs.batch()[0].ravel().tolist() == drawn.fit.tolist()
    assert taken.fit.labels is None


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.booleans())
def test_an_empty_part_says_how_many_are_needed(held_out: float, select: float, own: bool) -> None:
    """The number that the error tells is enough, and one less is not."""
    one, test = column(np.zeros(1)), column(np.zeros(1)) if own else None
    with pytest.raises(InputError, match="give at least") as caught:
        split(Probes(one, None, test), config(held_out, select), 0)
    needed = int(caught.value.problems[0].split("at least ")[1].split()[0].strip(",."))
    split(Probes(column(np.zeros(needed)), None, test), config(held_out, select), 0)
    with pytest.raises(InputError):
        split(Probes(column(np.zeros(needed - 1)), None, test), config(held_out, select), 0)


@given(st.integers(1, 500), st.integers(1, 100), st.integers(4, 300))
def test_enough_patches(columns: int, patches_per_probe: int, count: int) -> None:
    """A layer passes exactly if fit has its patches; the number told by the error is enough."""
    drawn = split(probes(count), config(), 0)
    if len(drawn.fit) * patches_per_probe >= patches_needed(columns):
        check_enough("fc1", columns, patches_per_probe, drawn)
        return
    with pytest.raises(InputError, match=r"layer fc1: .* give at least \d+ probes") as caught:
        check_enough("fc1", columns, patches_per_probe, drawn)
    told = int(caught.value.problems[0].split("at least ")[1].split()[0])
    check_enough("fc1", columns, patches_per_probe, split(probes(told), config(), 0))
    with pytest.raises(InputError):
        check_enough("fc1", columns, patches_per_probe, split(probes(told - 1), config(), 0))


def test_patches_needed() -> None:
    """Twice the unknowns of a unit, and never fewer than 64."""
    assert [patches_needed(c) for c in (1, 31, 32, 64)] == [64, 64, 66, 130]
    empty = np.arange(40)
    check_enough("fc1", 64, 4, Split(empty, empty, empty, (0.3, 0.3)))
