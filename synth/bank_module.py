"""The programs of a layer as a module, and written out in the graph of their network.

A module that stands for a layer has a price: Python calls it, checks what it gives and walks
through its programs, which takes longer than the arithmetic of a small layer. So a replacement
network is one graph of torch's operations, as the original is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import GraphAppendingTracer
from torch.nn import functional as F

from grammars.compiled import CompiledBank
from grammars.pools import Numbers
from synth.export import referenced
from synth.layers import Layer
from synth.modules import OnMaps

Held = Mapping[str, Any]
"""The buffers of a bank by name: tensors, or the nodes of a graph that read them."""


class BankModule(nn.Module):
    """Maps (N, C, H, W) of a layer's source to the maps (N, U, h, w) of its programs.

    One convolution (a matrix product where the window is the whole map) computes all affine rows;
    the skeletons of the programs follow, vectorised. Rows of a layer of several groups read their
    group's channels alone.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, bank: CompiledBank, layer: Layer) -> None:
        super().__init__()
        self.bank, self.geometry = bank, layer.geometry
        self.whole, self.shape = is_whole(layer), layer.out_shape[1:]
        rows = torch.from_numpy(bank.weight[:, : layer.width]).float()
        self.groups = RowGroups.of(bank.weight[:, : layer.width], layer)
        if not self.whole:
            rows = self.groups.gathered(rows).unflatten(1, (-1, *layer.geometry.window))
        self.register_buffer("weight", rows)
        self.register_buffer("bias", torch.from_numpy(bank.bias).float())
        for name, value in self._beside():
            self.register_buffer(name, torch.from_numpy(value), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        return self.computed(maps, self._buffers, (4, 4))

    def rows(self, maps: Tensor) -> Tensor:
        """The affine rows (N, R, h, w); none where all programs are constants."""
        rows = self._rows(maps, self._buffers, 4)
        return rows[:, :, None, None] if self.whole else rows

    def computed(self, source: Any, held: Held, ranks: tuple[int, int]) -> Any:
        """The units from the source, of so many dimensions each.

        `source` and `held` may be nodes of a graph that is being written.
        """
        rows = self._rows(source, held, ranks[0])
        units = self.bank.computed(rows, self._numbers(held), held.get("order"))
        return _of_rank(units, 2 if self.whole else 4, ranks[1])

    def _rows(self, source: Any, held: Held, rank: int) -> Any:
        """(N, R) where the window is the whole map, else (N, R, h, w)."""
        if not len(self.bias):
            return source.new_zeros((source.shape[0], 0, *(() if self.whole else self.shape)))
        if self.whole:
            flat = source if rank == 2 else source.flatten(1)
            return F.linear(flat, held["weight"], held["bias"])
        g, maps = self.geometry, _as_maps(source, rank)
        if "channels" in held:
            maps = maps[:, held["channels"]]
        how = g.stride, g.padding, g.dilation, self.groups.count
        if "places" not in held:
            return F.conv2d(maps, held["weight"], held["bias"], *how)
        found = F.conv2d(maps, held["weight"], None, *how)
        return found[:, held["places"]] + held["bias"][:, None, None]

    def _beside(self) -> Iterator[tuple[str, np.ndarray]]:
        """What is held beside the rows, by name: how they lie, and numbers of the units."""
        if self.groups.channels is not None:
            yield "channels", self.groups.channels.numpy()
        if self.groups.places.tolist() != list(range(self.groups.rows.numel())):
            yield "places", self.groups.places.numpy()
        if not self.bank.in_order:
            yield "order", self.bank.order
        for i, pool in enumerate(self.bank.pools):
            for k, value in enumerate(pool.numbers):
                if isinstance(value, np.ndarray):
                    shape = pool.shape(2 if self.whole else 4)
                    yield f"number_{i}_{k}", value.astype(np.float32).reshape(shape)

    def _numbers(self, held: Held) -> list[Numbers]:
        """The numbers of each pool, as they broadcast to rows."""
        return [
            [held.get(f"number_{i}_{k}", value) for k, value in enumerate(pool.numbers)]
            for i, pool in enumerate(self.bank.pools)
        ]


@dataclass(frozen=True, eq=False)
class RowGroups:
    """Rows (R, width) of a grouped layer as one grouped convolution of `count` groups.

    `channels` are the source's channels that any row reads, None for all; `rows` (count, m) the row
    that stands at each place of a group, −1 for none, and `places` (R,) where each row went.
    """

    count: int
    channels: Tensor | None
    rows: Tensor
    places: Tensor
    fan: int

    @staticmethod
    def of(rows: np.ndarray, layer: Layer) -> "RowGroups":
        """ValueError for a row that reads several groups."""
        every = torch.arange(len(rows))
        if layer.groups == 1:
            return RowGroups(1, None, every[None], every, layer.fan)
        read = rows.reshape(len(rows), layer.groups, layer.fan).any(2)
        if (read.sum(1) > 1).any():
            raise ValueError(f"a program of {layer.name!r} reads channels of several groups")
        used, group = np.unique(read.argmax(1), return_inverse=True)
        members = [np.flatnonzero(group == g) for g in range(len(used))]
        table = np.full((len(used), max(map(len, members), default=0)), -1)
        for row, inside in zip(table, members, strict=True):
            row[: len(inside)] = inside
        flat = torch.from_numpy(table).flatten()
        places = torch.empty(len(rows), dtype=torch.long)
        places[flat[flat >= 0]] = torch.nonzero(flat >= 0)[:, 0]
        size = layer.in_shape[0] // layer.groups
        channels = torch.from_numpy(used[:, None] * size + np.arange(size)).flatten()
        some = None if len(used) == layer.groups else channels
        return RowGroups(len(used), some, torch.from_numpy(table), places, layer.fan)

    def gathered(self, rows: Tensor) -> Tensor:
        """The weights (count*m, fan) of the grouped convolution."""
        if self.count == 1 and self.channels is None:
            return rows
        parts = rows.unflatten(1, (-1, self.fan))
        groups = parts.any(2).byte().argmax(1)
        own = parts[torch.arange(len(rows)), groups]
        flat = self.rows.flatten()
        return own[flat.clamp_min(0)] * (flat >= 0)[:, None]


def written_out(module: fx.GraphModule) -> fx.GraphModule:
    """The same network with the operations of its banks in the place of their modules."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            found = module.get_submodule(node.target)
            if isinstance(found, OnMaps) and isinstance(bank := found.module, BankModule):
                module.set_submodule(node.target, bank)
                _write(module.graph, node, bank, found.rank)
    module.graph.eliminate_dead_code()
    return referenced(module)


def _write(graph: fx.Graph, node: fx.Node, bank: BankModule, rank: int) -> None:
    """Put the operations of a bank in the place of a node that calls it."""
    (source,), tracer = node.all_input_nodes, GraphAppendingTracer(graph)
    with graph.inserting_before(node):
        paths = {name: f"{node.target}.{name}" for name, _ in bank.named_buffers()}
        held = {name: fx.Proxy(graph.get_attr(path), tracer) for name, path in paths.items()}
        ranks = source.meta["val"].dim(), rank
        new = bank.computed(fx.Proxy(source, tracer), held, ranks).node
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    graph.erase_node(node)


def _as_maps(values: Any, rank: int) -> Any:
    """What `as_maps` gives, without a look at the values."""
    if rank == 4:
        return values
    return values.unsqueeze(2) if rank == 3 else values[:, :, None, None]


def _of_rank(units: Any, rank: int, wanted: int) -> Any:
    """Units (N, U) or (N, U, h, w) with another number of dimensions, as `like` gives them."""
    if rank == wanted:
        return units
    if rank == 2:
        return units[:, :, None] if wanted == 3 else units[:, :, None, None]
    return units.squeeze(2) if wanted == 3 else units.flatten(1)


def is_whole(layer: Layer) -> bool:
    """Whether the layer is dense: its window is the whole map."""
    geometry = layer.geometry
    same = geometry.window == layer.in_shape[1:] and geometry.padding == (0, 0)
    return same and geometry.dilation == (1, 1) and layer.groups == 1
