"""Bounds of units on replaced sources: planted truths, and no run of both networks beyond them."""

import time
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pytest
import torch
from small import CORE, chosen, read, seeded
from test_certify import Program, mixed, network, replaced, rounded
from torch import nn

from grammars.program import Node, linear, tap
from oracles.claims import Box
from synth.assembly import LayerChoice, own_program
from synth.certify.unit_rows import bound_units, seen_units, unit_rows
from synth.certify.units import UnitStep
from synth.certify.walk import Certifier
from synth.certify.worst import Runs
from synth.engine import with_head
from synth.layers import Head, Layer
from synth.network import Network

OFTEN = time.monotonic() + 10_000


def bounded(
    net: Network,
    choices: list[LayerChoice],
    low: float,
    high: float,
    *,
    until: float = OFTEN,
    envelopes: Mapping[str, Box] = MappingProxyType({}),
) -> dict[str, UnitStep]:
    shape = net.input_shapes[0]
    ends = torch.full(shape, low).double(), torch.full(shape, high).double()
    return bound_units(net, choices, CORE, [ends], envelopes, until=until)


def seen(net: Network, choices: list[LayerChoice], points: torch.Tensor) -> dict:
    return seen_units(Runs.of(Certifier.of(net, choices, CORE), choices, CORE), [(points,)])


@pytest.mark.parametrize(
    ("name", "program", "exact"),
    [
        ("dense", rounded, True),
        ("pooled", rounded, True),
        ("pooled", mixed, False),
        ("heads", mixed, False),
    ],
)
def test_no_run_is_beyond(name: str, program: Program, exact: bool) -> None:
    """Through strides, padding, groups, pools, sums and heads of all forms, whatever stands for
    the units: no unit of the replacement is farther from the original's than is said, in exact
    arithmetic or, where time is up, by the enclosing step."""
    net = network(name)
    choices = replaced(net, program)
    steps = bounded(net, choices, -0.5, 1.0, until=OFTEN if exact else 0.0)
    noise = torch.rand(200, *net.input_shapes[0], generator=torch.Generator().manual_seed(7))
    found = seen(net, choices, torch.cat([noise * 1.5 - 0.5, noise.round() * 1.5 - 0.5]))
    for layer in net.layers:
        (bounds,) = steps[layer.name].found
        here = found[layer.name].numpy()
        assert (here <= bounds.composed * (1 + 1e-6) + 1e-6).all()
        assert (bounds.alone <= bounds.composed + 1e-12).all() and here.max() > 1e-3
    first = net.layers[0].name
    least = 0.4 if exact else 0.1
    assert (found[first].numpy() >= least * steps[first].found[0].composed - 1e-9).all()


def moved(layer: Layer, unit: int, change: float) -> Node:
    """The unit with so much more on its bias."""
    weights = layer.weight[unit].astype(np.float64)
    taps = [(float(w), tap(*key)) for w, key in zip(weights, layer.scope.columns, strict=True)]
    return with_head(layer.heads[unit], linear(taps, float(layer.bias[unit]) + change))


def planted(*heads: nn.Module) -> tuple[Network, list[LayerChoice]]:
    """Three units, two of which moved by 1/8 and −1/4, and two units that read them."""
    net = read(seeded(nn.Linear(4, 3), *heads, nn.Linear(3, 2)), (4,))
    first, second = net.layers
    changes = (0.125, -0.25, 0.0)
    one = chosen(first, [moved(first, u, change) for u, change in enumerate(changes)])
    return net, [one, chosen(second, [own_program(second, u) for u in range(2)])]


def test_errors_of_sources_are_composed_as_they_are() -> None:
    """Without heads every input has the planted difference, and the bound is no more than that."""
    net, choices = planted()
    steps = bounded(net, choices, -1.0, 1.0)
    first, second = (steps[la.name].found[0] for la in net.layers)
    assert first.alone == pytest.approx([0.125, 0.25, 0.0], abs=1e-9)
    weights = np.abs(net.layers[1].weight.astype(np.float64))
    assert second.alone == pytest.approx([0.0, 0.0], abs=1e-12)
    assert second.composed == pytest.approx(weights @ [0.125, 0.25, 0.0], rel=1e-6)


def test_rectified_sources() -> None:
    """Behind ReLUs the planted difference is the most that sources differ by, which some reach."""
    net, choices = planted(nn.ReLU())
    steps = bounded(net, choices, -3.0, 3.0)
    first, second = (steps[la.name].found[0] for la in net.layers)
    assert first.composed == pytest.approx([0.125, 0.25, 0.0], abs=1e-9)
    points = torch.rand(4000, 4, generator=torch.Generator().manual_seed(1)) * 6 - 3
    found = seen(net, choices, points)[net.layers[1].name].numpy()
    assert (found <= second.composed * (1 + 1e-6)).all()
    weights = net.layers[1].weight.astype(np.float64)
    assert second.composed == pytest.approx(np.abs(weights) @ [0.125, 0.25, 0.0], rel=1e-6)


def test_an_envelope_is_the_domain_of_its_layer() -> None:
    """What a layer reads is held to its envelope, on which alone its programs are bounded."""
    net, choices = planted(nn.ReLU())
    second = net.layers[1]
    halves = [choices[0], chosen(second, [halved(second, u) for u in range(2)])]
    wide = bounded(net, halves, -3.0, 3.0)
    envelopes = {second.name: Box(np.zeros(3), np.full(3, 0.5))}
    narrow = bounded(net, halves, -3.0, 3.0, envelopes=envelopes)
    here, there = (steps[second.name].found[0] for steps in (narrow, wide))
    weights = np.abs(second.weight.astype(np.float64)).max(1)
    assert here.alone == pytest.approx(weights / 4, rel=1e-6)
    assert (here.composed > here.alone).all() and (here.composed < there.composed).all()


def halved(layer: Layer, unit: int) -> Node:
    """The unit with its largest weight halved."""
    weights = layer.weight[unit].astype(np.float64)
    weights[np.abs(weights).argmax()] /= 2
    taps = [(float(w), tap(*key)) for w, key in zip(weights, layer.scope.columns, strict=True)]
    return with_head(Head("identity"), linear(taps, float(layer.bias[unit])))


def test_a_tree_over_replaced_sources() -> None:
    """A maximum of two sources, off by 1/8 and 1/4, beside one of which it is to be."""
    net, (first, _) = planted()
    one, other, _ = (tap(*key) for key in net.layers[1].scope.columns)
    unit = own_program(net.layers[1], 0)
    tree = linear([(1.0, unit), (0.5, Node("max", (one, other)))])
    second = chosen(net.layers[1], [tree, None])
    steps = bounded(net, [first, second], -1.0, 1.0)
    found = steps[net.layers[1].name].found[0]
    points = torch.rand(4000, 4, generator=torch.Generator().manual_seed(3)).round() * 2 - 1
    here = float(seen(net, [first, second], points)[net.layers[1].name][0])
    assert here <= found.composed[0] and found.alone[0] < found.composed[0] < 1.6 * here


def test_rows() -> None:
    """Of the units that are wanted: what is proved, what is found, and what time leaves out."""
    net, choices = planted(nn.ReLU())
    steps = bounded(net, choices, -3.0, 3.0)
    found = seen(net, choices, torch.zeros(3, 4))
    name = net.layers[0].name
    rows = unit_rows(steps.values(), found, lambda layer, c: layer == name, until=OFTEN)
    assert [row["channel"] for row in rows] == [0, 1, 2]
    for row in rows[:2]:
        assert row["overshoot"] == pytest.approx(1.0, abs=1e-6)
        assert row["counterexample"] <= row["bound"] <= row["composed"] * (1 + 1e-12)
    assert rows[2]["bound"] == pytest.approx(0.0, abs=1e-12) and rows[2]["overshoot"] is None
    late = unit_rows(steps.values(), {}, lambda *_: True, until=0.0)
    assert {(row["counterexample"], row["seen"]) for row in late} == {(None, None)}
    assert len(late) == 5 and all(row["bound"] is not None for row in late)
