"""A compiled bank computes what its programs say, in their order and from their own taps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import BANKS, core, programs

from grammars.compiled import compile_bank
from grammars.evaluation import evaluate
from grammars.interpreters.torch import TorchAlgebra
from grammars.program import Node, call, const, linear, tap

INDEX = {
    (bank, channel, dy, dx): i
    for i, (bank, channel, dy, dx) in enumerate(
        (bank, channel, dy, dx)
        for bank, count in BANKS.items()
        for channel in range(count)
        for dy in (-1, 0, 1, 2, 3)
        for dx in (-1, 0, 1, 2, 3)
    )
}
ROWS = 7
A, B = tap("conv1", 0), tap("features.0", 1, 1, -1)


def patches(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8, 9, (ROWS, len(INDEX))) / 4


def alone(program: Node, values: np.ndarray) -> np.ndarray:
    """(ROWS,) values of one program, each tap read by itself."""
    columns = torch.from_numpy(values)
    algebra = TorchAlgebra(lambda *key: columns[:, INDEX[key]])
    result = evaluate(program, algebra, core())
    return torch.as_tensor(result, dtype=torch.float64).expand(ROWS).numpy()


def readable(program: Node) -> bool:
    """All taps of a program, those of pooling windows included, are in the index."""
    try:
        alone(program, patches(0))
    except KeyError:
        return False
    return True


@settings(max_examples=80)
@given(st.lists(programs().filter(readable), min_size=1, max_size=6), st.integers(0, 2**31))
def test_a_bank_is_its_programs(bank, seed):
    """Column i is program i as the interpreter has it, for any mixture of programs."""
    values, compiled = patches(seed), compile_bank(bank, INDEX, core())
    for found in (compiled.apply(values), compiled.arranged.apply(values)):
        assert found.shape == (ROWS, len(bank))
        for column, program in zip(found.T, bank, strict=True):
            assert column == pytest.approx(alone(program, values), rel=1e-9, abs=1e-9)


def relu(weight: float, source: Node) -> Node:
    return call("relu", linear([(weight, source)], 0.5))


def test_equal_skeletons_run_together():
    """Units of one skeleton are one group, wherever they stand; order is kept."""
    bank = [relu(1.0, A), const(2.0), relu(-1.0, B), linear([(3.0, A)]), relu(0.5, A), const(-1.0)]
    compiled = compile_bank(bank, INDEX, core())
    assert sorted(len(g.units) for g in compiled.groups) == [1, 1, 1, 3]
    assert compiled.units == 6 and len(compiled.weight) == 4
    values = patches(1)
    assert compiled.apply(values) == pytest.approx(np.stack([alone(p, values) for p in bank], 1))


def test_an_arranged_bank_copies_nothing():
    """Rows lie as groups read them, and constants join the head that leaves them as they are: not
    one below zero, nor a sum."""
    heads = [call("relu", linear([(2.0, A), (1.0, B)], c)) for c in (1.0, -1.0)]
    plain = [heads[0], const(0.5), heads[1], const(0.0)]
    bank = compile_bank(plain, INDEX, core()).arranged
    assert len(bank.groups) == 1 and bank.in_order
    mixed = [const(-0.5), *plain, linear([(3.0, A)])]
    bank, values = compile_bank(mixed, INDEX, core()).arranged, patches(1)
    assert sorted(len(group.units) for group in bank.groups) == [1, 1, 4]
    assert all(span is not None for pool in bank.pools for span in pool.spans.values())
    assert np.array_equal(bank.apply(values), compile_bank(mixed, INDEX, core()).apply(values))


def test_heads_that_differ_in_numbers_run_as_one():
    """Learned slopes, and the numbers of sums over heads, are columns: one pass for all units."""

    def learned(slope: float, bias: float) -> Node:
        return call("prelu", linear([(1.0, A), (-0.5, B)], bias), slope=slope)

    sums = [linear([(w, relu(1.0, A)), (0.25, relu(w, B))], 0.5) for w in (0.75, -2.0)]
    programs = [learned(0.25, 0.0), sums[0], learned(-0.5, 1.0), sums[1], learned(0.25, 2.0)]
    bank, values = compile_bank(programs, INDEX, core()).arranged, patches(3)
    assert [(len(pool.units), pool.is_leaky) for pool in bank.pools] == [(3, True), (2, False)]
    assert all(span is not None for pool in bank.pools for span in pool.spans.values())
    wanted = np.stack([alone(p, values) for p in programs], 1)
    assert bank.apply(values) == pytest.approx(wanted, rel=1e-12)


def test_maps_keep_their_axes():
    """Rows with batch and space axes give units with the same axes."""
    compiled = compile_bank([const(1.5), relu(2.0, A), relu(1.0, B)], INDEX, core())
    rows = torch.randn(4, 2, 5, 3)
    units = compiled.heads(rows)
    assert units.shape == (4, 3, 5, 3)
    assert (units[:, 0] == 1.5).all()
    assert torch.equal(units[:, 1:], rows.clamp(min=0))


def test_atoms_that_a_skeleton_reads():
    """Pooling reads its taps itself: each has a row of its own beside the affine ones."""
    pooled = call("max_pool", A, size=2)
    bank = [linear([(1.0, pooled), (0.5, B)], 0.25), call("max_pool", A, size=2), pooled]
    compiled, values = compile_bank(bank, INDEX, core()), patches(2)
    assert compiled.apply(values) == pytest.approx(np.stack([alone(p, values) for p in bank], 1))


def test_constants_alone():
    """A bank of constants has no rows and takes the batch of its input."""
    compiled = compile_bank([const(1.0), const(-2.0)], INDEX, core())
    assert compiled.weight.shape == (0, len(INDEX))
    assert compiled.apply(patches(0)).tolist() == [[1.0, -2.0]] * ROWS


def test_no_programs():
    """An empty bank gives no units."""
    assert compile_bank([], INDEX, core()).apply(patches(0)).shape == (ROWS, 0)


def test_a_tap_without_a_column():
    """A tap that the index does not number raises KeyError with it."""
    with pytest.raises(KeyError, match="elsewhere"):
        compile_bank([relu(1.0, tap("elsewhere", 0))], INDEX, core())


def test_no_sum_is_taken_for_an_atom():
    """A sum with a constant where an atom is wanted is an error here as in the interpreters."""
    shifted = call("shift", linear([(2.0, A), (1.0, B)], 1.0), dy=0, dx=0)
    for run in (lambda: compile_bank([shifted], INDEX, core()), lambda: alone(shifted, patches(0))):
        with pytest.raises(TypeError, match="argument of shift has to be of sort"):
            run()
