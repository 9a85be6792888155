"""A network as we read it: layers, views and opaque nodes over one exported graph."""

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from synth.errors import nearest
from synth.export import ReadError, export_graph, referenced
from synth.layers import Layer, as_maps, like
from synth.modules import OnMaps, layer_module
from synth.nodes import chain
from synth.reading import LayerNodes, Opaque, Reader, View

__all__ = ["LayerNodes", "Network", "Opaque", "ReadError", "View", "layer_module", "read_network"]


@dataclass(frozen=True, eq=False)
class Network:
    """An exported network and its reading; a bank is an input, a layer, a view or an opaque value.

    `layers` are in topological order. `input_shape` is that of a sample, without the batch.
    `banks` maps each bank to the name of the graph node that holds it; `nodes` gives the nodes of
    each layer. `module` shares nothing with the module that was read.
    """

    module: fx.GraphModule
    layers: tuple[Layer, ...]
    views: tuple[View, ...]
    opaque: tuple[Opaque, ...]
    input_name: str
    input_shape: tuple[int, ...]
    banks: Mapping[str, str]
    nodes: Mapping[str, LayerNodes]

    @property
    def graph(self) -> fx.Graph:
        """The graph of aten operations that `module` runs."""
        return self.module.graph

    def layer(self, name: str) -> Layer:
        """The layer `name`; ValueError if there is none."""
        _known(name, self.nodes, "layer")
        return next(layer for layer in self.layers if layer.name == name)

    def node(self, name: str) -> fx.Node:
        """The graph node `name`; ValueError if there is none."""
        nodes = {node.name: node for node in self.graph.nodes}
        _known(name, nodes, "graph node")
        return nodes[name]

    def __call__(self, x: Tensor) -> Tensor:
        """The output for a batch x (N, *input_shape), without gradients."""
        with torch.no_grad():
            return self.module(x)

    def record(
        self,
        x: Tensor,
        banks: Iterable[str],
        *,
        modules: Mapping[str, nn.Module] | None = None,
        grad: bool = False,
    ) -> dict[str, Tensor]:
        """Run a batch x (N, *input_shape); the maps (N, C, H, W) of `banks`, and "output".

        `modules` replaces layers as in `replaced`. With `grad`, the output depends on the
        returned maps, so that `torch.autograd.grad(f(output), maps)` works.
        ValueError for an unknown bank.
        """
        wanted = tuple(banks)
        for bank in wanted:
            _known(bank, self.banks, "bank")
        module, nodes = self.module, self.banks
        if modules:
            module, nodes = self._rewired(self.module, modules)
        with torch.set_grad_enabled(grad):
            recorder = _Recorder(module, {nodes[bank] for bank in wanted}, grad=grad)
            output = recorder.run(x)
        return {bank: recorder.maps[nodes[bank]] for bank in wanted} | {"output": output}

    def replaced(self, modules: Mapping[str, nn.Module]) -> fx.GraphModule:
        """A copy of the network in which `modules` compute the layers that they are named after.

        A module maps the maps (N, C, H, W) of the layer's source to the layer's maps (N, O, h, w).
        What nothing reads any more is gone, with its weights; ValueError for an unknown layer.
        """
        module, _ = self._rewired(copy.deepcopy(self.module), modules)
        module.graph.eliminate_dead_code()
        return referenced(module)

    def double(self) -> "Network":
        """The same network computed in float64; layers keep their float32 weights."""
        module = copy.deepcopy(self.module).double()
        for node in module.graph.nodes:
            node.args, node.kwargs = map_aggregate((node.args, node.kwargs), _widened)
        module.recompile()
        return replace(self, module=module)

    def _rewired(
        self, root: fx.GraphModule, modules: Mapping[str, nn.Module]
    ) -> tuple[fx.GraphModule, dict[str, str]]:
        """A graph over the state of `root` with layers replaced, and the node of each bank."""
        for name in modules:
            _known(name, self.nodes, "layer")
        result = fx.GraphModule(root, copy.deepcopy(root.graph))
        nodes = {node.name: node for node in result.graph.nodes}
        banks = {bank: nodes[name] for bank, name in self.banks.items()}
        for layer in self.layers:
            if layer.name in modules:
                spot = self.nodes[layer.name]
                old = chain(nodes[spot.linear], nodes[spot.last])
                banks[layer.name] = _replace(result, layer, old, banks, modules[layer.name])
        result.recompile()
        return result, {bank: node.name for bank, node in banks.items()}


class _Recorder(fx.Interpreter):
    """Run a graph and keep the maps of some nodes."""

    def __init__(self, module: fx.GraphModule, wanted: set[str], *, grad: bool) -> None:
        super().__init__(module)
        self.wanted, self.grad = wanted, grad
        self.maps: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name not in self.wanted:
            return value
        maps = as_maps(value)
        if self.grad and not maps.requires_grad:
            maps = maps.detach().requires_grad_()
        self.maps[n.name] = maps
        # What follows reads the recorded maps themselves, or they would have no gradient.
        return like(maps, value.dim())


def _replace(
    result: fx.GraphModule,
    layer: Layer,
    old: list[fx.Node],
    banks: Mapping[str, fx.Node],
    module: nn.Module,
) -> fx.Node:
    """Put one module in place of the nodes `old`, given from the cut back; the new node."""
    last, linear = old[0], old[-1]
    target = "layer_" + re.sub(r"\W", "_", layer.name)
    while hasattr(result, target):
        target += "_"
    rank = last.meta["val"].dim()
    result.add_submodule(target, OnMaps(module, rank=rank, out_shape=layer.out_shape))
    with result.graph.inserting_before(linear):
        new = result.graph.call_module(target, (banks[layer.source],))
    new.meta = dict(last.meta)
    last.replace_all_uses_with(new)
    for node in old:
        result.graph.erase_node(node)
    return new


def _known(name: str, names: Iterable[str], what: str) -> None:
    names = set(names)
    if name not in names:
        raise ValueError(f"there is no {what} {name!r}.{nearest(name, names)}")


def _widened(value: Any) -> Any:
    return torch.float64 if value == torch.float32 else value


def read_network(module: nn.Module, example: Tensor) -> Network:
    """Read a module, as it is in eval mode, through `torch.export`.

    `example` is a batch (N, ...) of at least one sample; any batch size may follow. The module is
    copied and not changed. Raises ReadError, with all its reasons, if the network cannot be
    exported or has weights that are not finite.
    """
    original = copy.deepcopy(module).eval().requires_grad_(False)
    graph_module = export_graph(original, example)
    reader = Reader(graph_module, original)
    reader.read()
    return Network(
        module=graph_module,
        layers=tuple(reader.layers),
        views=tuple(reader.views),
        opaque=tuple(reader.opaque),
        input_name=reader.banks.get(reader.input) or reader.input.name,
        input_shape=tuple(example.shape[1:]),
        banks={bank: node.name for node, bank in reader.banks.items()},
        nodes=dict(reader.nodes),
    )
