"""Baselines cost at most what they may, the entropy code is lossless, and controls are controls."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from architectures import CASES, Case, Residual, convolutional, mlp, randomised
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from grammars.coding import program_bits
from grammars.grammar import Grammar, load_grammar
from grammars.program import Node, call, const, linear, tap, taps_of, terms_of
from synth.assembly import (
    LayerChoice,
    Status,
    UnitChoice,
    assemble,
    original_bits,
    own_program,
    source_bits,
)
from synth.baselines import (
    decode_floats,
    encode_floats,
    entropy_bits,
    layer_floats,
    pruned_at,
    rounded_at,
)
from synth.batches import Inputs
from synth.controls import random_program, shuffled
from synth.layers import Layer
from synth.modules import layer_module
from synth.network import Network, read_network
from synth.outputs import run_batches
from synth.splits import Part
from synth.validation import validate

Baseline = Callable[[Sequence[Layer], int, Grammar], list[LayerChoice]]
BASELINES = pytest.mark.parametrize("baseline", [rounded_at, pruned_at])


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return load_grammar(installed=False)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 5))
    return read_network(module, torch.zeros(1, 30))


def weights_of(choices: Sequence[LayerChoice]) -> list[np.ndarray]:
    """(U, F) coefficients of programs that are a head over one sum."""
    found = []
    for choice in choices:
        rows = np.zeros(choice.layer.weight.shape)
        columns = {key: i for i, key in enumerate(choice.scope.columns)}
        for row, program in zip(rows, choice.programs(), strict=True):
            inner = program.args[0] if program.op == "relu" else program
            for weight, atom in terms_of(inner)[0]:
                row[columns[tuple(v for _, v in atom.params)]] = weight  # type: ignore[index]
        found.append(rows)
    return found


def distance(network: Network, choices: Sequence[LayerChoice]) -> float:
    pairs = zip(network.layers, weights_of(choices), strict=True)
    return sum(float(((la.weight - w) ** 2).sum() / (la.weight**2).sum()) for la, w in pairs)


# rounding and pruning


@BASELINES
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_baselines_keep_to_their_bits(baseline: Baseline, share, network, grammar):
    """The stream takes at most the bits that were given, and nearly all of them."""
    bits = int(share * original_bits(network.layers))
    choices = baseline(network.layers, bits, grammar)
    assert 0.93 * bits < source_bits(choices, grammar) <= bits
    for choice in choices:
        assert all(u.status is Status.ROUNDED for u in choice.units)
        for unit in choice.units:
            assert unit.program is not None
            assert unit.bits == program_bits(unit.program, choice.scope, grammar)


@BASELINES
def test_more_bits_are_nearer(baseline: Baseline, network, grammar):
    """With more bits the weights change less."""
    total = original_bits(network.layers)
    errors = [
        distance(network, baseline(network.layers, int(s * total), grammar))
        for s in (0.03, 0.06, 0.12, 0.25)
    ]
    assert errors == sorted(errors, reverse=True) and len(set(errors)) == 4


def test_plenty_of_bits_round_almost_nothing(network, grammar):
    """At 24 bits of the largest weight the network computes what it did."""
    choices = rounded_at(network.layers, 10**9, grammar)
    x = torch.randn(40, 30)
    assert torch.allclose(assemble(network, choices, grammar)(x), network(x), atol=1e-5)


@BASELINES
def test_too_few_bits_leave_constants(baseline: Baseline, network, grammar):
    """Where nothing fits, no weight is left."""
    choices = baseline(network.layers, 0, grammar)
    assert not any(w.any() for w in weights_of(choices))


def test_rounded_weights_are_the_nearest_of_their_grid(network, grammar):
    """Each weight is within half a step of its unit's grid, a power of two."""
    choices = rounded_at(network.layers, int(0.15 * original_bits(network.layers)), grammar)
    for layer, weights in zip(network.layers, weights_of(choices), strict=True):
        for exact, row in zip(layer.weight.astype(float), weights, strict=True):
            step = 2.0
            while (np.round(row / step) * step != row).any():
                step /= 2
            assert np.abs(exact - row).max() <= step / 2


def test_faint_units_take_no_bits(grammar):
    """Where some units are a thousand times fainter, one step for the layer makes them zero."""
    torch.manual_seed(0)
    faint = nn.Linear(30, 20)
    faint.weight.data[10:] *= 1e-3
    network = read_network(nn.Sequential(faint), torch.zeros(1, 30))
    choices = rounded_at(network.layers, int(0.1 * original_bits(network.layers)), grammar)
    (weights,) = weights_of(choices)
    assert not weights[10:].any()
    assert distance(network, choices) < 0.01


def test_pruning_keeps_the_largest_weights(network, grammar):
    """No dropped weight of a layer is larger than a kept one; kept ones have at most 8 bits."""
    choices = pruned_at(network.layers, int(0.08 * original_bits(network.layers)), grammar)
    shares = []
    for layer, weights in zip(network.layers, weights_of(choices), strict=True):
        dropped = np.abs(layer.weight[weights == 0])
        assert np.quantile(dropped, 0.98) <= np.abs(layer.weight[weights != 0]).min() + 1e-3
        shares.append((weights != 0).mean())
    assert 0.1 < shares[0] < 0.9 and abs(shares[0] - shares[1]) < 0.05


def test_baselines_of_convolutions(grammar):
    """Folded batch norms, PReLU heads and padding are written like those of any program."""
    torch.manual_seed(0)
    network = read_network(randomised(convolutional()), torch.zeros(1, 1, 8, 8))
    choices = rounded_at(network.layers, 10**9, grammar)
    x = torch.randn(4, 1, 8, 8)
    found, expected = assemble(network, choices, grammar)(x), network(x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


# the entropy code

SPECIAL = [0.0, -0.0, 1.0, -1.5, 1e-45, -3e38, float("inf"), float("nan")]
FLOATS = st.lists(st.sampled_from(SPECIAL) | st.floats(width=32), max_size=40)


@given(st.lists(FLOATS, max_size=4))
def test_the_entropy_code_is_lossless(arrays):
    """Every bit comes back, for signed zeros, subnormal numbers and those that are none."""
    given_ = [np.array(a, dtype=np.float32) for a in arrays]
    data = encode_floats(given_).to_bytes()
    found = decode_floats(data, [len(a) for a in arrays])
    assert [a.tobytes() for a in found] == [a.tobytes() for a in given_]


@pytest.mark.parametrize("kind", ["normal", "few", "one", "wild"])
def test_every_scheme_is_lossless_and_priced(kind, network):
    """Raw, book and exponent codes all come back, and the price is the length."""
    random = np.random.default_rng(0)
    weights = {
        "normal": random.normal(size=(20, 30)),
        "few": random.choice([0.0, 0.25, -1.0], size=(20, 30)),
        "one": np.full((20, 30), 0.1),
        "wild": random.integers(0, 2**31, size=(20, 30)).astype(np.uint32).view(np.float32),
    }[kind]
    weights = np.where(np.isfinite(weights), weights, 1.0)
    first = network.layers[0]
    layer = Layer(
        "x", "y", (30, 1, 1), (20, 1, 1), first.geometry, weights, np.zeros(20), first.heads
    )
    (array,) = layer_floats([layer])
    writer = encode_floats([array])
    assert entropy_bits([layer]) == len(writer)
    (found,) = decode_floats(writer.to_bytes(), [array.size])
    assert found.tobytes() == array.tobytes()
    shares = {"normal": (0.8, 0.92), "few": (0.03, 0.07), "one": (0.03, 0.05), "wild": (0.9, 1.01)}
    low, high = shares[kind]
    assert low < len(writer) / original_bits([layer]) < high


def test_entropy_of_a_book_is_near_its_bound(network):
    """Huffman indices take between the entropy and one bit more for each weight."""
    random = np.random.default_rng(0)
    share = np.array([0.6, 0.2, 0.1, 0.05, 0.05])
    values = random.choice(5, p=share, size=20_000).astype(np.float32)
    found = len(encode_floats([values])) / len(values)
    entropy = float(-(share * np.log2(share)).sum())
    assert entropy < found < entropy + 0.1


# shuffled networks


@pytest.mark.parametrize("case", CASES, ids=str)
def test_shuffled_networks_are_networks(case: Case):
    """All that a pipeline asks of a network holds of a shuffled one: record, replace, read."""
    torch.manual_seed(0)
    original = read_network(randomised(case.make()), torch.zeros(1, *case.shape))
    network = shuffled(original, seed=3)
    x = torch.randn(5, *case.shape)
    maps = network.record(x, network.banks)
    assert torch.equal(maps["output"], network(x))
    assert [la.name for la in network.layers] == [la.name for la in original.layers]
    assert {la.source for la in network.layers} <= set(network.banks)
    for layer, before in zip(network.layers, original.layers, strict=True):
        assert network.layer(layer.name) is layer
        assert sorted(layer.weight.ravel()) == sorted(before.weight.ravel())
        assert sorted(layer.bias) == sorted(before.bias)
        if before.weight.size > 4:  # fewer may well be drawn as they stood
            assert not np.array_equal(layer.weight, before.weight)
        assert torch.equal(layer_module(layer)(maps[layer.source]), maps[layer.name])
    modules = {la.name: layer_module(la) for la in network.layers}
    assert torch.equal(network.replaced(modules)(x), network(x))
    recorded = network.record(x, [network.layers[-1].name], modules=modules)
    assert torch.equal(recorded["output"], network(x))


def test_shuffling_leaves_the_original_alone():
    """The original computes what it did, the shuffled network does not, and seeds differ."""
    torch.manual_seed(0)
    network = read_network(randomised(Residual()), torch.zeros(1, 2, 6, 6))
    x = torch.randn(4, 2, 6, 6)
    before = network(x)
    a, b, c = (shuffled(network, seed=s)(x) for s in (1, 1, 2))
    assert torch.equal(network(x), before)
    assert torch.equal(a, b)
    assert not torch.allclose(a, before) and not torch.allclose(a, c)


def test_gradients_reach_the_banks_of_a_shuffled_network():
    """Prices need the gradient of the output at every layer."""
    torch.manual_seed(0)
    network = shuffled(read_network(randomised(convolutional()), torch.zeros(1, 1, 8, 8)), seed=0)
    names = [la.name for la in network.layers]
    recorded = network.record(torch.randn(3, 1, 8, 8), names, grad=True)
    found = torch.autograd.grad(recorded["output"].sum(), [recorded[n] for n in names])
    assert all(g.abs().sum() > 0 for g in found)


def test_validation_runs_on_a_shuffled_network(grammar):
    """Its own weights replace it exactly."""
    torch.manual_seed(0)
    network = shuffled(read_network(randomised(mlp()), torch.zeros(1, 6)), seed=0)
    choices = rounded_at(network.layers, 10**9, grammar)
    part = Part(Inputs([torch.randn(500, 6)]), None)
    found = validate(network, choices, grammar, part, part, margin=0.01)
    assert found.agreement == 1.0 and found.fvu_in_situ.max < 1e-9  # type: ignore[operator]


# random programs


def planted(network: Network, grammar: Grammar) -> list[LayerChoice]:
    """Sparse units, a copy, a negation, a clipped mixture, a constant and opaque units."""
    layer = network.layers[0]
    random = np.random.default_rng(0)
    scope = layer.scope

    def sparse(channel: int) -> Node:
        places = sorted(random.choice(12, size=3 + channel % 4, replace=False))
        terms = [(float(random.integers(1, 9)) / 8, tap(layer.source, int(p))) for p in places]
        return call("relu", linear(terms, 0.25))

    programs: list[Node | None] = [sparse(c) for c in range(layer.units)]
    programs[1] = tap(layer.name, 0)
    programs[2] = call("relu", linear([(-1.0, tap(f"{layer.name}:pre", 4))]))
    programs[3] = linear([(0.5, call("abs", tap(layer.source, 5))), (1.0, tap(layer.source, 0))])
    programs[4] = own_program(layer, 4)
    programs[5], programs[6] = const(0.0), None
    units = (
        UnitChoice(
            c,
            Status.OPAQUE if p is None else Status.PROGRAM,
            p,
            0 if p is None else program_bits(p, scope, grammar),
            0.0,
            0.0,
            "planted",
        )
        for c, p in enumerate(programs)
    )
    return [LayerChoice(layer, scope, tuple(units))]


@pytest.mark.parametrize("seed", range(4))
def test_random_programs_cost_the_same_and_say_something_else(seed, network, grammar):
    """Equal bits within 2 %, equal form, other functions; opaque and constant units stay."""
    choices = planted(network, grammar)
    drawn = random_program(choices, grammar, seed=seed)
    assert source_bits(drawn, grammar) == pytest.approx(source_bits(choices, grammar), rel=0.02)
    x = Inputs([torch.randn(64, 30)])
    a, b = (run_batches(assemble(network, c, grammar), x) for c in (choices, drawn))
    assert not torch.allclose(a, b, atol=1e-2)
    for old, new in zip(choices[0].units, drawn[0].units, strict=True):
        if old.channel in (5, 6):
            assert new is old
            continue
        assert old.program is not None and new.program is not None
        assert new.program != old.program and new.program.op == old.program.op
        assert len(taps_of(new.program)) == len(taps_of(old.program))
        assert new.bits == program_bits(new.program, choices[0].scope, grammar)


def sizes(program: Node) -> list[float]:
    return sorted(abs(w) for w, _ in terms_of(program.args[0])[0])


def test_random_programs_keep_coefficients_and_biases(network, grammar):
    """The sizes of the coefficients are permuted, the bias stays, places and signs are drawn."""
    choices = planted(network, grammar)
    drawn = random_program(choices, grammar, seed=0)
    moved = turned = 0
    for old, new in zip(choices[0].units[7:], drawn[0].units[7:], strict=True):
        assert old.program is not None and new.program is not None
        assert sizes(old.program) == sizes(new.program)
        assert terms_of(old.program.args[0])[1] == terms_of(new.program.args[0])[1]
        moved += taps_of(old.program) != taps_of(new.program)
        turned += any(w < 0 for w, _ in terms_of(new.program.args[0])[0])
    assert moved >= 10 and turned >= 10


def test_random_programs_of_real_size_cost_the_same(network, grammar):
    """Rounded weights of a whole network, permuted, take the same bits; seeds repeat."""
    choices = rounded_at(network.layers, int(0.12 * original_bits(network.layers)), grammar)
    a, b = (random_program(choices, grammar, seed=5) for _ in range(2))
    assert source_bits(a, grammar) == pytest.approx(source_bits(choices, grammar), rel=0.02)
    assert [c.programs() for c in a] == [c.programs() for c in b]
