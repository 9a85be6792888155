"""A bank as a function of an earlier one: what it computes from that bank alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx

from synth.deep.target import shape_of, target_of
from synth.deep.window import window_of
from synth.errors import InputError
from synth.layers import Geometry, Layer, Shape, as_maps, like
from synth.network import Network
from synth.parts import LayerNodes

COLUMNS = 4096  # of the bank that a unit reads, at most


@dataclass(frozen=True, eq=False)
class Reach:
    """The units of the bank `target` over the bank `source`, through all that lies between.

    With maps, each place of the target reads a window of the source. Near the border a program
    reads zeros beyond the source, where the layers between may have read others: what that costs
    is part of its error.
    """

    network: Network
    target: str
    source: str

    def __post_init__(self) -> None:
        problem = next(self._problems(), None)
        if problem:
            raise InputError(f"search.deep: {self.target!r} {problem}.")

    @cached_property
    def of(self) -> Layer:
        """The units that are written."""
        return self._target[0]

    @property
    def nodes(self) -> LayerNodes:
        """Where they lie in the graph."""
        return self._target[1]

    @property
    def shape(self) -> Shape:
        """(C, H, W) of the source."""
        return shape_of(self._start)

    @cached_property
    def geometry(self) -> Geometry:
        """The window of the source that a place of the target depends on."""
        return window_of(self._traced, self.shape, self.of.out_shape[1:])

    @property
    def columns(self) -> int:
        """How many numbers of the source a unit may read."""
        return self.shape[0] * math.prod(self.geometry.window)

    @cached_property
    def skipped(self) -> tuple[str, ...]:
        """The layers that nothing else reads once the target reads the source."""
        needed = self._needed
        return tuple(
            la.name
            for la in self.network.layers
            if la.name != self.target and self._node(la.name) not in needed
        )

    def pre(self, maps: Tensor) -> Tensor:
        """Pre-activations (n·h·w, U) float64 of maps (n, C, H, W) of the source, in the order of
        patches."""
        wide = self._wide
        start = wide.runner.by_name[self._start.name]
        device = next(iter(wide.module.parameters()), maps).device
        moved = maps.to(device, torch.float64)
        values = wide.runner.constants | {start: like(moved, start.meta["val"].dim())}
        with torch.no_grad():
            for name in self._between:
                node = wide.runner.by_name[name]
                values[node] = wide.runner.run(node, values)
        read = as_maps(values[wide.runner.by_name[self.nodes.source]])
        return self.of.pre(self.of.geometry.patches(read)).to(maps.device)

    def _traced(self, maps: Tensor) -> Tensor:
        """Pre-activations as maps (n, U, h, w)."""
        places = self.of.out_shape[1:]
        return self.pre(maps).unflatten(0, (len(maps), *places)).movedim(-1, 1)

    @cached_property
    def _target(self) -> tuple[Layer, LayerNodes]:
        return target_of(self.network, self.target)

    @cached_property
    def _wide(self) -> Network:
        return self.network.double()

    @property
    def _start(self) -> fx.Node:
        return self._node(self.source)

    def _node(self, bank: str) -> fx.Node:
        return self.network.runner.by_name[self.network.banks[bank]]

    @property
    def _read(self) -> fx.Node:
        """What the units read."""
        return self.network.runner.by_name[self.nodes.source]

    @cached_property
    def _between(self) -> list[str]:
        """The nodes from behind the source to what the units read, in order."""
        before = _ancestors(self._read, {self._start})
        return [n.name for n in self.network.runner.steps if n in before and n != self._start]

    @cached_property
    def _needed(self) -> set[fx.Node]:
        """The nodes that some output depends on if the target reads the source."""
        cut = self.network.runner.by_name[self.nodes.last]
        found: set[fx.Node] = set()
        for output in self.network.output_nodes:
            found |= _ancestors(output, {cut})
        return found | _ancestors(self._start, set()) if cut in found else found

    def _problems(self) -> Iterator[str]:
        before = _ancestors(self._read, {self._start})
        if self._start not in before or self.target == self.source:
            yield f"does not depend on {self.source!r}"
        inputs = (n for n in self.network.runner.inputs if n in before and n != self._start)
        others = [n.name for n in inputs]
        if others:
            yield f"depends on {', '.join(others)} beside {self.source!r}"
        if self.columns > COLUMNS:
            yield f"would read {self.columns} numbers of {self.source!r}, more than {COLUMNS}"


def _ancestors(node: fx.Node, ends: set[fx.Node]) -> set[fx.Node]:
    """A node and all that it depends on, not further than some ends."""
    todo, found = [node], set()
    while todo:
        here = todo.pop()
        if here not in found:
            found.add(here)
            todo += [] if here in ends else here.all_input_nodes
    return found
