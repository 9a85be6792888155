"""Two hundred random networks of everything that is read are read back, with nothing left over."""

import pytest
import torch
from random_graphs import STEPS, RandomGraph
from torch import Tensor
from torch.utils import _pytree as pytree

from synth.batches import Inputs
from synth.modules import layer_module
from synth.network import Network, read_network
from synth.walk import Walk

SEEDS, SHARE = 200, 10


def tensors(outputs: object) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]


def complaints(seed: int) -> list[str]:
    """What is wrong with reading the graph of a seed."""
    graph = RandomGraph(seed)
    network = read_network(graph, tuple(torch.zeros(1, *shape) for shape in graph.shapes))
    batch = tuple(torch.randn(5, *shape) for shape in graph.shapes)
    with torch.no_grad():
        expected = tensors(graph(*(x.clone() for x in batch)))
        modules = {la.name: layer_module(la) for la in network.layers}
        found = tensors(network.replaced(modules)(*batch))
    wrong = [f"{o.node} ({o.operation}) is opaque: {o.reason}" for o in network.opaque]
    for i, (one, other) in enumerate(zip(found, expected, strict=True)):
        if (one - other).abs().max() > 1e-5 * other.abs().max():
            wrong.append(f"output {i} differs by {(one - other).abs().max()}")
    if seed % 5 == 0:
        wrong.extend(_walk(network, batch))
    return [f"seed {seed}: {text}; its steps are {graph.kinds}" for text in wrong]


def _walk(network: Network, batch: tuple[Tensor, ...]) -> list[str]:
    walk = Walk(network, Inputs(list(batch)), size=2)
    for layer in network.layers:
        walk.put(layer.name, layer_module(layer))
    expected = network(*batch)
    wrong = (walk.output() - expected).abs().max() > 1e-5 * expected.abs().max()
    return ["a walk differs"] if wrong else []


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("share", range(SHARE))
def test_random_graphs_read_back(share: int):
    """Each graph equals its layers' folded weights put back, and no node of it is opaque."""
    wrong = [text for seed in range(share, SEEDS, SHARE) for text in complaints(seed)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_random_graphs_hold_everything():
    """Over all seeds every kind of step occurs, and so do two inputs and several outputs."""
    graphs = [RandomGraph(seed) for seed in range(SEEDS)]
    assert {kind for graph in graphs for kind in graph.kinds} == {s.__name__ for s in STEPS}
    assert any(len(graph.shapes) == 2 for graph in graphs)
    assert any(len(graph.outputs) > 1 and graph.form == "dict" for graph in graphs)
