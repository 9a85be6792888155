"""Controls of networks with groups, several inputs and several outputs, and controls left out."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typed import Home

from grammars.coding import program_bits
from grammars.grammar import Grammar, load_grammar
from grammars.program import Node, linear, tap, walk
from synth.assembly import LayerChoice, Status, UnitChoice, own_program, source_bits
from synth.baselines import pruned_at, rounded_at
from synth.batches import Inputs
from synth.config_rules import CONTROLS
from synth.controls import random_program, shuffled
from synth.layers import Layer
from synth.network import Network, read_network
from synth.outputs import run_batches
from synth.splits import Part
from synth.validation import validate


class Pair(nn.Module):
    """Maps through a grouped convolution, numbers through a dense layer; scores, and maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, groups=2, padding=1)
        self.dense = nn.Linear(5, 6)
        self.scores = nn.Linear(6, 3)

    def forward(self, maps: Tensor, numbers: Tensor) -> dict[str, Tensor]:
        seen = torch.relu(self.conv(maps))
        both = seen.mean((2, 3)) + torch.tanh(self.dense(numbers))
        return {"seen": seen, "scores": self.scores(both)}


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return load_grammar(installed=False)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return read_network(Pair(), tuple(t[:1] for t in tensors(1)), judged="scores")


def tensors(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = (count, 4, 6, 6), (count, 5)
    left, right = (torch.randn(shape, generator=generator) for shape in shapes)
    return left, right


def choose(layer: Layer, programs: Mapping[int, Node], grammar: Grammar) -> LayerChoice:
    """Some programs; every other unit is its own weights."""
    scope = layer.scope

    def unit(channel: int) -> UnitChoice:
        program = programs.get(channel, own_program(layer, channel))
        bits = program_bits(program, scope.of(channel), grammar)
        return UnitChoice(channel, Status.PROGRAM, program, bits, 0.0, 0.0, "test")

    return LayerChoice(layer, scope, tuple(map(unit, range(layer.units))))


def test_an_exact_replacement_of_several_inputs_is_perfect(network, grammar):
    """The judged output is compared, on samples of both inputs, over more than one batch."""
    choices = [choose(layer, {}, grammar) for layer in network.layers]
    held_out, fit = (Part(Inputs(tensors(n)), None) for n in (400, 300))
    boxes = {la.name: (np.full(la.width, -9.0), np.full(la.width, 9.0)) for la in network.layers}
    found = validate(network, choices, grammar, held_out, fit, margin=0.01, envelopes=boxes)
    assert found.n == 400 and found.drop_in and found.kl_max < 1e-9
    assert found.fvu_in_situ.max is not None and found.fvu_in_situ.max < 1e-9
    assert found.recovered_mean == pytest.approx(1, abs=1e-5)
    assert found.loss_mean_ablated > 0.001 and found.loss_resample_ablated > 0.001
    assert found.held_out_outside_envelope == 0.0
    wrong = choose(network.layer("conv"), {0: linear([], 0.0)}, grammar)
    spoiled = validate(network, [wrong], grammar, held_out, fit, margin=0.01)
    assert spoiled.units[0].fvu_local > 0.1 and spoiled.kl_mean > 0


def test_a_shuffled_network_keeps_inputs_groups_and_outputs(network):
    """Weights move within their layer; it runs on both inputs and judges the same output."""
    control = shuffled(network, seed=2)
    assert control.layer("conv").groups == 2
    assert control.input_names == network.input_names
    inputs = Inputs(tensors(5))
    found = run_batches(control.module, inputs, pick=control.judge)
    assert found.shape == (5, 3)
    assert torch.equal(found, control(*inputs.batch()))
    recorded = control.record(inputs.batch(), ["conv", "dense"])
    assert torch.equal(recorded["output"], found)
    assert not torch.allclose(found, network(*inputs.batch()), atol=1e-3)


def test_random_programs_read_the_columns_of_their_group(network, grammar):
    """A unit's taps stay in its own group, where they are priced, and others are drawn."""
    layer = network.layer("conv")
    columns = layer.scope.columns

    def sparse(channel: int) -> Node:
        own = columns[layer.part(channel)]
        places = np.random.default_rng(channel).choice(len(own), size=4, replace=False)
        return linear([(1 + int(p), tap(*own[p])) for p in places], 0.5)

    choice = choose(layer, {c: sparse(c) for c in range(layer.units)}, grammar)
    (drawn,) = random_program([choice], grammar, seed=0)
    assert source_bits([drawn], grammar) == pytest.approx(source_bits([choice], grammar), rel=0.03)
    for old, new in zip(choice.units, drawn.units, strict=True):
        assert new.program is not None and new.program != old.program
        own = set(columns[layer.part(new.channel)])
        read = {tuple(v for _, v in n.params) for n in walk(new.program) if n.op == "tap"}
        assert len(read) == 4 and read <= own
        assert new.bits == program_bits(new.program, drawn.scope.of(new.channel), grammar)


@pytest.mark.parametrize("rival", [rounded_at, pruned_at], ids=lambda f: f.__name__)
def test_baselines_price_groups(rival, network, grammar):
    """Rounding and pruning of grouped layers keep to their bits, and read their own columns."""
    conv = network.layer("conv")
    choices = rival([conv], 3000, grammar)
    assert 1000 < source_bits(choices, grammar) <= 3000
    assert sum(u.bits for u in choices[0].units) == pytest.approx(
        source_bits(choices, grammar), abs=8
    )


@pytest.mark.parametrize("controls", [(), ("rounding",), ("random", "pruning")], ids=str)
def test_controls_that_are_left_out(controls: tuple[str, ...], home: Home) -> None:
    """What is not asked for is null, the rest and all programs are as they were."""
    before = home.bytes_of("results/net")
    full = json.loads(before["summary.json"])
    assert set(full["controls"]) | {"shuffled"} == set(CONTROLS)
    try:
        done = home("run", "net.toml", "--set", f"run.controls={list(controls)}")
        assert done.exit_code == 0, done.output
        found = home.bytes_of("results/net")
    finally:
        for name, content in before.items():
            (home.folder / "results" / "net" / name).write_bytes(content)
    assert "shuffled control" not in done.stdout
    summary = json.loads(found.pop("summary.json"))
    assert summary.pop("shuffled_control") is summary.pop("bits_shuffled_control") is None
    for name, figures in summary.pop("controls").items():
        assert figures == (full["controls"][name] if name in controls else None)
    assert summary == {name: full[name] for name in summary}
    assert found == {name: before[name] for name in found}
