"""Torch modules that compute a layer's heads, or a whole layer, from its data."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synth.layers import HEADS, Head, Layer, Shape, as_maps, like


class HeadModule(nn.Module):
    """One head per channel of (N, O, ...) tensors; units with the same operation run together."""

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        groups: dict[str, list[int]] = {}
        for unit, head in enumerate(heads):
            groups.setdefault(head.op, []).append(unit)
        self.parts = nn.ModuleList(
            _UniformHead(op, [heads[unit] for unit in units]) for op, units in groups.items()
        )
        self.sizes = [len(units) for units in groups.values()]
        order = torch.tensor([unit for units in groups.values() for unit in units])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse", torch.argsort(order), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        if len(self.sizes) == 1:
            return self.parts[0](values)
        pieces = values.index_select(1, self.get_buffer("order")).split(self.sizes, dim=1)
        done = [part(piece) for part, piece in zip(self.parts, pieces, strict=True)]
        return torch.cat(done, dim=1).index_select(1, self.get_buffer("inverse"))


class _UniformHead(nn.Module):
    """One operation on every channel: its parameters are floats if equal, else one per unit."""

    def __init__(self, op: str, heads: Sequence[Head]) -> None:
        super().__init__()
        self.op = op
        values = {name: [head.param(name) for head in heads] for name in HEADS[op]}
        equal = all(len(set(column)) == 1 for column in values.values())
        self.shared = {name: column[0] for name, column in values.items()} if equal else {}
        if not equal:
            for name, column in values.items():
                self.register_buffer(name, torch.tensor(column, dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        return _TORCH_HEADS[self.op](values, **{n: self._param(n, values) for n in HEADS[self.op]})

    def _param(self, name: str, values: Tensor) -> Tensor | float:
        if name in self.shared:
            return self.shared[name]
        return self.get_buffer(name).view(-1, *(1,) * (values.dim() - 2))


def _leaky(values: Tensor, slope: Tensor | float) -> Tensor:
    if isinstance(slope, float):
        return F.leaky_relu(values, slope)
    return torch.where(values > 0, values, slope * values)


_TORCH_HEADS: Mapping[str, Callable[..., Tensor]] = {
    "identity": lambda values: values,
    "relu": torch.relu,
    "leaky_relu": _leaky,
    "prelu": _leaky,
    "clip": lambda values, low, high: torch.clamp(values, low, high),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "silu": F.silu,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "step": lambda values: (values > 0).to(values.dtype),
    "sign": torch.sign,
}


def apply_heads(heads: Sequence[Head], values: Tensor) -> Tensor:
    """Apply head i to channel i of (N, O, ...) values; the dtype and device are kept."""
    return HeadModule(heads).to(values)(values)


class LayerModule(nn.Module):
    """A layer from its own folded weights: (N, C, H, W) maps to (N, O, h, w) maps."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        geometry = layer.geometry
        shape = (layer.units, layer.in_shape[0] // layer.groups, *geometry.window)
        # A dense layer is a matrix product: the convolution would give the same, slower.
        whole = geometry.window == layer.in_shape[1:] and not any(geometry.padding)
        self.dense, self.groups = whole and layer.groups == 1, layer.groups
        weight = torch.tensor(layer.weight)
        self.weight = nn.Parameter(weight if self.dense else weight.reshape(shape))
        self.bias = nn.Parameter(torch.tensor(layer.bias))
        self.stride, self.padding = geometry.stride, geometry.padding
        self.dilation = geometry.dilation
        self.heads = HeadModule(layer.heads).float()
        self.requires_grad_(False)

    def forward(self, maps: Tensor) -> Tensor:
        if self.dense:
            return as_maps(self.heads(F.linear(maps.flatten(1), self.weight, self.bias)))
        how = (self.stride, self.padding, self.dilation, self.groups)
        return self.heads(F.conv2d(maps, self.weight, self.bias, *how))


def layer_module(layer: Layer) -> nn.Module:
    """A module that computes `layer` from its folded weights: 4-D maps to 4-D maps, no gradient
    for the weights."""
    return LayerModule(layer).eval()


class OnMaps(nn.Module):
    """Run a module of 4-D maps on tensors of any rank and return a tensor of `rank`.

    ValueError if the module returns maps of another shape than `out_shape` (O, h, w).
    """

    def __init__(self, module: nn.Module, *, rank: int, out_shape: Shape) -> None:
        super().__init__()
        self.module = module
        self.rank = rank
        self.out_shape = tuple(out_shape)

    def forward(self, values: Tensor) -> Tensor:
        maps = self.module(as_maps(values))
        if tuple(maps.shape[1:]) != self.out_shape:
            raise ValueError(
                f"a replacement returned maps {tuple(maps.shape[1:])}, expected {self.out_shape}"
            )
        return like(maps, self.rank)
