"""The function `forward` of `decompiled.py`: the graph around the layers as readable calls."""

import json
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from synth.emission.layout import assign, returned
from synth.emission.spelling import familiar, is_whole
from synth.nodes import is_identity, schema_name

_OPERATORS: Mapping[Callable[..., Any], str] = MappingProxyType(
    {operator.add: "+", operator.sub: "-", operator.mul: "*", operator.floordiv: "//"}
)


@dataclass(eq=False)
class GraphWriter:
    """Writes the statements of a graph.

    `calls` are the functions that stand for the graph's modules, `constants` the text of what it
    reads by path; `name` gives a node its variable.
    """

    calls: Mapping[str, str]
    constants: Mapping[str, str]
    name: Callable[[fx.Node], str]
    text: dict[fx.Node, str] = field(default_factory=dict)

    def statements(self, graph: fx.Graph) -> Iterator[str]:
        """One line for each node that computes something, and the return."""
        nodes = _live(graph)
        for node in nodes:
            if node.op == "output":
                yield returned(self.result(node.args[0]))
            elif node.op == "placeholder":
                self.text[node] = self.name(node)
            elif (inline := self.inline(node)) is not None:
                self.text[node] = inline
            elif nodes[-1].args[0] is node and len(node.users) == 1:
                self.text[node] = self.expression(node)
            else:
                self.text[node] = self.name(node)
                yield assign(self.text[node], self.expression(node))

    def result(self, value: Any) -> str:
        """What is returned: a tensor, or a tuple of them."""
        return self.listed(value) if isinstance(value, list | tuple) else self.literal(value)

    def inline(self, node: fx.Node) -> str | None:
        """The text of a node that needs no statement of its own."""
        if node.op == "get_attr":
            return self.constants[str(node.target)]
        if is_identity(node) or is_whole(node):
            return self.literal(node.args[0])
        if schema_name(node) == "sym_size":
            return f"{self.literal(node.args[0])}.shape[{self.literal(node.args[1])}]"
        if node.target is operator.getitem:
            return f"{self.literal(node.args[0])}[{self.literal(node.args[1])}]"
        return None

    def expression(self, node: fx.Node) -> str:
        """What a node computes; ValueError for a target that has no text."""
        if node.op == "call_module":
            return f"{self.calls[str(node.target)]}({self.listed(node.args)})"
        if isinstance(node.target, OpOverload):
            return familiar(node, self.literal) or self.plain(node)
        if node.target in _OPERATORS:
            left, right = map(self.literal, node.args)
            return f"{left} {_OPERATORS[node.target]} {right}"  # type: ignore[index]
        module = getattr(node.target, "__module__", "").lstrip("_")
        if module in ("math", "operator", "torch"):
            return f"{module}.{schema_name(node)}({self.listed(node.args)})"
        raise ValueError(
            f"the graph node {node.name!r} calls {node.target}, which cannot be written as source: "
            "use operations of torch.ops only"
        )

    def plain(self, node: fx.Node) -> str:
        """Any operation under its full name."""
        keywords = [f"{key}={self.literal(value)}" for key, value in node.kwargs.items()]
        parts = [*map(self.literal, node.args), *keywords]
        return f"torch.ops.{str(node.target).replace('::', '.')}({', '.join(parts)})"

    def listed(self, values: Any) -> str:
        return ", ".join(map(self.literal, values))

    def literal(self, value: Any) -> str:
        """An argument as Python source."""
        if isinstance(value, fx.Node):
            return self.text[value]
        if isinstance(value, list | tuple):
            return f"[{self.listed(value)}]"
        if isinstance(value, slice):
            return f"slice({self.listed((value.start, value.stop, value.step))})"
        if isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, torch.device):
            return f"torch.device({json.dumps(str(value))})"
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        return repr(value)


def _live(graph: fx.Graph) -> list[fx.Node]:
    """The nodes that the output needs, or that write to what others read, in order."""
    needed: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        writes = isinstance(node.target, OpOverload) and node.target._schema.is_mutable
        if node.op in ("output", "placeholder") or writes or node in needed:
            needed |= {node, *node.all_input_nodes}
    return [node for node in graph.nodes if node in needed]


def constant_text(value: Tensor, key: str, weights: str) -> str:
    """A constant of the graph: a single number as such, else where it is stored."""
    if not value.numel():
        return f"torch.empty({list(value.shape)}, dtype={value.dtype})"
    if inlined(value):
        return f"torch.tensor({value.tolist()}, dtype={value.dtype})"
    return f"{weights}[{json.dumps(key)}]"


def inlined(value: Tensor) -> bool:
    """A constant that is written into the text: one finite number, or nothing."""
    return value.numel() == 0 or (value.dim() == 0 and bool(torch.isfinite(value)))
