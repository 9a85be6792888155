"""Rows of the ONNX table that move numbers about, and those that compute with shapes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synth.formats.onnx_node import Call, Node, Value, shape_of, sizes, tensor, whole
from synth.formats.steps import Unsupported

Function = Callable[..., Any]


# shapes


def _shape(node: Node) -> Function:
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return lambda x: shape_of(x)[start:end]


def _size(x: Value) -> Value:
    return sizes(math.prod(x.shape))


def _reshape(node: Node) -> Function:
    keeps_zero = bool(node.attributes.get("allowzero", 0))

    def function(x: Value, shape: Value) -> Value:
        target = whole(shape, "shape")
        if not keeps_zero:
            target = [x.shape[i] if _is(size, 0) else size for i, size in enumerate(target)]
        if not isinstance(x, Tensor):
            return x.reshape([int(size) for size in target])
        return _reshaped(x, _with_free_batch(x, target, node.batch))

    return function


def _is(size: Any, number: int) -> bool:
    """Whether a size is this number; the free batch size never is."""
    return isinstance(size, int) and size == number


def _with_free_batch(x: Tensor, target: list[Any], fixed: int) -> list[Any]:
    """The target shape with the batch size as it is now, where it stands for the batch.

    A first size of -1, or of the batch size that the file fixes, is the batch if the others hold
    exactly one sample.
    """
    if x.ndim == 0 or not target:
        return target
    first, rest = target[0], target[1:]
    sample, held = math.prod(x.shape[1:]), math.prod(rest)
    one = all(isinstance(n, int) for n in rest) and (held == sample or (-1 in rest and first != -1))
    batch = _is(first, -1) or (fixed > 0 and _is(first, fixed))
    return [x.shape[0], *rest] if one and batch else target


def _reshaped(x: Tensor, target: list[Any]) -> Tensor:
    if len(target) == 2 and x.ndim > 2 and target[0] is x.shape[0]:
        return x.flatten(1)
    return x.reshape(target)


def _flatten(node: Node) -> Function:
    axis = node.attributes.get("axis", 1)

    def function(x: Tensor) -> Tensor:
        at = axis % x.ndim if axis != x.ndim else axis
        return x.flatten(1) if at == 1 and x.ndim > 1 else x.reshape(math.prod(x.shape[:at]), -1)

    return function


def _transpose(node: Node) -> Function:
    def function(x: Value) -> Value:
        order = node.attributes.get("perm", list(reversed(range(x.ndim))))
        return x.permute(order) if isinstance(x, Tensor) else x.transpose(order)

    return function


def _squeeze(node: Node) -> Call:
    axes = node.setting("axes", 1)

    def function(x: Value) -> Value:
        if isinstance(x, Tensor):
            ones = [i for i, n in enumerate(x.shape) if i and _is(n, 1)]  # the batch stays
            return x.squeeze(tuple(ones if axes is None else axes))
        return x.squeeze(None if axes is None else tuple(axes))

    return Call(function, node.inputs[:1])


def _unsqueeze(node: Node) -> Call:
    axes = node.setting("axes", 1)

    def function(x: Value) -> Value:
        rank = x.ndim + len(axes)
        for axis in sorted(a % rank for a in axes):
            x = x.unsqueeze(axis) if isinstance(x, Tensor) else np.expand_dims(x, axis)
        return x

    return Call(function, node.inputs[:1])


def _constant(node: Node) -> Function:
    kinds = ("value", "value_float", "value_floats", "value_int", "value_ints")
    found = [node.attributes[kind] for kind in kinds if kind in node.attributes]
    if not found:
        raise Unsupported("its value is no tensor of numbers")
    value = found[0]
    if isinstance(value, Tensor | np.ndarray):
        return lambda: value
    is_float = isinstance(np.asarray(value).flat[0] if np.size(value) else 0.0, float)
    return lambda: torch.tensor(value) if is_float else sizes(value)


def _expand(x: Value, shape: Value) -> Value:
    target = whole(shape, "shape")
    own = [1] * (len(target) - x.ndim) + list(x.shape)
    target = [1] * (len(own) - len(target)) + target
    merged = [a if _is(b, 1) else b for a, b in zip(own, target, strict=True)]
    return x.expand(merged) if isinstance(x, Tensor) else np.broadcast_to(x, merged)


def _constant_of_shape(node: Node) -> Function:
    filling = node.attributes.get("value")
    number = 0.0 if filling is None else filling.flatten().tolist()[0]

    def function(shape: Value) -> Value:
        size = whole(shape, "shape")
        if isinstance(number, float):
            return torch.full(size, number)
        return sizes(np.full(size, number, dtype=object))

    return function


# parts and unions


def _concat(node: Node) -> Function:
    axis = node.attributes["axis"]

    def function(*values: Value) -> Value:
        if not any(isinstance(v, Tensor) for v in values):
            return sizes(np.concatenate([np.asarray(v) for v in values], axis))
        return torch.cat([tensor(v) for v in values], axis)

    return function


def _split(node: Node) -> Call:
    axis, lengths = node.attributes.get("axis", 0), node.setting("split", 1)
    count = node.attributes.get("num_outputs", len(node.outputs))

    def function(x: Value) -> Any:
        each = -(-x.shape[axis] // count)
        if isinstance(x, Tensor):
            parts = torch.split(x, lengths if lengths is not None else each, axis)
        else:
            parts = np.split(x, np.cumsum(lengths)[:-1] if lengths is not None else count, axis)
        return parts[0] if len(node.outputs) == 1 else tuple(parts)

    return Call(function, node.inputs[:1])


def _slice(node: Node) -> Function:
    given = {n: node.attributes[n] for n in ("starts", "ends", "axes") if n in node.attributes}

    def function(x: Value, *inputs: Value | None) -> Value:
        names = ("starts", "ends", "axes", "steps")
        found = {n: whole(v, n) for n, v in zip(names, inputs, strict=False) if v is not None}
        chosen = _slices(x, **(found | given))
        flipped = [axis for axis, s in enumerate(chosen) if (s.step or 1) < 0]
        if not flipped or not isinstance(x, Tensor):
            return x[tuple(chosen)]
        if any(chosen[a].step != -1 or not _is_whole(chosen[a], x, a) for a in flipped):
            raise Unsupported("it steps backwards through a part, which is not read")
        x = x.flip(flipped)
        return x[tuple(slice(None) if a in flipped else s for a, s in enumerate(chosen))]

    return function


def _slices(
    x: Value, starts: list[Any], ends: list[Any], axes: Any = None, steps: Any = None
) -> list[slice]:
    chosen = [slice(None)] * x.ndim
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        below = step < 0 and isinstance(end, int) and end < -x.shape[axis]
        chosen[axis % x.ndim] = slice(start, None if below else end, step)
    return chosen


def _is_whole(part: slice, x: Tensor, axis: int) -> bool:
    return part.indices(x.shape[axis]) == (x.shape[axis] - 1, -1, -1)


def _gather(node: Node) -> Function:
    axis = node.attributes.get("axis", 0)

    def function(x: Value, index: Value) -> Value:
        at = whole(index, "index") if not isinstance(index, Tensor) else index.flatten().tolist()
        if not isinstance(x, Tensor):
            return sizes(np.take(x, np.array(at, dtype=int).reshape(index.shape), axis))
        if index.ndim == 0:
            return x.select(axis, at[0])
        at = [i % x.shape[axis] if i < 0 else i for i in at]
        found = x.index_select(axis, torch.tensor(at))
        first = axis % x.ndim
        return found.reshape(*x.shape[:first], *index.shape, *x.shape[first + 1 :])

    return function


def _depth_to_space(node: Node) -> Function:
    block, mode = node.attributes["blocksize"], node.expect("mode", "DCR", "CRD")
    if mode == "CRD":
        return lambda x: F.pixel_shuffle(x, block)

    def function(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(n, c // block**2, h * block, w * block)

    return function


def _space_to_depth(node: Node) -> Function:
    block = node.attributes["blocksize"]

    def function(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
        return parts.reshape(n, c * block**2, h // block, w // block)

    return function


# over axes


def _reduction(on_tensor: Function, on_sizes: Function) -> Callable[[Node], Call]:
    def build(node: Node) -> Call:
        axes, keep = node.setting("axes", 1), bool(node.attributes.get("keepdims", 1))
        nothing = not axes and node.attributes.get("noop_with_empty_axes", 0)

        def function(x: Value) -> Value:
            if nothing:
                return x
            over = tuple(axes or range(x.ndim))
            if isinstance(x, Tensor):
                return on_tensor(x, over, keepdim=keep)
            return sizes(on_sizes(x, axis=over, keepdims=keep))

        return Call(function, node.inputs[:1])

    return build


def _product(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


SHAPES: Mapping[str, Callable[[Node], Any]] = {
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Expand": lambda node: _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "ReduceMax": _reduction(torch.amax, np.max),
    "ReduceMean": _reduction(torch.mean, np.mean),
    "ReduceMin": _reduction(torch.amin, np.min),
    "ReduceProd": _reduction(_product, np.prod),
    "ReduceSum": _reduction(torch.sum, np.sum),
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": lambda node: _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
