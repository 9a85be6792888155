"""What the aten operations mean to us: linear parts, batch norm, heads, views, identities."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.node import map_arg

from synth.layers import Geometry, Head, Pair, Shape
from synth.nodes import IDENTITIES, RESHAPES, arguments, schema_name

LINEAR = frozenset({"linear", "conv1d", "conv2d"})
VIEWS = (
    IDENTITIES
    | RESHAPES
    | frozenset({"max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"})
    | frozenset({"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "mean"})
    | frozenset({"add", "sub", "mul", "cat", "pad", "constant_pad_nd", "softmax", "log_softmax"})
    | frozenset({"relu", "leaky_relu", "relu6", "hardtanh", "clamp", "sigmoid", "tanh"})
    | frozenset({"gelu", "silu", "elu", "selu", "celu", "softplus", "hardswish", "hardsigmoid"})
)
# Operations with weights that hold units we do not read yet.
WEIGHTED = frozenset(
    {"conv3d", "conv_transpose1d", "conv_transpose2d", "convolution", "embedding", "matmul", "mm"}
    | {"addmm", "bmm", "bilinear", "lstm", "gru", "prelu", "batch_norm", "layer_norm"}
    | {"group_norm", "scaled_dot_product_attention"}
)


class Unsupported(Exception):
    """Why a node keeps its weights; caught where nodes are listed as opaque."""


def constants(module: fx.GraphModule) -> dict[fx.Node, Tensor]:
    """Values of the nodes that depend on no input: parameters, buffers and what is made of them."""
    values: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            values[node] = _attribute(module, str(node.target))
        elif _is_foldable(node, values):
            args, kwargs = map_arg((node.args, node.kwargs), lambda n: values[n])
            with torch.no_grad():
                values[node] = node.target(*args, **kwargs)
    return {node: value for node, value in values.items() if isinstance(value, Tensor)}


def _attribute(module: fx.GraphModule, path: str) -> Any:
    parent, _, leaf = path.rpartition(".")
    return getattr(module.get_submodule(parent), leaf)


def _is_foldable(node: fx.Node, values: Mapping[fx.Node, Any]) -> bool:
    if not isinstance(node.target, OpOverload) or not node.all_input_nodes:
        return False
    random = torch.Tag.nondeterministic_seeded in node.target.tags
    return not random and all(source in values for source in node.all_input_nodes)


@dataclass(frozen=True)
class Linear:
    """A linear operation: weight (O, C, kh, kw) and bias (O,) float64, and how it reads maps."""

    weight: Tensor
    bias: Tensor
    geometry: Geometry

    def normalised(self, scale: Tensor, shift: Tensor) -> "Linear":
        """scale * (this) + shift, with scale and shift (O,)."""
        weight = self.weight * scale[:, None, None, None]
        return Linear(weight, self.bias * scale + shift, self.geometry)


def linear_part(node: fx.Node, values: Mapping[fx.Node, Tensor], in_shape: Shape) -> Linear:
    """The linear operation of `node` on maps of `in_shape`; Unsupported with the reason."""
    args = arguments(node)
    weight = _constant(args["weight"], values, "weight")
    bias = weight.new_zeros(len(weight))
    if args["bias"] is not None:
        bias = _constant(args["bias"], values, "bias")
    if schema_name(node) == "linear":
        shape = (len(weight), *in_shape)
        return Linear(weight.reshape(shape), bias, Geometry(window=in_shape[1:]))
    if args["groups"] != 1:
        raise Unsupported(f"groups={args['groups']} is not supported yet: keeps its weights")
    kernel = weight if weight.dim() == 4 else weight.unsqueeze(2)
    return Linear(kernel, bias, _geometry(args, (kernel.shape[2], kernel.shape[3])))


def _constant(value: Any, values: Mapping[fx.Node, Tensor], what: str) -> Tensor:
    if value not in values:
        raise Unsupported(f"its {what} is computed from the input, not constant")
    return values[value].detach().double()


def _geometry(args: Mapping[str, Any], window: Pair) -> Geometry:
    one_row = len(args["stride"]) == 1 and window[0] == 1 and args["input"].meta["val"].dim() == 3
    stride, dilation = (_pair(args[name], one_row, 1) for name in ("stride", "dilation"))
    padding = args["padding"]
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same":
        total = tuple(d * (k - 1) for k, d in zip(window, dilation, strict=True))
        if any(t % 2 for t in total):
            raise Unsupported(f"padding 'same' of window {window} pads its two sides unequally")
        padding = (total[0] // 2, total[1] // 2)
    else:
        padding = _pair(padding, one_row, 0)
    return Geometry(window, stride, dilation, padding)


def _pair(values: list[int], one_row: bool, fill: int) -> Pair:
    """(rows, columns); a sequence has one row, in which `fill` is neutral."""
    if one_row:
        return (fill, values[0])
    return (values[0], values[-1])


def batch_norm(node: fx.Node, values: Mapping[fx.Node, Tensor]) -> tuple[Tensor, Tensor] | None:
    """(scale, shift) float64 of a batch norm in eval mode with constant statistics, else None."""
    if schema_name(node) != "batch_norm":
        return None
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


def heads(node: fx.Node, values: Mapping[fx.Node, Tensor], units: int) -> tuple[Head, ...] | None:
    """The head of each unit if `node` is an activation that we know, else None."""
    make = _HEADS.get(schema_name(node))
    if make is None:
        return None
    found = make(arguments(node), values)
    if found is None or not all(_in_range(head) for head in found):
        return None
    return found * units if len(found) == 1 else found


def _in_range(head: Head) -> bool:
    """Whether the grammar can say the head; one that it cannot stays a view behind the unit."""
    ranges = {"leaky_relu": (0.0, 1.0), "prelu": (-4.0, 4.0), "clip": (-64.0, 64.0)}
    low, high = ranges.get(head.op, (0.0, 0.0))
    return all(low <= value <= high for _, value in head.params)


def _fixed(op: str) -> Callable[..., tuple[Head, ...]]:
    return lambda args, values: (Head(op),)


def _clip(low: float, high: float) -> tuple[Head, ...]:
    return (Head("clip", (("low", float(low)), ("high", float(high)))),)


def _clamp(args: Mapping[str, Any], values: Mapping[fx.Node, Tensor]) -> tuple[Head, ...] | None:
    low, high = args["min"], args["max"]
    if low == 0 and high is None:
        return (Head("relu"),)
    plain = isinstance(low, int | float) and isinstance(high, int | float)
    return _clip(low, high) if plain else None


def _prelu(args: Mapping[str, Any], values: Mapping[fx.Node, Tensor]) -> tuple[Head, ...] | None:
    slopes = values.get(args["weight"])
    if slopes is None:
        return None
    return tuple(Head("prelu", (("slope", float(s)),)) for s in slopes.flatten().tolist())


_HEADS: Mapping[str, Callable[..., tuple[Head, ...] | None]] = {
    "relu": _fixed("relu"),
    "sigmoid": _fixed("sigmoid"),
    "tanh": _fixed("tanh"),
    "relu6": lambda args, values: _clip(0, 6),
    "hardtanh": lambda args, values: _clip(args["min_val"], args["max_val"]),
    "clamp": _clamp,
    "leaky_relu": lambda a, _: (Head("leaky_relu", (("slope", float(a["negative_slope"])),)),),
    "prelu": _prelu,
}


def why_not(operation: str) -> str:
    """Why a node of this operation is opaque."""
    if operation == "batch_norm":
        return "a batch norm that is not straight after a layer is not supported: keeps its weights"
    if operation in WEIGHTED:
        return f"{operation} is not supported yet: keeps its weights"
    if operation in IDENTITIES:
        return f"{operation} is random: it is active although the network is in eval mode"
    return f"{operation} is unknown, and holds no unit"
