"""Exact rewrites: each takes a node of its operation, and gives what stands for it or None."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_arg

from synth.nodes import arguments, is_tensor, only_reader, schema_name
from synth.operations import CONVOLUTIONS, constants

aten = torch.ops.aten


@dataclass(frozen=True)
class Writer:
    """Writes nodes in the place of one, with their shapes, module path and first name."""

    graph: fx.Graph
    place: fx.Node
    known: set[fx.Node]

    def __call__(self, target: Callable[..., Any], *args: Any) -> fx.Node:
        """A call before the place; what is made of constants is one."""
        with self.graph.inserting_before(self.place):
            node = self.graph.call_function(target, args)
        values = map_arg(args, lambda n: n.meta["val"])
        with self.place.meta["val"].fake_mode:
            node.meta["val"] = target(*values)
        if all(n in self.known for n in node.all_input_nodes):
            self.known.add(node)
        for key in ("nn_module_stack", "stack_trace"):
            if key in self.place.meta:
                node.meta[key] = self.place.meta[key]
        return node

    def linear(self, target: Callable[..., Any], *args: Any) -> fx.Node:
        """The same for the operation that stands for the one at the place, and keeps its name."""
        node = self(target, *args)
        node.meta["written_as"] = self.place.meta.get("written_as", self.place.name)
        return node

    def is_constant(self, value: Any, *ranks: int) -> bool:
        """A node without inputs, of one of the ranks."""
        return value in self.known and is_tensor(value) and value.meta["val"].dim() in ranks


Rewrite = Callable[[Writer, fx.Node], fx.Node | None]
"""What replaces a node, or None where the pattern is another."""


def product(write: Writer, node: fx.Node) -> fx.Node | None:
    """x @ W and mm(x, W) → linear(x, Wᵀ); W @ x of (N, C, L) → a convolution of width 1."""
    first, second = _operands(node)
    if write.is_constant(second, 2) and is_tensor(first) and first.meta["val"].dim() > 1:
        return write.linear(aten.linear.default, first, write(aten.t.default, second))
    if write.is_constant(first, 2) and is_tensor(second) and second.meta["val"].dim() == 3:
        kernel = write(aten.unsqueeze.default, first, -1)
        return write.linear(aten.conv1d.default, second, kernel)
    return None


def product_and_sum(write: Writer, node: fx.Node) -> fx.Node | None:
    """addmm(b, x, W) → linear(x, Wᵀ, b)."""
    args = arguments(node)
    plain = args["beta"] == 1 and args["alpha"] == 1
    if not (plain and write.is_constant(args["self"], 1) and write.is_constant(args["mat2"], 2)):
        return None
    transposed = write(aten.t.default, args["mat2"])
    return write.linear(aten.linear.default, args["mat1"], transposed, args["self"])


def constant_first(write: Writer, node: fx.Node) -> fx.Node | None:
    """b + x → x + b, and so for a product."""
    first, second = _operands(node)
    if first not in write.known or not isinstance(second, fx.Node) or second in write.known:
        return None
    return None if node.kwargs else write.linear(_target(node), second, first)


def sum_after_dense(write: Writer, node: fx.Node) -> fx.Node | None:
    """linear(x, W) + b → linear(x, W, b)."""
    dense, bias = _operands(node)
    if not isinstance(dense, fx.Node) or schema_name(dense) != "linear" or len(dense.users) > 1:
        return None
    *axes, units = dense.meta["val"].shape
    if len(axes) < 2:  # on (N, F) the reader folds any constant a unit
        return None
    fits = write.is_constant(bias, 1) and bias.meta["val"].shape[0] == units
    if not fits or arguments(dense)["bias"] is not None or arguments(node)["alpha"] != 1:
        return None
    return _moved_name(write.linear(aten.linear.default, *dense.args[:2], bias), dense)


def dense_on_axes(write: Writer, node: fx.Node) -> fx.Node | None:
    """linear on (N, …, C) → permute, a convolution with a window of one cell, permute back.

    The batch may be on another axis, as (L, N, C) has it.
    """
    read, weight, bias = (arguments(node)[name] for name in ("input", "weight", "bias"))
    rank, batch = read.meta["val"].dim(), _batch_axis(write.graph, read)
    if rank not in (3, 4) or batch is None or not write.is_constant(weight, 2):
        return None
    for _ in range(rank - 2):
        weight = write(aten.unsqueeze.default, weight, -1)
    axes = [batch, rank - 1, *(axis for axis in range(rank - 1) if axis != batch)]
    maps = write(aten.permute.default, read, axes)
    convolution = aten.conv1d.default if rank == 3 else aten.conv2d.default
    units = write.linear(convolution, maps, weight, bias)
    return write(aten.permute.default, units, [axes.index(axis) for axis in range(rank)])


def one_permutation(write: Writer, node: fx.Node) -> fx.Node | None:
    """permute(permute(x)) → one permutation, or x itself."""
    inner: Any = node.args[0]
    outer_axes = _axes(node)
    inner_axes = _axes(inner) if isinstance(inner, fx.Node) else None
    if outer_axes is None or inner_axes is None or inner in write.known:
        return None
    axes = [inner_axes[axis] for axis in outer_axes]
    source: Any = inner.args[0]
    return source if axes == sorted(axes) else write(aten.permute.default, source, axes)


def activation_first(write: Writer, node: fx.Node) -> fx.Node | None:
    """relu(permute(y)) → permute(relu(y)) for a linear y, so that its units keep their heads."""
    moved = node.args[0]
    if not isinstance(moved, fx.Node) or len(moved.users) > 1 or _axes(moved) is None:
        return None
    linear = moved.args[0]
    if not isinstance(linear, fx.Node) or schema_name(linear) not in CONVOLUTIONS:
        return None
    if only_reader(linear) is not moved:
        return None
    active = write.linear(_target(node), linear, *node.args[1:])
    active.kwargs = dict(node.kwargs)
    return write(aten.permute.default, active, _axes(moved))


def plain_convolution(write: Writer, node: fx.Node) -> fx.Node | None:
    """The general convolution of decomposed graphs → conv1d or conv2d, if it is no transposed."""
    args = arguments(node)
    rank = node.meta["val"].dim()
    if args["transposed"] or rank not in (3, 4):
        return None
    target = aten.conv1d.default if rank == 3 else aten.conv2d.default
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    return write.linear(target, *(args[name] for name in names))


def unequal_padding(write: Writer, node: fx.Node) -> fx.Node | None:
    """A convolution whose "same" padding is longer on one side → pad, convolution."""
    args = arguments(node)
    if args["padding"] != "same":
        return None
    window, dilation = args["weight"].meta["val"].shape[2:], args["dilation"]
    dilation = dilation * (len(window) // len(dilation))
    total = [d * (int(k) - 1) for k, d in zip(window, dilation, strict=True)]
    if not any(t % 2 for t in total):
        return None
    ends = [end for t in reversed(total) for end in (t // 2, t - t // 2)]
    padded = write(aten.pad.default, args["input"], ends)
    target = aten.conv1d.default if len(window) == 1 else aten.conv2d.default
    given = (args["weight"], args["bias"], args["stride"], [0] * len(window), dilation)
    return write.linear(target, padded, *given, args["groups"])


def first_of_several(write: Writer, node: fx.Node) -> fx.Node | None:
    """The value among what decomposed operations return: batch norm, max pooling, dropout."""
    several, place = _operands(node)
    if not isinstance(several, fx.Node) or place != 0:
        return None
    name, args = schema_name(several), several.args
    if name == "_native_batch_norm_legit_no_training":
        return write.linear(aten.batch_norm.default, *args[:5], False, *args[5:], False)
    if name == "max_pool2d_with_indices":
        return write.linear(aten.max_pool2d.default, *args)
    if name == "native_dropout" and not args[2]:
        return write.linear(aten.dropout.default, *args[:2], False)
    return None


def gated_by_itself(write: Writer, node: fx.Node) -> fx.Node | None:
    """x * sigmoid(x) → silu(x)."""
    for value, gate in (_operands(node), _operands(node)[::-1]):
        gates = isinstance(gate, fx.Node) and schema_name(gate) == "sigmoid"
        if gates and gate.args[0] is value and len(gate.users) == 1:
            return write.linear(aten.silu.default, value)
    return None


def jump_at_zero(write: Writer, node: fx.Node) -> fx.Node | None:
    """heaviside(x, 0) → x > 0 as numbers, by which gradients are none, and no error."""
    value, at_zero = _operands(node)
    known = constants(node.graph.owning_module)  # type: ignore[arg-type]
    if at_zero not in known or known[at_zero].any():
        return None
    above = write(aten.gt.Scalar, value, 0)
    return write.linear(aten.to.dtype, above, node.meta["val"].dtype)


def _operands(node: fx.Node) -> tuple[Any, Any]:
    """The first two arguments: nodes or numbers."""
    first, second = node.args[:2]
    return first, second


def _target(node: fx.Node) -> Callable[..., Any]:
    assert callable(node.target)
    return node.target


def _batch_axis(graph: fx.Graph, node: fx.Node) -> int | None:
    """The axis, but for the last, that is as long as the batch."""
    given = next(n for n in graph.nodes if n.op == "placeholder")
    batch, *sizes = (str(n) for n in (given.meta["val"].shape[0], *node.meta["val"].shape[:-1]))
    return sizes.index(batch) if batch in sizes else None


def _axes(node: fx.Node) -> list[int] | None:
    """Where the axes of a permutation come from, None for another operation."""
    name = schema_name(node)
    if name not in ("permute", "transpose"):
        return None
    args = arguments(node)
    axes = list(range(node.meta["val"].dim()))
    if name == "permute":
        return [axes[axis] for axis in args["dims"]]
    first, second = args["dim0"], args["dim1"]
    axes[first], axes[second] = axes[second], axes[first]
    return axes


def _moved_name(node: fx.Node, dense: fx.Node) -> fx.Node:
    """The name and the module of the dense operation, which a sum had joined."""
    node.meta["written_as"] = dense.meta.get("written_as", dense.name)
    node.meta["nn_module_stack"] = dense.meta.get("nn_module_stack", {})
    return node
