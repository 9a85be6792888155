"""Rows of the ONNX table that slide windows over maps: convolutions and pooling."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from synth.formats.onnx_node import Node
from synth.formats.steps import Unsupported

Function = Callable[..., Any]

_CONVOLUTIONS: Mapping[int, Function] = {1: F.conv1d, 2: F.conv2d}
_TRANSPOSED: Mapping[int, Function] = {1: F.conv_transpose1d, 2: F.conv_transpose2d}
_MAX_POOLS: Mapping[int, Function] = {1: F.max_pool1d, 2: F.max_pool2d}
_MEAN_POOLS: Mapping[int, Function] = {1: F.avg_pool1d, 2: F.avg_pool2d}
_GLOBAL_MEANS: Mapping[int, Function] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d}


@dataclass(frozen=True)
class Window:
    """A window over `space` (the sizes of a map): its size, stride, dilation and padding."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def even(self) -> bool:
        """Both sides are padded alike, as torch's operations do it."""
        return self.before == self.after

    def padded(self, x: Tensor, value: float = 0.0) -> Tensor:
        """`x` with the padding around it."""
        pairs = zip(reversed(self.before), reversed(self.after), strict=True)
        return F.pad(x, [side for pair in pairs for side in pair], value=value)


def _of_rank(functions: Mapping[int, Function], x: Tensor) -> Function:
    if x.ndim - 2 not in functions:
        raise Unsupported(f"it reads a tensor of {x.ndim} dimensions, expected 3 or 4")
    return functions[x.ndim - 2]


def _window(node: Node, x: Tensor, size: Sequence[int]) -> Window:
    space, ones = x.shape[2:], [1] * len(size)
    if len(space) != len(size):
        raise Unsupported(f"its window {tuple(size)} does not fit maps of {tuple(space)}")
    stride = node.attributes.get("strides", ones)
    dilation = node.attributes.get("dilations", ones)
    mode = node.expect("auto_pad", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    pads = (
        node.attributes.get("pads", [0] * 2 * len(size))
        if mode == "NOTSET"
        else [0] * 2 * len(size)
    )
    before, after = pads[: len(size)], pads[len(size) :]
    if mode.startswith("SAME"):
        totals = [
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, k, s, d in zip(space, size, stride, dilation, strict=True)
        ]
        less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
        before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
    return Window(tuple(size), tuple(stride), tuple(dilation), tuple(before), tuple(after))


def _conv(node: Node) -> Function:
    groups = node.attributes.get("group", 1)

    def function(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        window, convolve = _window(node, x, weight.shape[2:]), _of_rank(_CONVOLUTIONS, x)
        padding = window.before if window.even else 0
        x = x if window.even else window.padded(x)
        return convolve(x, weight, bias, window.stride, padding, window.dilation, groups)

    return function


def _conv_transpose(node: Node) -> Function:
    node.expect("auto_pad", "NOTSET", "VALID")
    if "output_shape" in node.attributes:
        raise Unsupported("its output_shape is given, and only pads are read")
    groups = node.attributes.get("group", 1)

    def function(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        window, convolve = _window(node, x, weight.shape[2:]), _of_rank(_TRANSPOSED, x)
        more = node.attributes.get("output_padding", [0] * len(window.size))
        if not window.even:
            raise Unsupported("its pads differ on two sides, and only equal ones are read")
        return convolve(
            x, weight, bias, window.stride, window.before, more, groups, window.dilation
        )

    return function


def _max_pool(node: Node) -> Function:
    node.only_output()
    ceil = bool(node.attributes.get("ceil_mode", 0))

    def function(x: Tensor) -> Tensor:
        window, pool = _window(node, x, node.attributes["kernel_shape"]), _of_rank(_MAX_POOLS, x)
        padding: Any = window.before
        if not window.even or any(2 * p > k for p, k in zip(padding, window.size, strict=True)):
            if ceil:
                raise Unsupported("its pads are uneven or wide, which with ceil_mode is not read")
            x, padding = window.padded(x, float("-inf")), 0
        return pool(x, window.size, window.stride, padding, window.dilation, ceil_mode=ceil)

    return function


def _average_pool(node: Node) -> Function:
    ceil = bool(node.attributes.get("ceil_mode", 0))
    counted = bool(node.attributes.get("count_include_pad", 0))
    if any(d != 1 for d in node.attributes.get("dilations", ())):
        raise Unsupported("its window is dilated, which is not read")

    def function(x: Tensor) -> Tensor:
        window = _window(node, x, node.attributes["kernel_shape"])
        pool, padding = _of_rank(_MEAN_POOLS, x), window.before
        wide = any(2 * p > k for p, k in zip(padding, window.size, strict=True))
        if window.even and not wide:
            return pool(x, window.size, window.stride, padding, ceil, counted)
        if ceil:
            raise Unsupported("its pads are uneven or wide, which with ceil_mode is not read")
        means = pool(window.padded(x), window.size, window.stride)
        if counted:
            return means
        return means / pool(window.padded(torch.ones_like(x[:1])), window.size, window.stride)

    return function


def _global_average_pool(node: Node) -> Function:
    return lambda x: _of_rank(_GLOBAL_MEANS, x)(x, 1)


def _global_max_pool(node: Node) -> Function:
    return lambda x: _of_rank(_MAX_POOLS, x)(x, tuple(x.shape[2:]))


def _local_response_norm(node: Node) -> Function:
    size = node.attributes["size"]
    if size % 2 == 0:
        raise Unsupported(f"its size {size} is even, and only odd ones are read")
    alpha, beta = node.attributes.get("alpha", 1e-4), node.attributes.get("beta", 0.75)
    return lambda x: F.local_response_norm(x, size, alpha, beta, node.attributes.get("bias", 1.0))


WINDOWS: Mapping[str, Callable[[Node], Any]] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "LRN": _local_response_norm,
    "MaxPool": _max_pool,
}
