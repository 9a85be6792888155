"""The familiar spelling of an operation, where there is one that says the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload

from synth.nodes import arguments, schema_name

_INFIX = MappingProxyType({"add": "+", "sub": "-", "mul": "*", "div": "/"})
_METHODS = frozenset(
    {"flatten", "view", "reshape", "permute", "squeeze", "unsqueeze", "unflatten", "transpose"}
    | {"t", "movedim", "expand", "expand_as", "repeat", "narrow"}
)
_UNPACKED = frozenset({"view", "reshape", "permute", "expand", "repeat"})  # x.view(2, 3)
# Names of torch itself: its functions take the keywords of the schema.
_TORCH = frozenset(
    {"relu", "sigmoid", "tanh", "softmax", "log_softmax", "logsumexp", "clamp", "prelu", "abs"}
    | {"neg", "exp", "log", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos", "erf", "pow"}
    | {"maximum", "minimum", "max", "min", "amax", "amin", "mean", "sum", "var", "std", "cat"}
    | {"stack", "chunk", "split", "tensor_split", "unbind", "flip", "roll", "repeat_interleave"}
    | {"channel_shuffle", "batch_norm", "matmul", "bmm", "mm", "sort", "cumsum", "where", "sign"}
)
_FUNCTIONAL = frozenset(
    {"conv1d", "conv2d", "linear", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"}
    | {"adaptive_avg_pool1d", "adaptive_avg_pool2d", "pad", "pixel_shuffle", "pixel_unshuffle"}
    | {"leaky_relu", "relu6", "hardtanh", "gelu", "silu", "elu", "selu", "celu", "softplus"}
    | {"hardswish", "hardsigmoid", "mish", "hardshrink", "softshrink", "threshold"}
    | {"layer_norm", "group_norm"}
)
# Keywords that the functions of torch.nn.functional share with the schema of the operation.
_KEYWORDS = frozenset(
    {"stride", "padding", "dilation", "groups", "ceil_mode", "count_include_pad", "bias"}
    | {"divisor_override", "weight", "eps", "mode", "value", "lambd"}
    | {"negative_slope", "min_val", "max_val", "alpha", "beta", "threshold", "approximate"}
)
_F = "torch.nn.functional."


@dataclass(frozen=True)
class Operation:
    """An aten node, and how its arguments are written."""

    node: fx.Node
    literal: Callable[[Any], str]

    @property
    def schema(self) -> torch.FunctionSchema:
        assert isinstance(self.node.target, OpOverload)
        return self.node.target._schema

    @property
    def name(self) -> str:
        return schema_name(self.node)

    @cached_property
    def every(self) -> dict[str, Any]:
        """All arguments by name."""
        return arguments(self.node)

    @cached_property
    def required(self) -> frozenset[str]:
        """The arguments that stand in their place, without their names."""
        given = (a for a in self.schema.arguments if not a.kwarg_only)
        return frozenset(a.name for a in given if not a.has_default_value())

    @cached_property
    def given(self) -> dict[str, Any]:
        """The arguments that are required or differ from their defaults, in order."""
        usual = {a.name: a.default_value for a in self.schema.arguments if a.has_default_value()}
        given = self.every
        if "kernel_size" in given and _plain(given.get("stride")) == _plain(given["kernel_size"]):
            usual["stride"] = given["stride"]
        return {
            key: given[key]
            for key in (a.name for a in self.schema.arguments if a.name in given)
            if key not in usual or _differs(key, given[key], usual[key])
        }

    @property
    def first(self) -> str:
        """What the operation is applied to."""
        return self.literal(self.every[self.schema.arguments[0].name])

    def parts(self) -> list[str]:
        """Required arguments by position, others by keyword."""
        return [
            self.literal(value) if key in self.required else f"{key}={self.literal(value)}"
            for key, value in ((k, _short(k, v)) for k, v in self.given.items())
        ]

    def call(self, function: str, *more: str) -> str:
        """`function` of the first argument and these."""
        return f"{function}({', '.join([self.first, *more])})"


def familiar(node: fx.Node, literal: Callable[[Any], str]) -> str | None:
    """What people write for an aten node, or None."""
    operation = Operation(node, literal)
    name, special = operation.name, _SPECIAL.get(schema_name(node))
    if special is not None:
        return special(operation)
    if name in _METHODS:
        return _method(operation)
    if name in _TORCH:
        return f"torch.{name}({', '.join(operation.parts())})"
    if name in _FUNCTIONAL and set(operation.given) <= operation.required | _KEYWORDS:
        return f"{_F}{name}({', '.join(operation.parts())})"
    return None


def is_whole(node: fx.Node) -> bool:
    """A slice of everything."""
    if schema_name(node) != "slice":
        return False
    args = arguments(node)
    return args["start"] in (None, 0) and args["step"] == 1 and _endless(args["end"])


def _method(operation: Operation) -> str:
    value, *rest = operation.parts()
    if operation.name in _UNPACKED and rest:
        rest[0] = rest[0].removeprefix("[").removesuffix("]")
    elif operation.name == "flatten" and list(operation.given) == ["self", "start_dim"]:
        rest = [operation.literal(operation.given["start_dim"])]
    return f"{value}.{operation.name}({', '.join(rest)})"


def _infix(operation: Operation) -> str | None:
    if set(operation.given) != {"self", "other"}:
        return None
    left, right = (operation.literal(operation.given[name]) for name in ("self", "other"))
    if operation.name == "rsub":
        return f"{right} - {left}"
    return f"{left} {_INFIX[operation.name]} {right}"


def _sliced(operation: Operation) -> str | None:
    """x[:, 2:8]; None for a dimension that is counted from the end."""
    args = operation.every
    start, end, step = args["start"], args["end"], args["step"]
    if args["dim"] < 0:
        return None
    first = operation.literal(start) if start not in (None, 0) else ""
    last = "" if _endless(end) else operation.literal(end)
    every = f":{operation.literal(step)}" if step != 1 else ""
    return f"{operation.first}[{':, ' * args['dim']}{first}:{last}{every}]"


def _endless(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value == 2**63 - 1)


def _selected(operation: Operation) -> str | None:
    args = operation.every
    if args["dim"] < 0:
        return None
    return f"{operation.first}[{':, ' * args['dim']}{operation.literal(args['index'])}]"


def _clamped(operation: Operation) -> str:
    side = operation.name.removeprefix("clamp_")
    return operation.call("torch.clamp", f"{side}={operation.literal(operation.every[side])}")


def _softmax(operation: Operation) -> str | None:
    if operation.every["half_to_float"]:
        return None
    name = operation.name.removeprefix("_")
    return operation.call(f"torch.{name}", operation.literal(operation.every["dim"]))


def _mean_pool(operation: Operation) -> str:
    size = operation.literal(_short("output_size", operation.every["output_size"]))
    return operation.call(f"{_F}{operation.name.removeprefix('_')}", size)


def _pool_and_places(operation: Operation) -> str:
    """A pooling operation that gives the places of the largest values too."""
    name = operation.name.removesuffix("_with_indices")
    return operation.call(f"{_F}{name}", *operation.parts()[1:], "return_indices=True")


def _padded(operation: Operation) -> str:
    args, name = operation.every, operation.name
    if name == "constant_pad_nd":
        more = [f"value={operation.literal(args['value'])}"] if args["value"] else []
        return operation.call(f"{_F}pad", operation.literal(args["pad"]), *more)
    mode = name.split("_")[0].replace("reflection", "reflect").replace("replication", "replicate")
    return operation.call(f"{_F}pad", operation.literal(args["padding"]), f'mode="{mode}"')


def _resized(operation: Operation) -> str | None:
    """torch.nn.functional.interpolate, to a size or by a factor."""
    args, mode = operation.every, operation.name.removeprefix("upsample_")[:-2]
    if any(args.get(name) is not None for name in ("scales", "scales_h", "scales_w")):
        return None
    how = "size" if args["output_size"] is not None else "scale_factor"
    value = args["output_size" if how == "size" else "scale_factors"]
    more = [f"{how}={operation.literal(_single(value))}"]
    more += [f'mode="{mode}"'] if mode != "nearest" else []
    more += ["align_corners=True"] if args.get("align_corners") else []
    return operation.call(f"{_F}interpolate", *more)


def _cast(operation: Operation) -> str | None:
    dtype, rest = operation.every.get("dtype"), set(operation.given) - {"self", "dtype"}
    if not isinstance(dtype, torch.dtype) or rest:
        return None
    return f"{operation.first}.to({operation.literal(dtype)})"


_SPECIAL: Mapping[str, Callable[[Operation], str | None]] = MappingProxyType(
    {
        **dict.fromkeys((*_INFIX, "rsub"), _infix),
        "slice": _sliced,
        "select": _selected,
        **dict.fromkeys(("clamp_min", "clamp_max"), _clamped),
        **dict.fromkeys(("_softmax", "_log_softmax"), _softmax),
        "_adaptive_avg_pool2d": _mean_pool,
        **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), _pool_and_places),
        "max_pool2d_with_indices": _pool_and_places,
        "constant_pad_nd": _padded,
        **dict.fromkeys((f"reflection_pad{n}d" for n in (1, 2)), _padded),
        **dict.fromkeys((f"replication_pad{n}d" for n in (1, 2)), _padded),
        **dict.fromkeys((f"upsample_{m}1d" for m in ("nearest", "linear")), _resized),
        **dict.fromkeys((f"upsample_{m}2d" for m in ("nearest", "bilinear", "bicubic")), _resized),
        **dict.fromkeys(("to", "_to_copy"), _cast),
        "split_with_sizes": lambda o: f"torch.split({', '.join(o.parts())})",
        "_unsafe_view": lambda o: f"{o.first}.view({', '.join(map(o.literal, o.every['size']))})",
        "log_sigmoid": lambda o: o.call(f"{_F}logsigmoid"),
        "linalg_vector_norm": lambda o: f"torch.linalg.vector_norm({', '.join(o.parts())})",
    }
)


def _differs(key: str, value: Any, usual: Any) -> bool:
    return _plain(_short(key, value)) != _plain(_short(key, usual))


def _short(key: str, value: Any) -> Any:
    """One number for a pair of equal ones."""
    pairs = ("kernel_size", "stride", "padding", "dilation", "output_size")
    return _single(value) if key in pairs else value


def _single(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(set(map(str, value))) == 1:
        return value[0]
    return value


def _plain(value: Any) -> Any:
    """Lists and tuples compare equal; graph nodes and numbers as they are."""
    return list(value) if isinstance(value, list | tuple) else value
