"""Cut an exported graph into layers, views and opaque nodes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, fx, nn

from synth.export import ReadError
from synth.layers import Head, Layer, Shape
from synth.nodes import (
    IDENTITIES,
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
    LINEAR,
    VIEWS,
    WEIGHTED,
    Linear,
    Unsupported,
    batch_norm,
    constants,
    heads,
    linear_part,
    why_not,
)

OUTPUT = "output"  # reserved: `record` returns the network's output by this name


@dataclass(frozen=True)
class View:
    """A parameter-free node that makes a bank: `sources` are the banks it reads, in order."""

    name: str
    operation: str
    node_name: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Opaque:
    """A node that is left exactly as it is, and why; `bank` is its name as a source, or ""."""

    node: str
    operation: str
    module_path: str
    reason: str
    bank: str = ""


@dataclass(frozen=True)
class LayerNodes:
    """Names of the graph nodes of a layer: its linear operation, its cut and the node it reads."""

    linear: str
    last: str
    source: str


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
        self.inside: set[fx.Node] = set()
        self.constants = constants(self.module)
        self.children = dict(self.original.named_modules(remove_duplicate=False))
        self.input = next(n for n in self.module.graph.nodes if n.op == "placeholder")

    def read(self) -> None:
        """Read every node; ReadError with all weights that are not finite."""
        self.problems.extend(self._bad_weights())
        if self.problems:
            raise ReadError(*self.problems)
        for node in self.module.graph.nodes:
            self._read_node(node)
        if self.problems:
            raise ReadError(*self.problems)

    def _read_node(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self._name_bank(node, self._base(node))
        elif node.op in ("get_attr", "output") or node in self.constants or node in self.inside:
            return
        elif is_value(node):
            try:
                self._read_layer(node) if schema_name(node) in LINEAR else self._read_view(node)
            except Unsupported as reason:
                self._read_opaque(node, str(reason))

    # layers

    def _read_layer(self, node: fx.Node) -> None:
        source, in_shape = self._source(node)
        part = linear_part(node, self.constants, in_shape)
        last, part, unit_heads = self._follow(node, part)
        out_shape = self._shape(last)
        weight = part.weight.flatten(1).numpy().astype(np.float32)
        bias = part.bias.numpy().astype(np.float32)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            self.problems.append(f"{node.name}: its batch norm folds to weights that are infinite")
            return
        name = self._name_bank(last, self._base(node))
        layer = Layer(
            name=name,
            source=self.banks[source],
            in_shape=in_shape,
            out_shape=out_shape,
            geometry=part.geometry,
            weight=weight,
            bias=bias,
            heads=unit_heads,
        )
        self.layers.append(layer)
        self.nodes[name] = LayerNodes(node.name, last.name, source.name)

    def _source(self, node: fx.Node) -> tuple[fx.Node, Shape]:
        """The bank that a linear operation reads, and its shape (C, H, W)."""
        read = arguments(node)["input"]
        dense = schema_name(node) == "linear"
        if dense and read.meta["val"].dim() != 2:
            shape = tuple(read.meta["val"].shape)
            raise Unsupported(f"a linear operation on a {len(shape)}-D tensor is not supported yet")
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
        last, units = node, len(part.bias)
        after = only_reader(last)
        norm = batch_norm(after, self.constants) if after else None
        if after and norm:
            last, part = after, part.normalised(*norm)
            after = only_reader(last)
        unit_heads = heads(after, self.constants, units) if after else None
        if after and unit_heads:
            last = after
        self.inside.update(chain(node, last))
        return last, part, unit_heads or (Head("identity"),) * units

    # views and the rest

    def _read_view(self, node: fx.Node) -> None:
        operation = schema_name(node)
        if operation not in VIEWS or (operation in IDENTITIES and not is_identity(node)):
            raise Unsupported(why_not(operation))
        if not all(n in self.banks or is_size(n) for n in node.all_input_nodes):
            raise Unsupported(f"{operation} reads a constant or a tensor that is no bank")
        sources = [n for n in node.all_input_nodes if not is_size(n)]
        self._shape(node)
        through = tuple(self.banks[self._through(n, is_identity)] for n in sources)
        name = self._name_bank(node, self._base(node))
        self.views.append(View(name, operation, node.name, through))

    def _read_opaque(self, node: fx.Node, reason: str) -> None:
        bank = ""
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
        return name

    def _base(self, node: fx.Node) -> str:
        """The path of the module whose one operation the node is, else the name of the node."""
        path = module_path(node)
        if path and self._is_operation_of(node, path):
            return path if path != OUTPUT else f"{path}_"
        name = node.name
        while name in self.children or name == OUTPUT:  # paths are for the modules themselves
            name += "_"
        return name

    def _is_operation_of(self, node: fx.Node, path: str) -> bool:
        module = self.children.get(path)
        if schema_name(node) in LINEAR and arguments(node)["weight"].target == f"{path}.weight":
            return True
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            return schema_name(node) in LINEAR
        if module is None or list(module.children()):
            return False
        return type(module).__module__.startswith("torch.nn.")

    def _is_bank(self, node: fx.Node) -> bool:
        value, batch = node.meta.get("val"), self.input.meta["val"].shape[0]
        if not isinstance(value, Tensor) or not 2 <= value.dim() <= 4:
            return False
        static = all(isinstance(size, int) for size in value.shape[1:])
        return static and str(value.shape[0]) == str(batch) and value.dtype.is_floating_point

    def _shape(self, node: fx.Node) -> Shape:
        if not self._is_bank(node):
            value = node.meta.get("val")
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise Unsupported(f"{node.name} is no bank: {shape}, expected floats (N, C, H, W)")
        channels, *space = (int(size) for size in node.meta["val"].shape[1:])
        height, width = [1] * (2 - len(space)) + space
        return channels, height, width

    def _bad_weights(self) -> Iterator[str]:
        for node, value in self.constants.items():
            parameter = isinstance(value, nn.Parameter)
            used = {schema_name(user) for user in node.users}
            if node.op != "get_attr" or not value.dtype.is_floating_point:
                continue
            if parameter or used & (LINEAR | WEIGHTED):  # a mask in a buffer may well be infinite
                yield from _not_finite(str(node.target), value)


def _not_finite(name: str, value: Tensor) -> Iterator[str]:
    bad = ~torch.isfinite(value)
    if bad.any():
        first = tuple(int(i) for i in bad.nonzero()[0])
        count = f"{int(bad.sum())} of {value.numel()} values are"
        yield f"{name}: {count} NaN or infinite, the first at {first}: {value[first].item()}"
