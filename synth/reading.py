"""Cut an exported graph into layers, views and opaque nodes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from synth.export import ReadError
from synth.finite import bad_weights
from synth.heads import activation_end, heads
from synth.layers import Head, Layer, Shape
from synth.nodes import (
    DROPOUTS,
    arguments,
    chain,
    is_identity,
    is_reshape,
    is_size,
    is_value,
    module_path,
    only_reader,
    schema_name,
)
from synth.operations import (
    DENSE,
    VIEWS,
    Linear,
    Unsupported,
    affine_part,
    by_channel,
    constants,
    is_constant,
    linear_part,
    why_not,
)
from synth.parts import OUTPUT, LayerNodes, Opaque, View
from synth.paths import safe_path


@dataclass
class Reader:
    """One walk over a graph, in order; `read` fills the lists."""

    module: fx.GraphModule
    original: nn.Module
    layers: list[Layer] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    opaque: list[Opaque] = field(default_factory=list)
    nodes: dict[str, LayerNodes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = {OUTPUT}
        self.banks: dict[fx.Node, str] = {}
        # The banks that each value is made of: a bank's is itself.
        self.sources: dict[fx.Node, tuple[str, ...]] = {}
        self.inside: set[fx.Node] = set()
        self.constants = constants(self.module)
        self.children = dict(self.original.named_modules(remove_duplicate=False))
        self.inputs = [n for n in self.module.graph.nodes if n.op == "placeholder"]

    def read(self) -> None:
        """Read every node; ReadError with all weights that are not finite."""
        self.problems.extend(bad_weights(self.constants))
        if self.problems:
            raise ReadError(*self.problems)
        for node in self.module.graph.nodes:
            self._read_node(node)
        if self.problems:
            raise ReadError(*self.problems)

    def _read_node(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self._name_bank(node, self._base(node))
        elif node.op in ("get_attr", "output") or node in self.inside or not is_value(node):
            return
        elif node in self.constants:
            self._read_constant(node)
        else:
            try:
                self._read_layer(node) if self._is_linear(node) else self._read_view(node)
            except Unsupported as reason:
                self._read_opaque(node, str(reason))

    # layers

    def _is_linear(self, node: fx.Node) -> bool:
        if schema_name(node) in DENSE:
            return True
        if not self._is_bank(node):
            return False
        slopes = schema_name(node) == "prelu" and heads(node, self.constants, self._units(node))
        return bool(slopes) or affine_part(node, self.constants) is not None

    def _read_layer(self, node: fx.Node) -> None:
        source, in_shape = self._source(node)
        last, part, unit_heads = self._follow(node, self._part(node, in_shape))
        weight = part.weight.flatten(1).numpy().astype(np.float32)
        bias = part.bias.numpy().astype(np.float32)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            self.problems.append(f"{node.name}: its batch norm folds to weights that are infinite")
            return
        self.inside.update(chain(node, last))
        name = self._name_bank(last, self._base(node))
        layer = Layer(
            name=name,
            source=self.banks[source],
            in_shape=in_shape,
            out_shape=self._shape(last),
            geometry=part.geometry,
            weight=weight,
            bias=bias,
            heads=unit_heads,
            groups=part.groups,
        )
        self.layers.append(layer)
        self.nodes[name] = LayerNodes(node.name, last.name, source.name)

    def _part(self, node: fx.Node, in_shape: Shape) -> Linear:
        """The linear operation of a node; a lone activation with weights follows the identity."""
        if schema_name(node) in DENSE:
            return linear_part(node, self.constants, in_shape)
        one = torch.ones(in_shape[0], dtype=torch.float64)
        return by_channel(*(affine_part(node, self.constants) or (one, 0 * one)))

    def _source(self, node: fx.Node) -> tuple[fx.Node, Shape]:
        """The bank that a linear operation reads, and its shape (C, H, W)."""
        read: Any = node.args[0]
        dense = schema_name(node) == "linear"
        if dense and read.meta["val"].dim() != 2:
            shape = tuple(read.meta["val"].shape)
            raise Unsupported(f"a linear operation on a tensor {shape} of {len(shape)} dimensions")
        passes = (lambda n: is_identity(n) or is_reshape(n)) if dense else is_identity
        source = self._through(read, passes)
        return source, self._shape(source)

    def _through(self, node: fx.Node, passes: Callable[[fx.Node], bool]) -> fx.Node:
        """The furthest bank behind `node` through nodes that `passes` accepts."""
        best = node
        while node.op == "call_function" and passes(node) and isinstance(node.args[0], fx.Node):
            node = node.args[0]
            if node in self.banks:
                best = node
        if best not in self.banks:
            raise Unsupported(f"it reads {best.name}, which is no bank of maps with a batch")
        return best

    def _follow(self, node: fx.Node, part: Linear) -> tuple[fx.Node, Linear, tuple[Head, ...]]:
        """The cut of a layer: behind its batch norm and its activation, if nobody else reads."""
        last, after = node, node if schema_name(node) == "prelu" else only_reader(node)
        while after and (norm := affine_part(after, self.constants)):
            last, part = after, part.normalised(*norm)
            after = only_reader(last)
        after = activation_end(after) if after else None
        unit_heads = heads(after, self.constants, len(part.bias)) if after else None
        if after and unit_heads:
            last = after
        return last, part, unit_heads or (Head("identity"),) * len(part.bias)

    # views and the rest

    def _read_constant(self, node: fx.Node) -> None:
        """What is made of numbers alone belongs to no unit; what is made of weights may."""
        if all(source in self.sources for source in node.all_input_nodes):
            self.sources[node] = ()

    def _read_view(self, node: fx.Node) -> None:
        operation = schema_name(node)
        read = [n for n in node.all_input_nodes if not is_size(n)]
        if not read and is_constant(node, dict.fromkeys(node.all_input_nodes)):
            self._name_view(node, ())  # numbers for every sample
            return
        if operation not in VIEWS or (operation in DROPOUTS and not is_identity(node)):
            raise Unsupported(why_not(operation))
        for n in read:
            if n not in self.sources:
                raise Unsupported(f"{operation} reads {n.name}, weights that belong to no unit")
        self._name_view(node, self._sources_of(read))

    def _sources_of(self, nodes: Iterable[fx.Node]) -> tuple[str, ...]:
        """The banks that values are made of, in order, seen through identities."""
        found: list[str] = []
        for node in nodes:
            bank = node in self.banks and self.banks[self._through(node, is_identity)]
            found.extend((bank,) if bank else self.sources.get(node, ()))
        return tuple(found)

    def _name_view(self, node: fx.Node, sources: tuple[str, ...]) -> None:
        """A view if the node is a bank, else only a step on the way to one."""
        if self._is_bank(node):
            name = self._name_bank(node, self._base(node))
            self.views.append(View(name, schema_name(node), node.name, sources))
        else:
            self.sources[node] = sources

    def _read_opaque(self, node: fx.Node, reason: str) -> None:
        bank = ""
        self.sources[node] = self._sources_of(node.all_input_nodes)
        if self._is_bank(node):
            bank = self._name_bank(node, self._base(node))
        if schema_name(node) != "getitem":
            path = module_path(node)
            self.opaque.append(Opaque(node.name, schema_name(node), path, reason, bank))

    # names and shapes

    def _name_bank(self, node: fx.Node, base: str) -> str:
        name, count = base, 1
        while name in self.names:
            count += 1
            name = f"{base}@{count}"
        self.names.add(name)
        if self._is_bank(node):
            self.banks[node] = name
        self.sources[node] = (name,) if node in self.banks else ()
        return name

    def _base(self, node: fx.Node) -> str:
        """The path of the module whose one operation the node is, else the name of the node."""
        path = module_path(node)
        if path and self._is_operation_of(node, path):
            return path if path != OUTPUT else f"{path}_"
        name = str(node.meta.get("written_as", node.name))
        while name in self.children or name == OUTPUT:  # paths are for the modules themselves
            name += "_"
        return name

    def _is_operation_of(self, node: fx.Node, path: str) -> bool:
        module, dense = self.children.get(path), schema_name(node) in DENSE
        if dense and arguments(node)["weight"].target == f"{safe_path(path)}.weight":
            return True
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            return dense
        if module is None or list(module.children()):
            return False
        return type(module).__module__.startswith("torch.nn.")

    def _is_bank(self, node: fx.Node) -> bool:
        value, batch = node.meta.get("val"), self.inputs[0].meta["val"].shape[0]
        if not isinstance(value, Tensor) or not 2 <= value.dim() <= 4:
            return False
        static = all(isinstance(size, int) for size in value.shape[1:])
        return static and str(value.shape[0]) == str(batch) and value.dtype.is_floating_point

    def _units(self, node: fx.Node) -> int:
        return int(node.meta["val"].shape[1])

    def _shape(self, node: fx.Node) -> Shape:
        if not self._is_bank(node):
            value = node.meta.get("val")
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise Unsupported(f"{node.name} is no bank: {shape}, expected floats (N, C, H, W)")
        channels, *space = (int(size) for size in node.meta["val"].shape[1:])
        height, width = [1] * (2 - len(space)) + space
        return channels, height, width
