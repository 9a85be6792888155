"""A price is the divergence that a small error causes: second order in the error."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from small import (
    CORE,
    as_they_are,
    chosen,
    gather,
    random_probes,
    read,
    seeded,
    unit_evidence,
)
from torch import Tensor, nn

from grammars.program import Node, const, linear, tap
from synth import price
from synth.assembly import assemble, own_program
from synth.batches import Inputs
from synth.engine import with_head
from synth.fronts import judge
from synth.network import Network
from synth.outputs import kl_divergence, run_batches
from synth.price import DRAWS, costs, gradients, priced_probes


class Squeezed(nn.Module):
    """One output a probe, without an axis of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = seeded(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)[:, 0]


def dense(classes: int = 3) -> nn.Module:
    return seeded(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, classes))


def probable() -> nn.Module:
    return nn.Sequential(*dense(), nn.Softmax(1))


def convolved() -> nn.Module:
    return seeded(
        nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )


def disturbed(network: Network, layer: int, channel: int, size: float) -> Node:
    """A unit with its weights a little larger and its bias a little moved."""
    la = network.layers[layer]
    weights = la.weight[channel].astype(np.float64)
    keys = [(la.source, *where) for where in la.columns()]
    moved = weights * (1 + size * np.cos(np.arange(len(weights))))
    terms = [(float(np.float32(w)), tap(*key)) for w, key in zip(moved, keys, strict=True)]
    return with_head(la.heads[channel], linear(terms, float(np.float32(la.bias[channel] + size))))


def priced(network: Network, layer: int, channel: int, program: Node, inputs: Inputs) -> float:
    """The price of a program for one unit."""
    la = network.layers[layer]
    probes = random_probes(*inputs.shapes, fit=40, select=10)
    evidence = list(gather(network, probes, seed=0))[layer]
    (candidate,) = judge(unit_evidence(evidence, channel), [program], ["hand"])
    fronts = [(candidate,) if c == channel else () for c in range(la.units)]
    known = gradients(network, inputs.batch(), seed=0)[la.name]
    return float(costs(la, fronts, known, CORE)[channel][0])


def divergence(network: Network, layer: int, channel: int, program: Node, inputs: Inputs) -> float:
    """The mean KL from the network to it with one unit replaced."""
    choices = as_they_are(network)
    la = network.layers[layer]
    programs = [own_program(la, c) for c in range(la.units)]
    programs[channel] = program
    choices[layer] = chosen(la, programs)
    original, outputs = (
        run_batches(m, inputs) for m in (network.module, assemble(network, choices, CORE))
    )
    return float(kl_divergence(original, outputs).mean())


@pytest.mark.parametrize(
    ("make", "shape"),
    [(dense, (5,)), (probable, (5,)), (Squeezed, (5,)), (convolved, (2, 4, 4))],
    ids=["dense", "probabilities", "one output", "convolved"],
)
def test_prices_are_divergences(make: Callable[[], nn.Module], shape):
    """For a small error of any unit of any layer the price is the true KL, within 5 %."""
    network, inputs = read(make(), shape), random_probes(shape, fit=200).fit
    for layer, la in enumerate(network.layers):
        for channel in range(0, la.units, 2):
            program = disturbed(network, layer, channel, 0.02)
            true = divergence(network, layer, channel, program, inputs)
            assert priced(network, layer, channel, program, inputs) == pytest.approx(true, rel=0.05)


def test_prices_are_second_order():
    """Twice the error costs four times as much, and the unit itself costs nothing."""
    network, inputs = read(dense(), (5,)), random_probes((5,)).fit
    once, twice = (
        priced(network, 2, 1, disturbed(network, 2, 1, size), inputs) for size in (0.01, 0.02)
    )
    assert twice == pytest.approx(4 * once, rel=1e-3)
    assert priced(network, 0, 1, own_program(network.layers[0], 1), inputs) < 1e-12 * once + 1e-13


def test_what_nothing_reads_costs_nothing():
    """Any program for a unit without readers is free."""
    module = dense()
    with torch.no_grad():
        module[2].weight[:, 3] = 0  # type: ignore[index]
    network, inputs = read(module, (5,)), random_probes((5,)).fit
    assert priced(network, 0, 3, const(7.0), inputs) == 0.0
    assert priced(network, 0, 2, const(7.0), inputs) > 0.0


def test_many_classes_are_sampled():
    """With more classes than are summed, answers are drawn: nearly the KL, and repeatable."""
    network, inputs = read(dense(40), (5,)), random_probes((5,), fit=500).fit
    slopes, again, other = (
        gradients(network, inputs.batch(), seed=s)["0"].slopes for s in (0, 0, 1)
    )
    assert slopes.shape == (DRAWS, 500, 4, 1, 1)
    assert torch.equal(slopes, again) and not torch.equal(slopes, other)
    program = disturbed(network, 0, 1, 0.02)
    true = divergence(network, 0, 1, program, inputs)
    assert priced(network, 0, 1, program, inputs) == pytest.approx(true, rel=0.25)


def test_gradients_are_of_every_answer():
    """Squares of the scaled gradients sum to the expectation that finite differences give."""
    network, inputs = read(dense(), (5,)), random_probes((5,), fit=6).fit.batch()
    slopes = gradients(network, inputs, seed=0)["2"].slopes.double()[:, :, 1, 0, 0]
    maps = network.record(inputs, ["2"])["2"]

    def outputs(change: float) -> Tensor:
        class Moved(nn.Module):
            def forward(self, _: Tensor) -> Tensor:
                moved = maps.clone()
                moved[:, 1] += change
                return moved

        return torch.log_softmax(network.replaced({"2": Moved()})(*inputs).double(), 1)

    numeric = (outputs(1e-2) - outputs(-1e-2)) / 2e-2
    expected = (outputs(0).exp() * numeric**2).sum(1)
    assert (slopes**2).sum(0).numpy() == pytest.approx(expected.numpy(), rel=1e-2, abs=1e-6)


def test_a_layer_is_priced_on_its_own_maps():
    """What it reads and what it gives are those of the network as it is, without a graph."""
    network, inputs = read(convolved(), (2, 4, 4)), random_probes((2, 4, 4), fit=6).fit.batch()
    for layer in network.layers:
        known = gradients(network, inputs, seed=0)[layer.name]
        recorded = network.record(inputs, [layer.source, layer.name])
        assert torch.equal(known.source, recorded[layer.source])
        assert torch.equal(known.units, recorded[layer.name])
        assert not (known.source.requires_grad or known.units.requires_grad)


def test_siblings_are_priced_as_they_were():
    """A reference is priced on the original sibling: a copy of itself costs nothing."""
    module = dense()
    with torch.no_grad():
        module[0].weight[1], module[0].bias[1] = module[0].weight[0], module[0].bias[0]  # type: ignore[index]
    network, inputs = read(module, (5,)), random_probes((5,)).fit
    assert priced(network, 0, 1, tap("0", 0), inputs) < 1e-13
    assert priced(network, 0, 2, tap("0", 0), inputs) > 1e-6


def test_prices_see_the_whole_of_sorted_probes(monkeypatch):
    """Probes that come class by class are priced from first to last, not by their first part."""
    monkeypatch.setattr(price, "PROBES", 512)
    network, fit = read(seeded(nn.Linear(1, 2)), (1,)), Inputs([torch.arange(2000.0)[:, None]])
    (priced,) = priced_probes(network, fit)
    assert len(priced) == 512 and priced[0] == 0 and priced[-1] == 1999
    assert (priced.diff(dim=0) <= 4).all()
    few = fit.take(np.arange(10))
    assert torch.equal(*priced_probes(network, few), *few.batch())


def test_large_networks_are_priced_on_fewer_probes(monkeypatch):
    """Gradients of all layers together stay below a bound, but for the least number of probes."""
    network, fit = read(dense(), (5,)), random_probes((5,)).fit
    values = 3 * (4 + 4 + 3)  # classes and units
    monkeypatch.setattr(price, "HELD", 100 * values)
    assert len(*priced_probes(network, fit)) == 100
    monkeypatch.setattr(price, "HELD", 1)
    assert len(*priced_probes(network, fit)) == price.LEAST


def test_prices_do_not_depend_on_how_many_probes_run_at_once(monkeypatch):
    """Batches of probes add up to the whole, for references to siblings too."""
    network = read(convolved(), (2, 4, 4))
    fit = random_probes((2, 4, 4), fit=50).fit
    priced = gradients(network, priced_probes(network, fit), seed=0)["0"]
    programs = [disturbed(network, 0, 1, 0.1), tap("0", 0), const(0.25)]
    evidence = next(gather(network, random_probes((2, 4, 4)), seed=0))
    front = judge(unit_evidence(evidence, 1), programs, ["mine"] * 3)
    fronts = [(), front, ()]
    monkeypatch.setattr(price, "AT_ONCE", 1000)
    (_, whole, _) = costs(network.layers[0], fronts, priced, CORE)
    monkeypatch.setattr(price, "AT_ONCE", 7)
    (nothing, parts, _) = costs(network.layers[0], fronts, priced, CORE)
    assert nothing.shape == (0,) and (whole > 0).all()
    assert np.allclose(parts, whole, rtol=1e-5)
