"""A walk over the layers computes what recording the network does, each node once a batch."""

from collections import Counter

import pytest
import torch
from architectures import CASES, Branches, Case, Residual, convolutional, randomised, read_case
from small import read
from torch import Tensor, nn

from synth.batches import Inputs
from synth.layers import Layer
from synth.modules import layer_module
from synth.network import Network, read_network
from synth.running import Runner
from synth.walk import Walk


class Halved(nn.Module):
    """A layer whose units are all half as large."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.original = layer_module(layer)

    def forward(self, maps: Tensor) -> Tensor:
        return self.original(maps) / 2


def halved(network: Network, every: int) -> dict[str, nn.Module]:
    """Every so many layers with units of half their size."""
    return {layer.name: Halved(layer) for layer in network.layers[::every]}


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_walk_is_recording(case: Case, every: int):
    """Sources and output, batch by batch, are those of one run with the same modules."""
    _, network = read_case(case)
    x, modules = torch.randn(7, *case.shape), halved(network, every)
    walk, done = Walk(network, Inputs([x]), size=3), {}
    for layer in network.layers:
        batches = list(walk.source(layer.name))
        assert [len(maps) for maps in batches] == [3, 3, 1]
        expected = network.record(x, [layer.source], modules=done)[layer.source]
        torch.testing.assert_close(torch.cat(batches), expected)
        if layer.name in modules:
            done[layer.name] = modules[layer.name]
        walk.put(layer.name, modules.get(layer.name))
    torch.testing.assert_close(walk.output(), network.record(x, [], modules=done)["output"])


def walked(network: Network, inputs: Inputs, modules: dict[str, nn.Module], *, size: int) -> Walk:
    walk = Walk(network, inputs, size=size)
    for layer in network.layers:
        walk.put(layer.name, modules.get(layer.name))
    return walk


@pytest.mark.parametrize("make", [convolutional, Residual, Branches])
def test_each_node_runs_once_a_batch(make, monkeypatch):
    """However many layers there are, no node is computed twice, and replaced ones never."""
    shape = {convolutional: (1, 8, 8), Residual: (2, 6, 6), Branches: (1, 6, 6)}[make]
    network, runs = read(randomised(make()), shape), Counter()
    network.runner  # noqa: B018  (it reads the parameters once)
    run = Runner.run

    def counted(self, node, values):
        runs[node.name] += 1
        return run(self, node, values)

    monkeypatch.setattr(Runner, "run", counted)
    walked(network, Inputs([torch.randn(6, *shape)]), halved(network, 2), size=3).output()
    replaced = {n.name for la in network.layers[::2] for n in network.runner.inside(la.name)}
    assert set(runs) == {n.name for n in network.runner.steps} - replaced
    assert set(runs.values()) == {2}


def test_only_what_is_read_later_is_kept():
    """At a layer a batch holds its source and what later nodes read, and no input."""
    network = read(randomised(Residual()), (2, 6, 6))
    walk, kept = Walk(network, Inputs([torch.randn(4, 2, 6, 6)]), size=2), []
    for layer in network.layers:
        kept.append({node.name for node in walk._kept[0]})
        walk.put(layer.name)
    banks = network.banks
    assert kept[0] == set()
    assert kept[1] == {banks["conv1"]}  # the second convolution and the sum read it
    assert kept[2] == {banks["pool"], banks["flatten"]}  # one memory
    assert {node.name for node in walk._kept[0]} == {banks["output_"]}


class Two(nn.Module):
    """Two inputs and two outputs, of which the second is judged."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(2, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        hidden = torch.relu(self.a(x) + self.b(y))
        return {"unused": torch.sort(hidden, 1)[0], "logits": self.c(hidden) + y}


def test_walk_of_two_inputs_gives_the_judged_output():
    """Inputs go in by place, and nodes of outputs that nobody judges do not run."""
    module = Two().eval()
    network = read_network(module, (torch.zeros(1, 3), torch.zeros(1, 2)), judged="logits")
    x, y = torch.randn(5, 3), torch.randn(5, 2)
    walk = walked(network, Inputs([x, y]), {}, size=2)
    torch.testing.assert_close(walk.output(), module(x, y)["logits"])
    assert not any(node.name.startswith("sort") for node in walk._needed)


def test_layers_are_visited_in_order():
    """Another layer than the next, and the output before the end, are refused with the place."""
    network = read(randomised(convolutional()), (1, 8, 8))
    walk = Walk(network, Inputs([torch.randn(2, 1, 8, 8)]))
    with pytest.raises(ValueError, match="stands at layer '0', and is asked for '4'"):
        walk.source("4")
    with pytest.raises(ValueError, match="stands at layer '0': put it"):
        walk.output()
    for layer in network.layers:
        walk.put(layer.name)
    with pytest.raises(ValueError, match="behind the last layer"):
        walk.put("9")
