"""Activations as heads of units."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx

from synth.layers import Head
from synth.nodes import arguments, only_reader, schema_name

CASTS = frozenset({"to", "_to_copy"})


def heads(node: fx.Node, values: Mapping[fx.Node, Tensor], units: int) -> tuple[Head, ...] | None:
    """The head of each unit if `node` is an activation that we know, else None."""
    make = _HEADS.get(schema_name(node))
    if make is None:
        return None
    found = make(arguments(node), values)
    if found is None or not all(_in_range(head) for head in found):
        return None
    return found * units if len(found) == 1 else found


def activation_end(node: fx.Node) -> fx.Node:
    """Where an activation ends that begins at `node`: a comparison, as x > 0, at its cast."""
    cast = only_reader(node) if schema_name(node) == "gt" else None
    return cast if cast is not None and schema_name(cast) in CASTS else node


def _in_range(head: Head) -> bool:
    """Whether the grammar can say the head; one that it cannot stays a view behind the unit."""
    ranges = {"leaky_relu": (0.0, 1.0), "prelu": (-4.0, 4.0), "clip": (-64.0, 64.0)}
    low, high = ranges.get(head.op, (0.0, 0.0))
    return all(low <= value <= high for _, value in head.params)


def _fixed(op: str) -> Callable[..., tuple[Head, ...]]:
    return lambda args, values: (Head(op),)


def _gelu(args: Mapping[str, Any], values: Mapping[fx.Node, Tensor]) -> tuple[Head, ...] | None:
    return (Head("gelu"),) if args["approximate"] == "none" else None


def _clip(low: float, high: float) -> tuple[Head, ...]:
    return (Head("clip", (("low", float(low)), ("high", float(high)))),)


def _clamp(args: Mapping[str, Any], values: Mapping[fx.Node, Tensor]) -> tuple[Head, ...] | None:
    low, high = args["min"], args.get("max")
    if low == 0 and high is None:
        return (Head("relu"),)
    if isinstance(low, int | float) and isinstance(high, int | float):
        return _clip(low, high)
    return None


def _prelu(args: Mapping[str, Any], values: Mapping[fx.Node, Tensor]) -> tuple[Head, ...] | None:
    slopes = values.get(args["weight"])
    if slopes is None:
        return None
    return tuple(Head("prelu", (("slope", float(s)),)) for s in slopes.flatten().tolist())


def _step(args: Mapping[str, Any], values: Mapping[fx.Node, Tensor]) -> tuple[Head, ...] | None:
    """A cast of x > 0 to numbers."""
    compared, dtype = args["self"], args.get("dtype")
    if schema_name(compared) != "gt" or dtype is None or not dtype.is_floating_point:
        return None
    level = arguments(compared)["other"]
    return (Head("step"),) if isinstance(level, int | float) and level == 0 else None


_HEADS: Mapping[str, Callable[..., tuple[Head, ...] | None]] = {
    "relu": _fixed("relu"),
    "sigmoid": _fixed("sigmoid"),
    "tanh": _fixed("tanh"),
    "relu6": lambda args, values: _clip(0, 6),
    "hardtanh": lambda args, values: _clip(args["min_val"], args["max_val"]),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "gelu": _gelu,
    "silu": _fixed("silu"),
    "hardsigmoid": _fixed("hardsigmoid"),
    "hardswish": _fixed("hardswish"),
    "leaky_relu": lambda a, _: (Head("leaky_relu", (("slope", float(a["negative_slope"])),)),),
    "prelu": _prelu,
    "sign": _fixed("sign"),
    **dict.fromkeys(CASTS, _step),
}
