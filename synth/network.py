"""A network as we read it: layers, views and opaque nodes over one exported graph."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from synth.batches import Batch
from synth.errors import nearest
from synth.export import ReadError, export_graph, referenced
from synth.layers import Layer
from synth.modules import layer_module
from synth.parts import OUTPUT, LayerNodes, Opaque, View
from synth.reading import Reader
from synth.running import Runner, Swap

__all__ = ["LayerNodes", "Network", "Opaque", "ReadError", "View", "layer_module", "read_network"]


@dataclass(frozen=True, eq=False)
class Network:
    """An exported network and its reading; a bank is an input, a layer, a view or an opaque value.

    `layers` are in topological order. `input_shapes` are those of a sample, without the batch.
    `banks` maps each bank to the name of the graph node that holds it; `nodes` gives the nodes of
    each layer. `judged` is the place, among `output_names`, of the output that validation judges.
    `module` returns a tensor if there is one output, else a tuple of them; it shares nothing with
    the module that was read.
    """

    module: fx.GraphModule
    layers: tuple[Layer, ...]
    views: tuple[View, ...]
    opaque: tuple[Opaque, ...]
    input_names: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    output_names: tuple[str, ...]
    judged: int
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

    @cached_property
    def runner(self) -> Runner:
        """What runs the graph node by node."""
        return Runner(self.module, self.layers, self.nodes)

    @property
    def output_nodes(self) -> tuple[fx.Node, ...]:
        """The graph nodes that are returned, in order of `output_names`."""
        returned = self.graph.output_node().args[0]
        nodes = returned if isinstance(returned, list | tuple) else (returned,)
        return tuple(node for node in nodes if isinstance(node, fx.Node))

    @cached_property
    def beside_judged(self) -> frozenset[str]:
        """The layers that an output depends on which is not the judged one."""
        judged = self.output_nodes[self.judged]
        return self._behind(node for node in self.output_nodes if node is not judged)

    @cached_property
    def before_jumps(self) -> frozenset[str]:
        """The layers that a unit depends on which jumps: the answers have no gradient there."""
        return self._behind(self.runner.linear(la.name) for la in self.layers if la.jumps)

    def _behind(self, nodes: Iterable[fx.Node]) -> frozenset[str]:
        """The layers that some nodes depend on."""
        todo, seen = list(nodes), set[fx.Node]()
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += node.all_input_nodes
        names = {node.name for node in seen}
        return frozenset(la.name for la in self.layers if self.banks[la.name] in names)

    def __call__(self, *batch: Tensor) -> Tensor:
        """The judged output for a batch of inputs (N, *shape) each, without gradients."""
        with torch.no_grad():
            return self.judge(self.module(*batch))

    def judge(self, outputs: Any) -> Tensor:
        """The judged output among all that a module, original or replaced, has returned."""
        tensors = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
        return tensors[self.judged]

    def record(
        self,
        batch: Batch | Tensor,
        banks: Iterable[str],
        *,
        modules: Mapping[str, nn.Module] | None = None,
        grad: bool = False,
        to_end: bool = True,
    ) -> dict[str, Tensor]:
        """Run a batch of inputs (N, *shape) each; the maps (N, C, H, W) of `banks`, and "output".

        A lone tensor is the batch of a network with one input. `modules` replaces layers as in
        `replaced`; "output" is the judged one. With `grad`, it depends on the returned maps, so
        that `torch.autograd.grad(f(output), maps)` works. If not `to_end`, there is no "output"
        and no more is run than the banks need. ValueError for an unknown bank or layer.
        """
        wanted, modules = tuple(banks), modules or {}
        for name, names, what in (
            *((bank, self.banks, "bank") for bank in wanted),
            *((layer, self.nodes, "layer") for layer in modules),
        ):
            _known(name, names, what)
        nodes = {self.runner.by_name[self.banks[bank]] for bank in wanted}
        given = (batch,) if isinstance(batch, Tensor) else batch
        with torch.set_grad_enabled(grad):
            values, maps = self.runner.record(
                given, nodes, modules, self.output_nodes[self.judged], grad=grad, to_end=to_end
            )
        found = {bank: maps[self.runner.by_name[self.banks[bank]]] for bank in wanted}
        return found | {OUTPUT: values} if values is not None else found

    def replaced(self, modules: Mapping[str, nn.Module]) -> fx.GraphModule:
        """A copy of the network in which `modules` compute the layers that they are named after.

        A module maps the maps (N, C, H, W) of the layer's source to the layer's maps (N, O, h, w).
        What nothing reads any more is gone, with its weights; ValueError for an unknown layer.
        """
        for name in modules:
            _known(name, self.nodes, "layer")
        result = copy.deepcopy(self.module)
        runner = Runner(result, self.layers, self.nodes)
        moved: dict[fx.Node, fx.Node] = {}  # a replaced bank to the node that computes it now
        for layer in self.layers:
            if layer.name in modules:
                swap = runner.replacement(layer.name, modules[layer.name])
                old = runner.inside(layer.name)
                moved[swap.cut] = _replace(result, layer, old, swap, moved)
        result.graph.eliminate_dead_code()
        return referenced(result)

    def double(self) -> "Network":
        """The same network computed in float64; layers keep their float32 weights."""
        return self._converted(copy.deepcopy(self.module).double(), _widened)

    def on(self, device: str) -> "Network":
        """The same network on a device, as "cuda"; its layers' own numbers stay in memory."""
        moved = torch.device(device)
        module = copy.deepcopy(self.module).to(moved)
        return self._converted(module, lambda v: moved if isinstance(v, torch.device) else v)

    def _converted(self, module: fx.GraphModule, convert: Callable[[Any], Any]) -> "Network":
        """This network run by `module`, whose graph's literals are to be converted as well."""
        for node in module.graph.nodes:
            node.args, node.kwargs = map_aggregate((node.args, node.kwargs), convert)
        module.recompile()
        return replace(self, module=module)


def _replace(
    result: fx.GraphModule,
    layer: Layer,
    old: list[fx.Node],
    swap: Swap,
    moved: Mapping[fx.Node, fx.Node],
) -> fx.Node:
    """Put a swap in place of the nodes `old`, given from the cut back; the new node."""
    last, linear = old[0], old[-1]
    target = "layer_" + re.sub(r"\W", "_", layer.name)
    while hasattr(result, target):
        target += "_"
    result.add_submodule(target, swap.module)
    with result.graph.inserting_before(linear):
        new = result.graph.call_module(target, (moved.get(swap.source, swap.source),))
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


def read_network(
    module: nn.Module, example: Batch | Tensor, *, judged: int | str | None = None
) -> Network:
    """Read a module, as it is in eval mode, through `torch.export`.

    `example` is a batch: a tensor (N, ...) of at least one sample for each input, a lone one as it
    is; any batch size may follow. `judged` is the place or the name of the output that is judged,
    by default the first. The module is copied and not changed. Raises ReadError, with all its
    reasons, if the network cannot be exported or has weights that are not finite.
    """
    batch = (example,) if isinstance(example, Tensor) else tuple(example)
    original = copy.deepcopy(module).eval().requires_grad_(False)
    exported = export_graph(original, batch)
    place = _place(exported.outputs, 0 if judged is None else judged)
    reader = Reader(exported.module, original)
    reader.read()
    return Network(
        module=exported.module,
        layers=tuple(reader.layers),
        views=tuple(reader.views),
        opaque=tuple(reader.opaque),
        input_names=tuple(reader.banks.get(node) or node.name for node in reader.inputs),
        input_shapes=tuple(tuple(x.shape[1:]) for x in batch),
        output_names=exported.outputs,
        judged=place,
        banks={bank: node.name for node, bank in reader.banks.items()},
        nodes=dict(reader.nodes),
    )


def _place(names: tuple[str, ...], judged: int | str) -> int:
    """The place of the judged output; ReadError if there is no such output."""
    if judged in names:
        return names.index(str(judged))
    if isinstance(judged, int) and 0 <= judged < len(names):
        return judged
    raise ReadError(
        f"judged={judged!r} is no output of the network: expected a place below {len(names)} "
        f"or one of the names {', '.join(names)}"
    )
