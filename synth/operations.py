"""What the aten operations mean to us: linear forms, views, and what we leave alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.node import map_arg

from synth.layers import Geometry, Pair, Shape
from synth.nodes import DROPOUTS, IDENTITIES, RESHAPES, arguments, is_tensor, schema_name

CONVOLUTIONS = frozenset({"conv1d", "conv2d"})
DENSE = frozenset({"linear"}) | CONVOLUTIONS
ELEMENTWISE = frozenset(
    {"relu", "relu6", "leaky_relu", "hardtanh", "clamp", "clamp_min", "clamp_max", "sigmoid"}
    | {"tanh", "gelu", "silu", "hardsigmoid", "hardswish", "elu", "selu", "celu", "softplus"}
    | {"mish", "softsign", "log_sigmoid", "hardshrink", "softshrink", "tanhshrink", "threshold"}
    | {"abs", "neg", "exp", "log", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos", "erf"}
    | {"sign"}
)
ARITHMETIC = frozenset({"add", "sub", "mul", "div", "rsub", "pow", "maximum", "minimum"})
POOLS = frozenset(
    {"max_pool1d", "max_pool2d", "max_pool2d_with_indices", "avg_pool1d", "avg_pool2d"}
    | {"adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d"}
    | {"adaptive_max_pool1d", "adaptive_max_pool2d", "lp_pool1d", "lp_pool2d"}
)
MOVES = frozenset(
    {"permute", "transpose", "t", "movedim", "flip", "roll", "expand", "expand_as", "repeat"}
    | {"chunk", "split", "split_with_sizes", "tensor_split", "unbind", "slice", "select", "narrow"}
    | {"cat", "stack", "getitem", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"}
    | {"pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d"}
    | {"replication_pad2d", "upsample_nearest1d", "upsample_nearest2d", "upsample_linear1d"}
    | {"upsample_bilinear2d", "upsample_bicubic2d", "repeat_interleave", "to", "_to_copy"}
)
REDUCTIONS = frozenset(
    {"mean", "sum", "amax", "amin", "max", "min", "var", "std", "linalg_vector_norm"}
    | {"softmax", "log_softmax", "_softmax", "_log_softmax", "logsumexp"}
)
VIEWS = IDENTITIES | RESHAPES | ELEMENTWISE | ARITHMETIC | POOLS | MOVES | REDUCTIONS
# Operations with weights that hold units we do not read.
WEIGHTED = frozenset(
    {"conv3d", "conv_transpose1d", "conv_transpose2d", "convolution", "embedding", "matmul", "mm"}
    | {"addmm", "bmm", "bilinear", "lstm", "gru", "prelu", "batch_norm", "layer_norm"}
    | {"group_norm", "instance_norm", "scaled_dot_product_attention"}
)


class Unsupported(Exception):
    """Why a node keeps its weights; caught where nodes are listed as opaque."""


def constants(module: fx.GraphModule) -> dict[fx.Node, Tensor]:
    """The tensors among `evaluated`."""
    values = evaluated(module)
    return {node: value for node, value in values.items() if isinstance(value, Tensor)}


def evaluated(module: fx.GraphModule) -> dict[fx.Node, Any]:
    """Values of the nodes that depend on no input: parameters, buffers and what is made of them."""
    values: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            values[node] = _attribute(module, str(node.target))
        elif is_constant(node, values):
            args, kwargs = map_arg((node.args, node.kwargs), lambda n: values[n])
            with torch.no_grad():
                values[node] = node.target(*args, **kwargs)
    return values


def _attribute(module: fx.GraphModule, path: str) -> Any:
    parent, _, leaf = path.rpartition(".")
    return getattr(module.get_submodule(parent), leaf)


def is_constant(node: fx.Node, known: Mapping[fx.Node, Any]) -> bool:
    """The node's value is always the same, since that of all it reads is `known`."""
    if not isinstance(node.target, OpOverload):
        return False
    random = torch.Tag.nondeterministic_seeded in node.target.tags
    return not random and all(source in known for source in node.all_input_nodes)


@dataclass(frozen=True)
class Linear:
    """A linear operation: weight (O, C/groups, kh, kw) and bias (O,) float64, and its reading."""

    weight: Tensor
    bias: Tensor
    geometry: Geometry
    groups: int = 1

    def normalised(self, scale: Tensor, shift: Tensor) -> "Linear":
        """scale * (this) + shift, with scale and shift (O,)."""
        weight = self.weight * scale[:, None, None, None]
        return Linear(weight, self.bias * scale + shift, self.geometry, self.groups)


def by_channel(scale: Tensor, shift: Tensor) -> Linear:
    """Every channel by itself: unit c is scale[c] * source[c] + shift[c]."""
    return Linear(scale[:, None, None, None], shift, Geometry((1, 1)), len(scale))


def linear_part(node: fx.Node, values: Mapping[fx.Node, Tensor], in_shape: Shape) -> Linear:
    """A dense layer or a convolution on maps of `in_shape`; Unsupported with the reason."""
    args = arguments(node)
    weight = _constant(args["weight"], values, "weight")
    bias = weight.new_zeros(len(weight))
    if args["bias"] is not None:
        bias = _constant(args["bias"], values, "bias")
    if schema_name(node) == "linear":
        shape = (len(weight), *in_shape)
        return Linear(weight.reshape(shape), bias, Geometry(window=in_shape[1:]))
    kernel = weight if weight.dim() == 4 else weight.unsqueeze(2)
    return Linear(kernel, bias, _geometry(args, kernel), args["groups"])


def _constant(value: Any, values: Mapping[fx.Node, Tensor], what: str) -> Tensor:
    if value not in values:
        raise Unsupported(f"its {what} is computed from the input, not constant")
    return values[value].detach().double()


def _geometry(args: Mapping[str, Any], kernel: Tensor) -> Geometry:
    window = (kernel.shape[2], kernel.shape[3])
    one_row = args["input"].meta["val"].dim() == 3
    stride, dilation = (_pair(args[name], one_row, 1) for name in ("stride", "dilation"))
    return Geometry(window, stride, dilation, _padding(args["padding"], window, dilation, one_row))


def _padding(given: Any, window: Pair, dilation: Pair, one_row: bool) -> Pair:
    if given == "valid":
        return (0, 0)
    if given == "same":  # equal on both sides: see normalise.py
        return dilation[0] * (window[0] - 1) // 2, dilation[1] * (window[1] - 1) // 2
    return _pair(given, one_row, 0)


def _pair(values: list[int], one_row: bool, fill: int) -> Pair:
    """(rows, columns); a sequence has one row, in which `fill` is neutral."""
    if one_row:
        return (fill, values[0])
    return (values[0], values[-1])


Affine = tuple[Tensor, Tensor]
"""(scale, shift), each (C,) float64: channel c becomes scale[c] * it + shift[c]."""


def affine_part(node: fx.Node, values: Mapping[fx.Node, Tensor]) -> Affine | None:
    """What a batch norm, or arithmetic with one constant a channel, does to each channel, or None.

    Infinite numbers in arithmetic are a mask's, and no weights of units.
    """
    make = _AFFINE.get(schema_name(node))
    found = make(node, values) if make else None
    if found is None or make is _batch_norm:
        return found
    return found if all(torch.isfinite(part).all() for part in found) else None


def _batch_norm(node: fx.Node, values: Mapping[fx.Node, Tensor]) -> Affine | None:
    """In eval mode, with constant statistics."""
    args = arguments(node)
    if args["training"] or args["running_mean"] not in values or args["running_var"] not in values:
        return None
    mean, variance = (values[args[name]].double() for name in ("running_mean", "running_var"))
    gain, offset = (args[name] for name in ("weight", "bias"))
    scale = torch.rsqrt(variance + args["eps"])
    if gain is not None:
        scale = scale * values[gain].double()
    shift = -mean * scale
    return scale, shift if offset is None else shift + values[offset].double()


def _plus(node: fx.Node, values: Mapping[fx.Node, Tensor]) -> Affine | None:
    constant = _one_a_channel(node, values)
    if constant is None:
        return None
    sign = -1 if schema_name(node) == "sub" else 1
    return torch.ones_like(constant), sign * arguments(node)["alpha"] * constant


def _times(node: fx.Node, values: Mapping[fx.Node, Tensor]) -> Affine | None:
    constant = _one_a_channel(node, values)
    if constant is None or arguments(node).get("rounding_mode"):
        return None
    scale = 1 / constant if schema_name(node) == "div" else constant
    return scale, torch.zeros_like(scale)


def _one_a_channel(node: fx.Node, values: Mapping[fx.Node, Tensor]) -> Tensor | None:
    """The second operand, if it is a constant number a channel of the first, as (C,) float64."""
    first, second = node.args[:2]
    constant = values.get(second) if isinstance(second, fx.Node) else None
    if constant is None or not isinstance(first, fx.Node) or not is_tensor(first):
        return None
    shape = first.meta["val"].shape
    space = (1,) * (len(shape) - 2)
    if shape != node.meta["val"].shape or constant.dim() > len(shape):
        return None
    aligned = constant.double().reshape((1,) * (len(shape) - constant.dim()) + constant.shape)
    if aligned.shape[0] != 1 or tuple(aligned.shape[2:]) != space:
        return None
    return aligned.flatten().expand(int(shape[1])).clone()


_AFFINE: Mapping[str, Callable[[fx.Node, Mapping[fx.Node, Tensor]], Affine | None]] = {
    "batch_norm": _batch_norm,
    "add": _plus,
    "sub": _plus,
    "mul": _times,
    "div": _times,
}


def why_not(operation: str) -> str:
    """Why a node of this operation is opaque."""
    if operation in WEIGHTED:
        return f"{operation} is not supported: keeps its weights, if it has any"
    if operation in DROPOUTS:
        return f"{operation} is random: it is active although the network is in eval mode"
    return f"{operation} is unknown, and holds no unit"
