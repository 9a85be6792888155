"""A network and its replacement, carried node by node from a set of inputs to the judged output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from grammars.grammar import Grammar
from oracles.difference.pair import Pair, same
from oracles.difference.rounding import REAL, Semantics
from oracles.difference.zonotope import Zonotope
from synth.assembly import LayerChoice
from synth.certify.layers import LayerStep
from synth.certify.views import Views
from synth.layers import Layer, as_maps, like
from synth.network import Network
from synth.nodes import is_size, is_value, schema_name

SOFTMAXES = frozenset({"softmax", "log_softmax", "_softmax", "_log_softmax"})


class Step(Protocol):
    """What a layer does to a pair of its sources, as maps: the units of both networks."""

    @property
    def layer(self) -> Layer: ...
    def __call__(self, maps: Pair) -> Pair: ...


@dataclass(eq=False)
class Watched:
    """A step, and the most (U,) by which each unit was ever said to differ; None if never."""

    step: Step
    most: Tensor | None = None

    @property
    def layer(self) -> Layer:
        return self.step.layer

    def __call__(self, maps: Pair) -> Pair:
        units = self.step(maps)
        low, high = units.ranges[2]
        here = torch.maximum(low.abs(), high.abs()).amax((0, 2, 3)).cpu()
        self.most = here if self.most is None else torch.maximum(self.most, here)
        return units


@dataclass(frozen=True, eq=False)
class Certifier:
    """The steps of a network whose layers are replaced by `choices`.

    The original is the network as it is read: with batch norms folded into float32 weights. A
    softmax at the end is left out, which changes no answer: differences are then of its logits.
    """

    network: Network
    steps: Mapping[str, Step]
    semantics: Semantics

    @classmethod
    def of(
        cls,
        network: Network,
        choices: Sequence[LayerChoice],
        grammar: Grammar,
        semantics: Semantics = REAL,
    ) -> "Certifier":
        """Raises NoTransformer for a layer that nothing encloses."""
        device = network.runner.device
        steps = {c.layer.name: LayerStep.of(c, grammar, semantics, device) for c in choices}
        return cls(network, steps, semantics)

    @cached_property
    def output(self) -> fx.Node:
        """The node whose values are compared."""
        node = self.network.output_nodes[self.network.judged]
        while schema_name(node) in SOFTMAXES:
            source = node.args[0]
            assert isinstance(source, fx.Node)
            if node.args[1] not in (1, 1 - source.meta["val"].dim()):
                break
            node = source
        return node

    def __call__(self, inputs: Sequence[Zonotope]) -> Pair:
        """The judged outputs of both networks on a set of inputs (B, *shape) for each input.

        Raises NoTransformer for an operation that nothing encloses.
        """
        runner = self.network.runner
        values: dict[fx.Node, Any] = dict(zip(runner.inputs, map(same, inputs), strict=True))
        firsts = self._firsts
        inside = {node for name in self.steps for node in runner.inside(name)}
        views, needed = Views(runner, self.semantics), self._needed
        for node in runner.steps:
            if node not in needed or is_size(node):
                continue
            if node in firsts:
                name = firsts[node]
                cut, source = runner.cut(name), values[runner.source(name)]
                rank = cut.meta["val"].dim()
                units = self.steps[name](source.mapped(as_maps))
                values[cut] = units.mapped(lambda maps, rank=rank: like(maps, rank))
            elif node not in inside and is_value(node):
                values[node] = views(node, values)
            self._drop(values, node)
        return values[self.output]

    @cached_property
    def _needed(self) -> frozenset[fx.Node]:
        """What the output depends on."""
        todo, seen = [self.output], set[fx.Node]()
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += node.all_input_nodes
        return frozenset(seen)

    @cached_property
    def _last(self) -> dict[fx.Node, fx.Node]:
        """The last needed node that reads each."""
        return {
            source: node
            for node in self.network.runner.steps
            if node in self._needed
            for source in self._reads(node)
        }

    @cached_property
    def _firsts(self) -> dict[fx.Node, str]:
        """The layers by their linear operations."""
        return {self.network.runner.linear(name): name for name in self.steps}

    def _reads(self, node: fx.Node) -> list[fx.Node]:
        """Whose values a step takes: a layer those of its source too, which may lie before a
        flatten."""
        name = self._firsts.get(node)
        source = [] if name is None else [self.network.runner.source(name)]
        return [*node.all_input_nodes, *source]

    def _drop(self, values: dict[fx.Node, Any], node: fx.Node) -> None:
        """Forget what no later node reads."""
        for source in self._reads(node):
            if self._last.get(source) is node and source is not self.output:
                values.pop(source, None)
