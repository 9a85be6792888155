"""Run the graph of a network node by node, with modules in the place of layers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from synth.batches import Batch
from synth.layers import Layer, as_maps, like
from synth.modules import OnMaps
from synth.nodes import chain
from synth.operations import evaluated
from synth.parts import LayerNodes

Values = dict[fx.Node, Any]


@dataclass(frozen=True)
class Swap:
    """A module from the value of a layer's source to that of its cut, each of its own rank."""

    source: fx.Node
    cut: fx.Node
    module: nn.Module


class Runner:
    """Which nodes run in which order, and how a layer gives way to a module.

    `steps` are the nodes that depend on an input, in order; `constants` the values of the others;
    `inputs` the nodes that stand for the network's inputs.
    """

    def __init__(
        self, module: fx.GraphModule, layers: Iterable[Layer], spots: Mapping[str, LayerNodes]
    ) -> None:
        nodes = list(module.graph.nodes)
        self.by_name = {node.name: node for node in nodes}
        self.inputs = [node for node in nodes if node.op == "placeholder"]
        self.constants: Values = evaluated(module)
        self._module = module
        calls = (node for node in nodes if node.op in ("call_function", "call_module"))
        self.steps = [node for node in calls if node not in self.constants]
        state = (*module.parameters(), *module.buffers())
        self.device = state[0].device if state else torch.device("cpu")
        self._layers = {layer.name: layer for layer in layers}
        self._spots = spots

    def run(self, node: fx.Node, values: Values) -> Any:
        """The value of a node from those that it reads."""
        args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
        target = node.target
        function = self._module.get_submodule(target) if isinstance(target, str) else target
        return function(*args, **kwargs)

    def linear(self, layer: str) -> fx.Node:
        """The node at which a layer is computed."""
        return self.by_name[self._spots[layer].linear]

    def source(self, layer: str) -> fx.Node:
        """The node that holds the layer's source."""
        return self.by_name[self._spots[layer].source]

    def cut(self, layer: str) -> fx.Node:
        """The node that holds the layer's units."""
        return self.by_name[self._spots[layer].last]

    def inside(self, layer: str) -> list[fx.Node]:
        """The nodes that a module replaces, the layer's linear operation and its cut included."""
        return chain(self.linear(layer), self.cut(layer))

    def replacement(self, layer: str, module: nn.Module) -> Swap:
        """`module` as it stands in the graph in the place of `layer`."""
        cut = self.cut(layer)
        shape = self._layers[layer].out_shape
        wrapped = OnMaps(module, rank=cut.meta["val"].dim(), out_shape=shape)
        return Swap(self.source(layer), cut, wrapped.to(self.device))

    def record(
        self,
        batch: Batch,
        wanted: set[fx.Node],
        modules: Mapping[str, nn.Module],
        output: fx.Node,
        *,
        grad: bool,
        to_end: bool,
    ) -> tuple[Tensor | None, dict[fx.Node, Tensor]]:
        """The value of `output`, and the maps of the `wanted` nodes, with modules in place.

        With `grad`, what follows a wanted node reads its maps, or they would have no gradient. If
        not `to_end`, the last wanted node is the last to run, and there is no value.
        """
        swaps = {self.linear(name): self.replacement(name, m) for name, m in modules.items()}
        skipped = {node for name in modules for node in self.inside(name)}
        values: Values = self.constants | dict(zip(self.inputs, batch, strict=True))
        maps: dict[fx.Node, Tensor] = {}
        for node in (*self.inputs, *self.steps):
            if not to_end and len(maps) == len(wanted):
                return None, maps
            if node in swaps:
                swap = swaps[node]
                values[swap.cut] = swap.module(values[swap.source])
                made = swap.cut
            elif node in skipped:
                continue
            else:
                made = node
                if node not in values:
                    values[node] = self.run(node, values)
            if made in wanted:
                maps[made] = _recorded(values[made], grad)
                values[made] = like(maps[made], values[made].dim())
        return values[output], maps


def _recorded(value: Tensor, grad: bool) -> Tensor:
    maps = as_maps(value)
    return maps.detach().requires_grad_() if grad and not maps.requires_grad else maps
