"""A layer as data: its geometry, the heads of its units and its weights.

Activations are 4-D maps (N, C, H, W) everywhere; a flat tensor (N, F) is (N, F, 1, 1) and a
sequence (N, C, L) is (N, C, 1, L). A unit is head(w · patch + b).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import overload

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grammars.scope import Scope

Pair = tuple[int, int]
Shape = tuple[int, int, int]

HEADS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "identity": (),
        "relu": (),
        "leaky_relu": ("slope",),
        "prelu": ("slope",),
        "clip": ("low", "high"),
        "sigmoid": (),
        "tanh": (),
        "gelu": (),
        "silu": (),
        "hardsigmoid": (),
        "hardswish": (),
        "step": (),
        "sign": (),
    }
)
JUMPS = frozenset({"step", "sign"})  # heads that no gradient sees through


def as_maps(values: Tensor) -> Tensor:
    """View (N, F), (N, C, L) or (N, C, H, W) as 4-D maps; ValueError for any other rank."""
    if values.dim() == 4:
        return values
    if values.dim() == 3:
        return values.unsqueeze(2)
    if values.dim() == 2:
        return values.unsqueeze(-1).unsqueeze(-1)
    raise ValueError(
        f"a tensor of shape {tuple(values.shape)} is no bank of maps: "
        "expected (N, F), (N, C, L) or (N, C, H, W)"
    )


def like(maps: Tensor, rank: int) -> Tensor:
    """Undo `as_maps`: view 4-D maps as a tensor of `rank` 2, 3 or 4.

    Rank 2 needs h = w = 1 and rank 3 needs h = 1; ValueError otherwise.
    """
    if rank == 4:
        return maps
    if rank == 3 and maps.shape[2] == 1:
        return maps.squeeze(2)
    if rank == 2 and maps.shape[2] == 1 and maps.shape[3] == 1:
        return maps.flatten(1)
    raise ValueError(f"maps of shape {tuple(maps.shape)} cannot be viewed as a rank {rank} tensor")


@dataclass(frozen=True)
class Geometry:
    """How a layer reads its source: pairs are (rows, columns), padding is by zeros.

    Offset 0 of an axis with k cells is cell (k-1)//2; cell i lies at (i - (k-1)//2) * dilation.
    Offsets count input positions, also under a stride.
    """

    window: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("stride", 1), ("dilation", 1), ("padding", 0)):
            pair = getattr(self, name)
            if len(pair) != 2 or any(int(v) != v or v < least for v in pair):
                raise ValueError(f"{name}={pair!r}: expected two integers of at least {least}")
            object.__setattr__(self, name, (int(pair[0]), int(pair[1])))

    def offsets(self) -> tuple[Pair, ...]:
        """(dy, dx) of each window cell, row by row."""
        rows, columns = (tuple(self._axis_offsets(axis)) for axis in (0, 1))
        return tuple((dy, dx) for dy in rows for dx in columns)

    def anchor(self) -> Pair:
        """Input position (row, column) that output (0, 0) reads at offset (0, 0)."""
        rows, columns = (
            (k - 1) // 2 * d - p
            for k, d, p in zip(self.window, self.dilation, self.padding, strict=True)
        )
        return rows, columns

    def out_size(self, height: int, width: int) -> Pair:
        """Rows and columns of the output; ValueError if the window does not fit."""
        rows, columns = (self._axis_size(axis, size) for axis, size in enumerate((height, width)))
        if rows < 1 or columns < 1:
            raise ValueError(f"{self} does not fit in a map of {height} x {width}")
        return rows, columns

    def patches(self, maps: Tensor) -> Tensor:
        """Patches of (N, C, H, W) maps as rows: (N*h*w, C*kh*kw), zero padded.

        Rows run over sample, row, column; columns over channel, window row, window column, so
        that `patches(maps) @ weight.reshape(O, -1).T` is the convolution without its bias.
        """
        columns = self.columns(maps)
        return columns.transpose(1, 2).reshape(-1, columns.shape[1])

    def columns(self, maps: Tensor) -> Tensor:
        """The same patches as columns: (N, C*kh*kw, h*w)."""
        self.out_size(maps.shape[2], maps.shape[3])
        return F.unfold(maps, self.window, self.dilation, self.padding, self.stride)

    def patches_at(self, maps: Tensor, rows: Tensor) -> Tensor:
        """The rows (m,) of `patches(maps)`, without making the others: (m, C*kh*kw)."""
        height, width = self.out_size(maps.shape[2], maps.shape[3])
        samples, places = rows // (height * width), rows % (height * width)
        top, left = places // width * self.stride[0], places % width * self.stride[1]
        down, right = (
            torch.arange(k, device=maps.device) * d
            for k, d in zip(self.window, self.dilation, strict=True)
        )
        (above, beside), padded = self.padding, maps
        if above or beside:
            padded = F.pad(maps, (beside, beside, above, above))
        ys, xs = (top[:, None] + down)[:, :, None], (left[:, None] + right)[:, None, :]
        windows = padded[samples[:, None, None], :, ys, xs]  # (m, kh, kw, C)
        return windows.permute(0, 3, 1, 2).flatten(1)

    def _axis_size(self, axis: int, size: int) -> int:
        reach = self.dilation[axis] * (self.window[axis] - 1) + 1
        return (size + 2 * self.padding[axis] - reach) // self.stride[axis] + 1

    def _axis_offsets(self, axis: int) -> Iterator[int]:
        centre = (self.window[axis] - 1) // 2
        return ((i - centre) * self.dilation[axis] for i in range(self.window[axis]))


@dataclass(frozen=True)
class Head:
    """The nonlinearity of one unit: an operation of `HEADS` and its parameters by name."""

    op: str
    params: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.op not in HEADS:
            raise ValueError(f"head {self.op!r} is unknown: expected one of {', '.join(HEADS)}")
        if tuple(name for name, _ in self.params) != HEADS[self.op]:
            raise ValueError(f"head {self.op} takes {HEADS[self.op]}, not {self.params!r}")

    def param(self, name: str) -> float:
        """The parameter `name`; KeyError if this head has none of that name."""
        return dict(self.params)[name]


@dataclass(frozen=True, eq=False)
class Layer:
    """A bank of units: unit = head(weight · patch + bias), batch norm folded into the weights.

    `source` is the bank it reads, `in_shape` (C, H, W), `out_shape` (O, h, w), `weight`
    (O, C/groups*kh*kw) and `bias` (O,) float32 and read-only, `heads` one per unit. With `groups`,
    unit o reads the channels of group o // (O/groups) alone, as in a grouped or, with one channel
    a group, a depthwise convolution. One that is not `affine` stands for units that are computed
    through other layers: its weights only are near to them. `alphabet` are all values that a number
    of its patches may have, where that is known and they are few. Layers compare by identity.
    ValueError if the shapes do not agree.
    """

    name: str
    source: str
    in_shape: Shape
    out_shape: Shape
    geometry: Geometry
    weight: np.ndarray
    bias: np.ndarray
    heads: tuple[Head, ...]
    groups: int = 1
    affine: bool = True
    alphabet: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for field in ("weight", "bias"):
            array = np.array(getattr(self, field), dtype=np.float32, order="C")
            array.setflags(write=False)
            object.__setattr__(self, field, array)
        problems = tuple(self._problems())
        if problems:
            raise ValueError(f"layer {self.name!r}: " + "; ".join(problems))

    @property
    def jumps(self) -> bool:
        """Whether some unit jumps, so that no gradient passes it."""
        return any(head.op in JUMPS for head in self.heads)

    @property
    def units(self) -> int:
        """How many units the layer has (O)."""
        return self.out_shape[0]

    @property
    def width(self) -> int:
        """How many columns a patch has, C*kh*kw."""
        rows, columns = self.geometry.window
        return self.in_shape[0] * rows * columns

    @property
    def fan(self) -> int:
        """How many weights a unit has, the bias aside: C/groups*kh*kw."""
        return self.width // self.groups

    def part(self, channel: int) -> slice:
        """The columns of a patch that unit `channel` reads."""
        group = channel // (self.units // self.groups)
        return slice(group * self.fan, (group + 1) * self.fan)

    def spread(self, channels: Sequence[int]) -> np.ndarray:
        """Weights (len(channels), width) float32 of units over all columns, zero off their own."""
        if self.groups == 1:
            return self.weight[list(channels)]
        rows = np.zeros((len(channels), self.width), dtype=np.float32)
        for row, channel in zip(rows, channels, strict=True):
            row[self.part(channel)] = self.weight[channel]
        return rows

    @cached_property
    def scope(self) -> Scope:
        """What programs of its units may read."""
        columns = tuple((self.source, c, dy, dx) for c, dy, dx in self.columns())
        return Scope(self.name, self.units, columns, self.groups)

    def columns(self) -> tuple[tuple[int, int, int], ...]:
        """(channel, dy, dx) of each column of a patch."""
        offsets = self.geometry.offsets()
        return tuple((c, dy, dx) for c in range(self.in_shape[0]) for dy, dx in offsets)

    @overload
    def pre(self, patches: np.ndarray) -> np.ndarray: ...
    @overload
    def pre(self, patches: Tensor) -> Tensor: ...
    def pre(self, patches: np.ndarray | Tensor) -> np.ndarray | Tensor:
        """Pre-activations (rows, O) of patches (rows, C*kh*kw).

        numpy is computed in float64, torch in the dtype and on the device of the patches.
        """
        if isinstance(patches, np.ndarray):
            return self.pre(torch.from_numpy(patches.astype(np.float64))).numpy()
        weight, bias = (torch.tensor(a).to(patches) for a in (self.weight, self.bias))
        if self.groups == 1:
            return F.linear(patches, weight, bias)
        grouped = patches.unflatten(1, (self.groups, self.fan)).transpose(0, 1)
        products = grouped @ weight.unflatten(0, (self.groups, -1)).transpose(1, 2)
        return products.transpose(0, 1).flatten(1) + bias

    def _problems(self) -> Iterator[str]:
        (channels, height, width), units = self.in_shape, self.out_shape[0]
        if self.groups < 1 or channels % self.groups or units % self.groups:
            yield f"{channels} channels and {units} units do not divide into {self.groups} groups"
            return
        expected = (units, self.fan)
        if self.weight.shape != expected:
            yield f"weight has shape {self.weight.shape}, expected (units, columns) = {expected}"
        if self.bias.shape != (units,):
            yield f"bias has shape {self.bias.shape}, expected {(units,)}"
        if len(self.heads) != units:
            yield f"{len(self.heads)} heads for {units} units"
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            yield "the weights hold NaN or infinite values"
        if self.out_shape[1:] != self.geometry.out_size(height, width):
            size = self.geometry.out_size(height, width)
            yield f"out_shape is {self.out_shape}, but the geometry makes maps of {size}"
