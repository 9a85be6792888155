"""A layer as a function of an earlier bank: what it computes from that bank alone.

For now both are flat: the layer has no space, and its units read all of the bank.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx

from synth.errors import InputError
from synth.layers import Geometry, Layer, as_maps, like
from synth.network import Network

COLUMNS = 4096  # of the bank, at most


@dataclass(frozen=True, eq=False)
class Reach:
    """The units of the layer `of` over the bank `source`, through the layers between."""

    network: Network
    of: Layer
    source: str

    def __post_init__(self) -> None:
        problem = next(self._problems(), None)
        if problem:
            raise InputError(f"search.deep: layer {self.of.name!r} {problem}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the bank."""
        value = self._start.meta["val"]
        channels, height, width = as_maps(value).shape[1:]
        return int(channels), int(height), int(width)

    @property
    def geometry(self) -> Geometry:
        """All of the bank at once."""
        return Geometry(self.shape[1:])

    @cached_property
    def skipped(self) -> tuple[str, ...]:
        """The layers that nothing else reads once this one reads the bank."""
        needed = self._needed
        return tuple(
            la.name
            for la in self.network.layers
            if la is not self.of and self._node(la.name) not in needed
        )

    def pre(self, columns: Tensor) -> Tensor:
        """Pre-activations (n, U) float64 of rows (n, C·H·W) of the bank."""
        wide = self._wide
        start = wide.runner.by_name[self._start.name]
        device = next(iter(wide.module.parameters()), torch.empty(0)).device
        maps = columns.to(device, torch.float64).unflatten(1, self.shape)
        values = wide.runner.constants | {start: like(maps, start.meta["val"].dim())}
        with torch.no_grad():
            for name in self._between:
                node = wide.runner.by_name[name]
                values[node] = wide.runner.run(node, values)
        source = as_maps(values[wide.runner.source(self.of.name)])
        return self.of.pre(self.of.geometry.patches(source)).to(columns.device)

    @cached_property
    def _wide(self) -> Network:
        return self.network.double()

    @property
    def _start(self) -> fx.Node:
        return self._node(self.source)

    def _node(self, bank: str) -> fx.Node:
        return self.network.runner.by_name[self.network.banks[bank]]

    @cached_property
    def _between(self) -> list[str]:
        """The nodes from behind the bank to what the layer reads, in order."""
        before = _ancestors(self.network.runner.source(self.of.name), {self._start})
        return [n.name for n in self.network.runner.steps if n in before and n != self._start]

    @cached_property
    def _needed(self) -> set[fx.Node]:
        """The nodes that some output depends on if the layer reads the bank."""
        cut = self.network.runner.cut(self.of.name)
        found: set[fx.Node] = set()
        for output in self.network.output_nodes:
            found |= _ancestors(output, {cut})
        return found | _ancestors(self._start, set()) if cut in found else found

    def _problems(self) -> Iterator[str]:
        network, name = self.network, self.of.name
        if self.of.out_shape[1:] != (1, 1):
            yield "has maps of its own: deep programs are for layers without space"
        source = network.runner.source(name)
        before = _ancestors(source, {self._start})
        if self._start not in before:
            yield f"does not depend on {self.source!r}"
        others = [n.name for n in network.runner.inputs if n in before and n != self._start]
        if others:
            yield f"depends on {', '.join(others)} beside {self.source!r}"
        if math.prod(self.shape) > COLUMNS:
            read = f"would read {math.prod(self.shape)} numbers of {self.source!r}"
            yield f"{read}, more than {COLUMNS}"


def _ancestors(node: fx.Node, ends: set[fx.Node]) -> set[fx.Node]:
    """A node and all that it depends on, not further than some ends."""
    todo, found = [node], set()
    while todo:
        here = todo.pop()
        if here not in found:
            found.add(here)
            todo += [] if here in ends else here.all_input_nodes
    return found
