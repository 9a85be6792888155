"""Rows of the ONNX table that work number by number."""

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synth.formats.onnx_node import Call, Node, Value, sizes, tensor
from synth.formats.steps import Unsupported

Function = Callable[..., Any]


def plain(function: Function) -> Callable[[Node], Function]:
    """The row of an operation without attributes."""
    return lambda node: function


def scaled(function: Function, **defaults: float) -> Callable[[Node], Function]:
    """The row of an operation whose attributes are numbers, given to `function` in order."""

    def build(node: Node) -> Function:
        values = [float(node.attributes.get(name, value)) for name, value in defaults.items()]
        return lambda x: function(x, *values)

    return build


# arithmetic, on tensors and on sizes


def _scalar(node: Node, position: int) -> float | None:
    """The one number of a constant, which torch's operations take as it is."""
    value = node.constant(position)
    if not isinstance(value, Tensor) or value.numel() != 1 or value.ndim > 1:
        return None
    return value.item() if value.dtype == torch.float32 else None


def arithmetic(on_tensors: Function, on_sizes: Function) -> Callable[[Node], Call]:
    """The row of an operation of two numbers that networks also use to compute shapes."""

    def build(node: Node) -> Call:
        numbers = _numbers(node)

        def function(*values: Value | None) -> Value:
            pair = _filled(values, numbers)
            if _has_tensor(pair):
                return on_tensors(*(tensor(v) if isinstance(v, np.ndarray) else v for v in pair))
            return sizes(on_sizes(*pair))

        return Call(function, _unfilled(node, numbers))

    return build


def _numbers(node: Node) -> list[float | None]:
    """The inputs that are one constant number; the first is left a tensor if all are."""
    numbers = [_scalar(node, i) for i in range(len(node.inputs))]
    return numbers if None in numbers else [None, *numbers[1:]]


def _unfilled(node: Node, numbers: Sequence[float | None]) -> list[str | None]:
    return [name if n is None else None for name, n in zip(node.inputs, numbers, strict=True)]


def _filled(values: Sequence[Any], numbers: Sequence[float | None]) -> list[Any]:
    return [v if n is None else n for v, n in zip(values, numbers, strict=True)]


def _has_tensor(values: Sequence[Any]) -> bool:
    return any(isinstance(v, Tensor) for v in values)


def _each(function: Function) -> Function:
    return np.frompyfunc(function, 2, 1)


def _quotient(a: Any, b: Any) -> Any:
    """ONNX rounds the quotient of whole numbers towards 0."""
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) // abs(b) * (1 if a * b >= 0 else -1)
    return a // b


def _divided(a: Any, b: Any) -> Tensor:
    whole = all(isinstance(v, Tensor) and not v.is_floating_point() for v in (a, b))
    return torch.div(a, b, rounding_mode="trunc") if whole else a / b


def extreme(pick: Function, bound: str) -> Callable[[Node], Call]:
    """The row of Min or Max; a constant number bounds the others."""

    def build(node: Node) -> Call:
        numbers = _numbers(node)

        def both(a: Any, b: Any) -> Any:
            if isinstance(a, float):
                a, b = b, a
            return torch.clamp(a, **{bound: b}) if isinstance(b, float) else pick(a, b)  # type: ignore[call-overload]

        def function(*values: Value | None) -> Tensor:
            given = _filled(values, numbers)
            return functools.reduce(both, [v if isinstance(v, float) else tensor(v) for v in given])

        return Call(function, _unfilled(node, numbers))

    return build


def _sum(*values: Value) -> Tensor:
    return functools.reduce(operator.add, map(tensor, values))


def _where(condition: Value, a: Value, b: Value) -> Value:
    if not _has_tensor([condition, a, b]):
        chosen = np.frompyfunc(lambda c, x, y: x if c else y, 3, 1)
        return sizes(chosen(condition, a, b))
    return torch.where(tensor(condition), tensor(a), tensor(b))


def _rounding(on_tensor: Function, on_size: Function) -> Function:
    def function(x: Value) -> Value:
        if isinstance(x, Tensor):
            return on_tensor(x)
        return sizes(np.frompyfunc(lambda v: float(on_size(v)), 1, 1)(x))

    return function


# activations


def _clip(node: Node) -> Call:
    low, high = node.setting("min", 1), node.setting("max", 2)
    low = None if low == -math.inf else low
    high = None if high == math.inf else high
    if low is None and high is None:
        return Call(_identity, node.inputs[:1])
    return Call(lambda x: torch.clamp(x, low, high), node.inputs[:1])


def _hard_sigmoid(node: Node) -> Function:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid
    return lambda x: torch.clamp(x * alpha + beta, 0.0, 1.0)


def _selu(x: Tensor, alpha: float, gamma: float) -> Tensor:
    usual = math.isclose(alpha, 1.6732632423543772, rel_tol=1e-6)
    if usual and math.isclose(gamma, 1.0507009873554805, rel_tol=1e-6):
        return F.selu(x)
    return gamma * F.elu(x, alpha)


def _gelu(node: Node) -> Function:
    approximate = node.expect("approximate", "none", "tanh")
    return lambda x: F.gelu(x, approximate=approximate)


def _swish(x: Tensor, alpha: float) -> Tensor:
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


def _prelu(node: Node) -> Function:
    def function(x: Tensor, slope: Tensor) -> Tensor:
        if slope.numel() == 1 or _is_channelwise(x, slope):
            return F.prelu(x, slope.flatten())
        return torch.where(x < 0, x * slope, x)

    return function


def _is_channelwise(x: Tensor, slope: Tensor) -> bool:
    channels, *space = (1,) * (x.ndim - 1 - slope.ndim) + tuple(slope.shape[-(x.ndim - 1) :])
    batch = slope.ndim < x.ndim or slope.shape[0] == 1
    return batch and channels == x.shape[1] and set(space) <= {1}


# identities


def _identity(x: Value) -> Value:
    return x


def _dropout(node: Node) -> Call:
    node.only_output()
    if node.setting("training_mode", 2, False):
        raise Unsupported("it is in training mode: export the network in eval mode")
    return Call(_identity, node.inputs[:1])


_CASTS: Mapping[int, torch.dtype] = {
    1: torch.float32,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    11: torch.float64,
}


def _cast(node: Node) -> Function:
    kind = node.attributes["to"]
    if kind not in _CASTS:
        raise Unsupported(f"it casts to the type {kind}, and only float, int and bool are read")
    dtype = _CASTS[kind]

    def function(x: Value) -> Value:
        if isinstance(x, Tensor):
            return x.to(dtype)
        return sizes(np.frompyfunc(lambda v: _number(v, dtype), 1, 1)(x))

    return function


def _number(value: Any, dtype: torch.dtype) -> Any:
    if dtype.is_floating_point:
        return float(value) if isinstance(value, int) else torch.sym_float(value)
    if dtype == torch.bool:
        return bool(value)
    return int(value) if isinstance(value, bool | float) else value


ELEMENTWISE: Mapping[str, Callable[[Node], Any]] = {
    "Abs": plain(torch.abs),
    "Add": arithmetic(operator.add, operator.add),
    "Cast": _cast,
    "Ceil": plain(_rounding(torch.ceil, math.ceil)),
    "Celu": scaled(F.celu, alpha=1.0),
    "Clip": _clip,
    "Div": arithmetic(_divided, _each(_quotient)),
    "Dropout": _dropout,
    "Elu": scaled(F.elu, alpha=1.0),
    "Equal": arithmetic(operator.eq, _each(operator.eq)),
    "Erf": plain(torch.erf),
    "Exp": plain(torch.exp),
    "Floor": plain(_rounding(torch.floor, math.floor)),
    "Gelu": _gelu,
    "Greater": arithmetic(operator.gt, _each(operator.gt)),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": plain(F.hardswish),
    "Identity": plain(_identity),
    "LeakyRelu": scaled(F.leaky_relu, alpha=0.01),
    "Less": arithmetic(operator.lt, _each(operator.lt)),
    "Log": plain(torch.log),
    "Max": extreme(torch.maximum, "min"),
    "Min": extreme(torch.minimum, "max"),
    "Mish": plain(F.mish),
    "Mul": arithmetic(operator.mul, operator.mul),
    "Neg": plain(operator.neg),
    "PRelu": _prelu,
    "Pow": arithmetic(torch.pow, _each(operator.pow)),
    "Reciprocal": plain(torch.reciprocal),
    "Relu": plain(torch.relu),
    "Selu": scaled(_selu, alpha=1.6732631921768188, gamma=1.0507010221481323),
    "Sigmoid": plain(torch.sigmoid),
    "Sign": plain(torch.sign),
    "Softplus": plain(F.softplus),
    "Softsign": plain(F.softsign),
    "Sqrt": plain(torch.sqrt),
    "Sub": arithmetic(operator.sub, operator.sub),
    "Sum": plain(_sum),
    "Swish": scaled(_swish, alpha=1.0),
    "Tanh": plain(torch.tanh),
    "ThresholdedRelu": scaled(lambda x, alpha: F.threshold(x, alpha, 0.0), alpha=1.0),
    "Where": plain(_where),
}
