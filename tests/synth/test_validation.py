"""Validation: exact replacements are perfect, and every figure is one worked out by hand."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from architectures import convolutional, mlp, randomised
from torch import Tensor, nn
from torch.nn import functional as F

from grammars.coding import program_bits
from grammars.grammar import Grammar, load_grammar
from grammars.program import Node, const, linear, tap
from synth import validation
from synth.assembly import LayerChoice, Status, UnitChoice, assemble, own_program
from synth.batches import Inputs
from synth.controls import Ablated, mean_ablation, resample_ablation, unit_statistics
from synth.layers import Layer
from synth.network import Network, read_network
from synth.splits import Part
from synth.statistics import non_inferiority
from synth.validation import Validation, recovered, validate, verdict

MARGIN = 0.01


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return load_grammar(installed=False)


def choose(layer: Layer, programs: Mapping[int, Node | None], grammar: Grammar) -> LayerChoice:
    """Some programs (None for opaque); every other unit is its own weights."""
    scope = layer.scope

    def unit(channel: int) -> UnitChoice:
        program = programs.get(channel, own_program(layer, channel))
        status = Status.OPAQUE if program is None else Status.PROGRAM
        bits = 0 if program is None else program_bits(program, scope, grammar)
        return UnitChoice(channel, status, program, bits, 0.0, 0.0, "test")

    return LayerChoice(layer, scope, tuple(unit(c) for c in range(layer.units)))


def exact(network: Network, grammar: Grammar) -> list[LayerChoice]:
    return [choose(layer, {}, grammar) for layer in network.layers]


def part(inputs: Sequence | Tensor, labels: Sequence | None = None) -> Part:
    known = None if labels is None else torch.tensor(labels)
    return Part(Inputs([torch.as_tensor(inputs, dtype=torch.float32)]), known)


def dense(*weights: Sequence) -> Network:
    """Layers without bias, of these weights, without activations."""
    layers = [nn.Linear(len(w[0]), len(w), bias=False) for w in weights]
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight.data = torch.tensor(weight, dtype=torch.float32)
    return read_network(nn.Sequential(*layers), torch.zeros(1, len(weights[0][0])))


# exact replacements


@pytest.mark.parametrize(("make", "shape"), [(mlp, (6,)), (convolutional, (1, 8, 8))])
@pytest.mark.parametrize("labelled", [True, False])
def test_an_exact_replacement_is_perfect(make, shape, labelled, grammar):
    """Its own weights as programs: no change, all recovered, no divergence, no FVU, drop-in."""
    torch.manual_seed(1)
    network = read_network(randomised(make()), torch.zeros(1, *shape))
    inputs, fit = torch.randn(400, *shape), torch.randn(300, *shape)
    labels = network(inputs).argmax(1)
    labels[:40] = (labels[:40] + 1) % 3
    held_out = Part(Inputs([inputs]), labels if labelled else None)
    found = validate(network, exact(network, grammar), grammar, held_out, part(fit), margin=MARGIN)
    assert found.n == 400 and found.labelled == labelled and found.drop_in
    assert found.accuracy_original == found.accuracy_replaced == (0.9 if labelled else 1.0)
    assert found.accuracy_change == 0 and found.agreement == 1
    assert found.kl_max < 1e-9 and found.kl_mean <= found.kl_max
    assert found.recovered_mean == pytest.approx(1, abs=1e-5)
    assert found.recovered_resample == pytest.approx(1, abs=1e-5)
    for spread in (found.fvu_local, found.fvu_in_situ):
        assert spread.max is not None and spread.max < 1e-9
    assert len(found.units) == sum(layer.units for layer in network.layers)


def test_figures_are_json_and_repeat(grammar):
    """asdict is strict JSON, and the same seed gives the same figures."""
    torch.manual_seed(2)
    network = read_network(randomised(mlp()), torch.zeros(1, 6))
    choices = [choose(network.layers[0], {0: const(0.5), 3: None}, grammar)]
    parts = part(torch.randn(300, 6)), part(torch.randn(50, 6))
    a, b, c = (
        validate(network, choices, grammar, *parts, margin=MARGIN, seed=s) for s in (0, 0, 1)
    )
    assert json.dumps(asdict(a), allow_nan=False) == json.dumps(asdict(b))
    assert a.recovered_resample != c.recovered_resample
    assert replace(a, recovered_resample=0, loss_resample_ablated=0) == replace(
        c, recovered_resample=0, loss_resample_ablated=0
    )


# by hand


HELD_OUT = part([[3, 0], [0, 3]], [0, 1])
FIT = part([[0, 0], [4, 0]], [0, 0])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def by_hand(grammar: Grammar, held_out: Part = HELD_OUT, fit: Part = FIT) -> Validation:
    """The identity on two numbers, with its second unit replaced by half of itself."""
    network = dense([[1, 0], [0, 1]])
    half = linear([(0.5, tap(network.layers[0].source, 1))])
    choices = [choose(network.layers[0], {1: half}, grammar)]
    return validate(network, choices, grammar, held_out, fit, margin=MARGIN)


def assert_recovered_by_hand(found: Validation) -> None:
    """Means of fit are (2, 0), so ablated outputs are (2, 0) whatever the input."""
    assert found.loss_original == pytest.approx(softplus(-3))
    assert found.loss_replaced == pytest.approx((softplus(-3) + softplus(-1.5)) / 2)
    assert found.loss_mean_ablated == pytest.approx((softplus(-2) + softplus(2)) / 2)
    harm = found.loss_replaced - found.loss_original
    expected = 1 - harm / (found.loss_mean_ablated - found.loss_original)
    assert found.recovered_mean == pytest.approx(expected)


def test_recovered_by_hand(grammar):
    """Losses are mean cross-entropies of held-out; ablated units are their means over fit."""
    assert_recovered_by_hand(by_hand(grammar))


def of_zero(choices, means):
    return mean_ablation(choices, {name: 0 * mean for name, mean in means.items()})


def of_one_unit(choices, means):
    first = [replace(c, units=tuple(replace(u, program=None) for u in c.units)) for c in choices]
    kept = replace(first[0], units=(choices[0].units[0], *first[0].units[1:]))
    return mean_ablation([kept], means)


def of_nothing(choices, means):
    return {}


@pytest.mark.parametrize("mutant", [of_zero, of_one_unit, of_nothing], ids=lambda m: m.__name__)
def test_wrong_ablations_are_caught(mutant, grammar, monkeypatch):
    """Zeros instead of means, one unit instead of all, or none, give other figures."""
    monkeypatch.setattr(validation, "mean_ablation", mutant)
    with pytest.raises(AssertionError):
        assert_recovered_by_hand(by_hand(grammar))


def test_resampled_units_are_those_of_fit(grammar):
    """With one fit probe, every unit becomes what it is there."""
    found = by_hand(grammar, fit=part([[1, 0]]))
    assert found.loss_resample_ablated == pytest.approx((softplus(-1) + softplus(1)) / 2)


def test_resampled_units_are_independent(grammar):
    """Two units that are equal on fit are drawn from different probes, uniformly."""
    network = dense([[1], [1]])
    choices = exact(network, grammar)
    donors = {"0": torch.arange(256.0)[:, None, None, None].expand(256, 2, 1, 1)}
    drawn = resample_ablation(choices, donors, np.random.default_rng(0))["0"]
    first, second = drawn(torch.zeros(256, 1, 1, 1))[:, :, 0, 0].T
    assert abs(float(np.corrcoef(first, second)[0, 1])) < 0.2
    assert abs(float(first.mean()) - 127.5) < 20
    assert len(set(first.tolist())) > 128


def test_opaque_units_are_not_ablated(grammar):
    """Units without a program are computed as ever, on what the ablated layers give them."""
    network = dense([[1, 0], [0, 1]])
    choice = choose(network.layers[0], {0: None}, grammar)
    module = mean_ablation([choice], {"0": np.array([7.0, 8.0])})["0"]
    maps = torch.tensor([[3.0, 4.0], [5.0, 6.0]])[:, :, None, None]
    assert module(maps)[:, :, 0, 0].tolist() == [[3.0, 8.0], [5.0, 8.0]]
    untouched = Ablated(network.layers[0], [], torch.zeros(0, 1, 1))
    assert torch.equal(untouched(maps), maps)


def test_no_harm_leaves_recovered_undefined(grammar):
    """Where the ablation does not raise the loss there is nothing to recover."""
    assert recovered(1.0, 1.5, 3.0) == 0.75
    assert recovered(1.0, 1.5, 1.0) is None and recovered(1.0, 1.5, 0.5) is None
    assert recovered(1.0, 1.5, math.inf) is None
    network = dense([[1, 0], [0, 1]])
    choices = [choose(network.layers[0], {0: None, 1: None}, grammar)]
    found = validate(network, choices, grammar, HELD_OUT, FIT, margin=MARGIN)
    assert found.recovered_mean is None and found.recovered_resample is None
    assert asdict(found.fvu_local) == {"median": None, "p95": None, "max": None}


def test_fvus_by_hand(grammar):
    """Local errors are those on original sources, in situ on replaced; the variance is of fit."""
    network = dense([[1]], [[2]])
    first, second = network.layers
    choices = [
        choose(first, {0: linear([(0.5, tap(first.source, 0))])}, grammar),
        choose(second, {0: linear([(1.0, tap(first.name, 0))])}, grammar),
    ]
    held_out, fit = part([[1], [3]]), part([[0], [4]])  # E x² = 5, Var x = 4
    found = validate(network, choices, grammar, held_out, fit, margin=MARGIN)
    a, b = found.units
    assert (a.layer, a.channel, b.layer) == (first.name, 0, second.name)
    assert (a.fvu_local, a.fvu_in_situ) == pytest.approx((0.25 * 5 / 4, 0.25 * 5 / 4))
    assert b.fvu_local == pytest.approx(1 * 5 / 16)  # x for 2x
    assert b.fvu_in_situ == pytest.approx(1.5**2 * 5 / 16)  # x/2 for 2x
    given = {first.name: np.array([10.0]), second.name: np.array([0.0])}
    again = validate(network, choices, grammar, held_out, fit, margin=MARGIN, variances=given)
    assert again.units[0].fvu_local == pytest.approx(0.25 * 5 / 10)
    assert again.units[1].fvu_local == math.inf
    assert again.fvu_local.max == math.inf


def test_fvus_stream_over_batches_and_positions(grammar):
    """Errors of maps over more than one batch equal those computed at once."""
    torch.manual_seed(3)
    network = read_network(randomised(convolutional()), torch.zeros(1, 1, 8, 8))
    layer = network.layers[1]
    half = linear([(0.5, own_program(layer, 2))])
    choices = [choose(layer, {2: half}, grammar)]
    inputs, fit = torch.randn(300, 1, 8, 8), torch.randn(270, 1, 8, 8)
    found = validate(network, choices, grammar, part(inputs), part(fit), margin=MARGIN)
    unit = network.record(inputs, [layer.name])[layer.name][:, 2]
    variance = network.record(fit, [layer.name])[layer.name][:, 2].var(correction=0)
    assert found.units[2].fvu_local == pytest.approx(
        float(0.25 * (unit**2).mean() / variance), rel=1e-5
    )
    assert found.fvu_local.max == found.units[2].fvu_local


def test_only_programs_and_rounded_units_are_summarised(grammar):
    """Constants and opaque units do not enter the median, the 95 % point or the maximum."""
    network = dense(np.eye(4).tolist())
    layer = network.layers[0]
    choice = choose(layer, {0: const(9.0), 3: None}, grammar)
    ablated = replace(choice.units[0], status=Status.ABLATED)
    choice = replace(choice, units=(ablated, *choice.units[1:]))
    parts = part(torch.randn(20, 4)), part(torch.randn(20, 4))
    found = validate(network, [choice], grammar, *parts, margin=MARGIN)
    assert found.units[0].fvu_local > 1
    assert found.fvu_local.max == 0.0


def test_unit_statistics_are_streamed_exactly():
    """Means and variances over probes and positions; a constant unit has variance exactly zero."""
    conv = nn.Conv2d(1, 2, 3)
    conv.weight.data[1] = 0.0
    network = read_network(nn.Sequential(conv), torch.zeros(1, 1, 5, 5))
    x = torch.randn(600, 1, 5, 5)
    found = unit_statistics(network, ["0"], Inputs([x]))["0"]
    maps = network.record(x, ["0"])["0"].double().transpose(0, 1).flatten(1)
    assert found.mean == pytest.approx(maps.mean(1).numpy())
    assert found.variance[0] == pytest.approx(float(maps[0].var(correction=0)))
    assert found.variance[1] == 0.0


# accuracy and verdicts


def test_lost_and_gained_are_not_exchanged(grammar):
    """The replacement answers always 0: it loses the ones it had right and gains zeros."""
    network = dense([[1, 0], [0, 1]])
    choices = [choose(network.layers[0], {0: const(9.0), 1: const(0.0)}, grammar)]
    inputs = [[1, 0]] * 3 + [[0, 1]] * 7
    labels = [0, 0, 1] + [1] * 5 + [0] * 2
    found = validate(network, choices, grammar, part(inputs, labels), FIT, margin=MARGIN)
    assert (found.lost, found.gained) == (5, 2)
    assert found.accuracy_original == 0.7 and found.accuracy_replaced == pytest.approx(0.4)
    assert found.accuracy_change == pytest.approx(-0.3)
    assert found.agreement == pytest.approx(0.3)
    low, high = found.accuracy_change_interval
    assert low < -0.3 < high
    assert found.verdict == "approximate" and found.needed is None


def test_without_labels_the_original_is_the_reference(grammar):
    """Every disagreement is then a loss, and losses are divergences from the original."""
    network = dense([[1, 0], [0, 1]])
    choices = [choose(network.layers[0], {0: const(9.0)}, grammar)]
    found = validate(network, choices, grammar, part([[1, 0], [0, 1]]), FIT, margin=MARGIN)
    assert not found.labelled and found.accuracy_original == 1.0
    assert (found.lost, found.gained, found.accuracy_replaced) == (1, 0, 0.5)
    assert found.loss_original == 0.0
    assert found.loss_replaced == pytest.approx(found.kl_mean)


@pytest.mark.parametrize(
    ("counts", "agreement", "expected"),
    [
        ((540, 0, 0), 1.0, "drop-in"),
        ((540, 0, 0), 0.97, "approximate"),
        ((50, 0, 0), 1.0, "inconclusive, needs n >= 381"),
        ((540, 20, 0), 0.99, "approximate"),
        ((540, 0, 20), 0.97, "approximate"),
        ((540, 0, 8), 0.985, "drop-in"),
    ],
)
def test_verdicts(counts, agreement, expected):
    """Drop-in needs the interval and the agreement; a change beyond the margin never passes."""
    n, b, c = counts
    assert verdict(non_inferiority(n, b, c, MARGIN), agreement) == expected


def test_foreign_labels_are_refused(grammar):
    """A label that the network has no output for is named."""
    with pytest.raises(ValueError, match="label 2"):
        by_hand(grammar, held_out=part([[1, 0]], [2]))


# envelopes


def test_probes_outside_an_envelope_are_counted_once(grammar):
    """A probe counts if any position or layer leaves its box; zero padding is inside it or not."""
    module = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.AvgPool2d(4), nn.Flatten())
    network = read_network(module, torch.zeros(1, 1, 4, 4))
    x = torch.full((300, 1, 4, 4), 0.5)
    x[7, 0, 2, 2], x[299, 0, 0, 0], x[299, 0, 3, 3] = 1.5, 9.0, -1.0
    parts = part(x), part(x)

    def outside(lower: float, upper: float) -> float | None:
        box = {"0": (np.full(9, lower), np.full(9, upper))}
        choices = exact(network, grammar)
        found = validate(network, choices, grammar, *parts, margin=MARGIN, envelopes=box)
        return found.held_out_outside_envelope

    assert outside(0.0, 1.0) == pytest.approx(2 / 300)
    assert outside(-1.0, 9.0) == 0.0
    assert outside(0.1, 9.0) == 1.0  # the padding is outside
    choices = exact(network, grammar)
    unasked = validate(network, choices, grammar, *parts, margin=MARGIN)
    assert unasked.held_out_outside_envelope is None


def test_the_replacement_runs_as_it_is_assembled(grammar):
    """Outputs of the replacement in validation are those of the assembled network."""
    network = dense([[1, 2], [3, 4]], [[1, -1], [0.5, 2]])
    choices = [
        choose(la, {0: linear([(0.5, tap(la.source, 1))])}, grammar) for la in network.layers
    ]
    x = torch.randn(50, 2)
    found = validate(network, choices, grammar, part(x), part(x), margin=MARGIN)
    p, q = network(x).double(), assemble(network, choices, grammar)(x).double()
    expected = F.kl_div(q.log_softmax(1), p.log_softmax(1), log_target=True, reduction="none").sum(
        1
    )
    assert found.kl_mean == pytest.approx(float(expected.mean()), rel=1e-6)
