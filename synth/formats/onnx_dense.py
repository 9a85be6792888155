"""Rows of the ONNX table with dense weights, normalisations and softmax."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from synth.formats.onnx_node import Call, Node
from synth.formats.steps import Unsupported

Function = Callable[..., Any]


def _gemm(node: Node) -> Function | Call:
    """alpha A B + beta C; with constant B and C it is a dense layer of weight (outputs, inputs)."""
    alpha, beta, across, turned = _gemm_settings(node)

    def function(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        product = alpha * ((a.t() if across else a) @ (b.t() if turned else b))
        return product if c is None else product + beta * c

    return _dense(node) or function


def _gemm_settings(node: Node) -> tuple[float, float, bool, bool]:
    get = node.attributes.get
    return get("alpha", 1.0), get("beta", 1.0), bool(get("transA", 0)), bool(get("transB", 0))


def _dense(node: Node) -> Call | None:
    alpha, beta, across, turned = _gemm_settings(node)
    weight, bias = node.constant(1), node.constant(2)
    if not isinstance(weight, Tensor) or across:
        return None
    rows = weight if turned else weight.t()
    kept = node.inputs[1] if turned and alpha == 1 else (alpha * rows).contiguous()
    if not node.has(2):
        return Call(F.linear, (node.inputs[0], kept))
    if not isinstance(bias, Tensor) or tuple(bias.shape) not in _bias_shapes(len(rows)):
        return None
    plain = beta == 1 and bias.ndim == 1 and len(bias) == len(rows)
    shift = node.inputs[2] if plain else (beta * bias).flatten().expand(len(rows)).clone()
    return Call(F.linear, (node.inputs[0], kept, shift))


def _bias_shapes(units: int) -> set[tuple[int, ...]]:
    return {(), (1,), (1, 1), (units,), (1, units)}


def _matmul(node: Node) -> Function | Call:
    weight = node.constant(1)
    if isinstance(weight, Tensor) and weight.ndim == 2:
        return Call(F.linear, (node.inputs[0], weight.t().contiguous(), *node.inputs[2:]))
    return torch.matmul


def _batch_normalization(node: Node) -> Function:
    node.expect("training_mode", 0)
    node.expect("spatial", 1)
    node.only_output()
    epsilon = node.attributes.get("epsilon", 1e-5)

    def function(x: Tensor, gain: Tensor, offset: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return F.batch_norm(x, mean, variance, gain, offset, training=False, eps=epsilon)

    return function


def _instance_normalization(node: Node) -> Function:
    epsilon = node.attributes.get("epsilon", 1e-5)
    return lambda x, gain, offset: F.instance_norm(x, weight=gain, bias=offset, eps=epsilon)


def _layer_normalization(node: Node) -> Function:
    node.expect("stash_type", 1)
    node.only_output()
    axis, epsilon = node.attributes.get("axis", -1), node.attributes.get("epsilon", 1e-5)

    def function(x: Tensor, gain: Tensor, offset: Tensor | None = None) -> Tensor:
        shape = list(x.shape[axis:])
        return F.layer_norm(x, shape, gain, offset, epsilon)

    return function


def _softmax(function: Function) -> Callable[[Node], Function]:
    """Over one axis since opset 13; before it, over all axes from the given one on."""

    def build(node: Node) -> Function:
        joint = node.opset < 13
        axis = node.attributes.get("axis", 1 if joint else -1)

        def apply(x: Tensor) -> Tensor:
            first = axis % x.ndim
            if not joint or all(size == 1 for size in x.shape[first + 1 :]):
                return function(x, dim=axis)
            if first == 0:
                raise Unsupported("it mixes the samples of a batch")
            return function(x.flatten(first), dim=-1).reshape(x.shape)

        return apply

    return build


DENSE: Mapping[str, Callable[[Node], Any]] = {
    "BatchNormalization": _batch_normalization,
    "Gemm": _gemm,
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": _softmax(torch.log_softmax),
    "MatMul": _matmul,
    "Softmax": _softmax(torch.softmax),
}
