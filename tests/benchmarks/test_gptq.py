"""The baseline that programs are compared with does what its paper says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.gptq import gptq
from grammars.grammar import load_grammar
from grammars.program import terms_of
from synth.assembly import LayerChoice, assemble
from synth.batches import Inputs
from synth.engine import weighted_taps, with_head
from synth.network import Network, read_network
from synth.outputs import run_batches

CORE = load_grammar()


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    """Correlated inputs, whose roundings can make up for each other."""
    generator = np.random.default_rng(0)
    common = generator.standard_normal((600, 1, 6, 6))
    noise = generator.standard_normal((600, 2, 6, 6))
    return Inputs([(common + 0.3 * noise).astype(np.float32)])


@pytest.fixture(scope="module")
def network(inputs: Inputs) -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    )
    return read_network(module, inputs.batch(0, 1))


def weights(choice: LayerChoice) -> list[np.ndarray]:
    """The weights of each unit's sum."""
    sums = [p if p.op == "linear" else p.args[0] for p in choice.programs()]
    return [np.array([w for w, _ in terms_of(s)[0]]) for s in sums]


def error(network: Network, choices: list[LayerChoice], inputs: Inputs) -> float:
    outputs = run_batches(assemble(network, choices, CORE), inputs)
    return float(((outputs - run_batches(network.module, inputs)) ** 2).mean())


@pytest.mark.parametrize("common", [False, True])
def test_weights_are_on_the_grid_of_their_unit_or_layer(network, inputs, common):
    """Steps are powers of two, at least so many to the largest weight, fewer than twice as many."""
    for choice in gptq(network, inputs, 5.0, CORE, common=common):
        largest = np.abs(choice.layer.weight).max(1)
        largest = np.full_like(largest, largest.max()) if common else largest
        for found, most in zip(weights(choice), largest, strict=True):
            step = 2.0 ** np.floor(np.log2(most / 5.0))
            assert np.array_equal(found / step, np.round(found / step))


def test_errors_are_made_up_for(network, inputs):
    """It is far nearer to the network than rounding each weight alone, on the same grids."""
    choices = gptq(network, inputs, 3.0, CORE, common=True)
    plain = [_plain(choice) for choice in choices]
    assert error(network, choices, inputs) < 0.5 * error(network, plain, inputs)


def test_finer_is_nearer(network, inputs):
    """Each doubling of the levels brings the network nearer."""
    errors = [
        error(network, gptq(network, inputs, levels, CORE, common=False), inputs)
        for levels in (2.0, 8.0, 32.0)
    ]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def _plain(choice: LayerChoice) -> LayerChoice:
    layer = choice.layer
    step = 2.0 ** np.floor(np.log2(np.abs(layer.weight).max() / 3.0))
    units = []
    for unit, weight, bias in zip(choice.units, layer.weight, layer.bias, strict=True):
        row = np.append(np.round(weight / step) * step, np.round(4 * bias / step) * step / 4)
        program = with_head(layer.heads[unit.channel], weighted_taps(layer.scope, row))
        units.append(replace(unit, program=program))
    return replace(choice, units=tuple(units))
