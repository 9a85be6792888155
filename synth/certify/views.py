"""What the operations between layers do to a pair: views, activations, pooling, sums."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from oracles.difference.bend import bent_pair
from oracles.difference.curves import NoTransformer
from oracles.difference.pair import Move, Pair
from oracles.difference.pooling import larger, max_pooled
from oracles.difference.rounding import Semantics
from oracles.difference.sums import added, averaged, joined, scaled
from synth.certify.layers import curve_of
from synth.heads import heads
from synth.layers import as_maps, like
from synth.nodes import IDENTITIES, RESHAPES, arguments, is_size, schema_name
from synth.running import Runner

MOVES = RESHAPES | {
    *("permute", "transpose", "movedim", "flip", "roll", "expand", "repeat", "slice", "select"),
    *("narrow", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "repeat_interleave"),
    *("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d"),
    *("upsample_nearest1d", "upsample_nearest2d"),
}
PARTS = frozenset({"chunk", "split", "split_with_sizes", "tensor_split", "unbind"})
CASTS = frozenset({"to", "_to_copy"})
AVERAGES = frozenset(
    {"avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"}
    | {"_adaptive_avg_pool2d", "mean", "sum"}
)

Values = Mapping[fx.Node, Any]


@dataclass(frozen=True, eq=False)
class Views:
    """Steps of the nodes of a graph that belong to no layer."""

    runner: Runner
    semantics: Semantics

    def __call__(self, node: fx.Node, values: Values) -> Any:
        """The value of a node, pairs and tuples of pairs, from those that it reads.

        Raises NoTransformer: nothing here encloses its operation.
        """
        operation = schema_name(node)
        for names, step in self._steps:
            if operation in names:
                return step(self, node, values)
        curve = self._curve(node)
        if curve is None:
            raise _none(node)
        return bent_pair(_source(node, values), curve, node.name, self.semantics)

    def _curve(self, node: fx.Node) -> Any:
        shape = node.meta["val"].shape if isinstance(node.meta.get("val"), Tensor) else ()
        if len(shape) < 2:
            return None
        found = heads(node, self.runner.constants, int(shape[1]))
        return found and curve_of(found, len(shape), self.runner.device)

    def _same(self, node: fx.Node, values: Values) -> Pair:
        return _source(node, values)

    def _cast(self, node: fx.Node, values: Values) -> Pair:
        if arguments(node).get("dtype") not in (None, torch.float32, torch.float64):
            raise _none(node, "it rounds to other floats than float32")
        return _source(node, values)

    def _moved(self, node: fx.Node, values: Values) -> Pair:
        return _source(node, values).mapped(self._move(node))

    def _padded(self, node: fx.Node, values: Values) -> Pair:
        given = arguments(node)
        if given["value"] and given.get("mode", "constant") == "constant":
            raise _none(node, "it pads with a number other than 0")
        return self._moved(node, values)

    def _parts(self, node: fx.Node, values: Values) -> tuple[Pair, ...]:
        source, move = _source(node, values), self._move(node)
        count = len(node.meta["val"])
        return tuple(source.mapped(lambda v, i=i: move(v)[i]) for i in range(count))

    def _item(self, node: fx.Node, values: Values) -> Pair:
        return values[node.args[0]][node.args[1]]  # type: ignore[index]

    def _joined(self, node: fx.Node, values: Values) -> Pair:
        given = arguments(node)
        if any(source not in values for source in given["tensors"]):
            raise _none(node, "it puts constants beside what depends on the input")
        target = node.target
        pairs = [values[source] for source in given["tensors"]]
        return joined(pairs, lambda tensors: target(tensors, given["dim"]))  # type: ignore[operator]

    def _averaged(self, node: fx.Node, values: Values) -> Pair:
        source = _source(node, values)
        terms = prod(source.original.center.shape[1:])
        return averaged(source, self._move(node), terms, self.semantics)

    def _added(self, node: fx.Node, values: Values) -> Pair:
        sign = 1.0 if schema_name(node) == "add" else -1.0
        given = arguments(node)
        if given.get("alpha", 1) != 1:
            raise _none(node, f"alpha is {given['alpha']}")
        one, other = given["self"], given["other"]
        if schema_name(node) == "rsub":
            one, other = other, one
        if one in values and other in values:
            return added(values[one], values[other], sign, self.semantics)
        if other in values:  # a constant, and ± what depends on the input
            return self._scaled(values[other], sign, self._constant(one))
        return self._scaled(values[one], 1.0, sign * self._constant(other))

    def _times(self, node: fx.Node, values: Values) -> Pair:
        given = arguments(node)
        one, other = given["self"], given.get("other", -1.0)  # `neg` has no other
        if one in values and other in values:
            raise _none(node, "it multiplies two values that depend on the input")
        varying, constant = (one, other) if one in values else (other, one)
        scale = self._constant(constant)
        if schema_name(node) == "div":
            if varying is not one or given.get("rounding_mode"):
                raise _none(node, "it is no product with a constant")
            scale = 1 / scale
        return self._scaled(values[varying], scale, torch.zeros_like(scale))

    def _scaled(self, pair: Pair, scale: Tensor | float, shift: Tensor) -> Pair:
        wide = torch.broadcast_shapes(shift.shape, (1, *pair.original.center.shape[1:]))
        if wide != (1, *pair.original.center.shape[1:]):
            raise NoTransformer(f"a constant of shape {tuple(shift.shape)} makes values larger")
        factor = torch.as_tensor(scale, dtype=torch.float64, device=shift.device)
        factor, offset = factor.expand(wide)[0], shift.expand(wide)[0]
        return scaled(pair, factor, offset, self.semantics)

    def _constant(self, value: Any) -> Tensor:
        found = self.runner.constants.get(value, value)
        return torch.as_tensor(found, dtype=torch.float64, device=self.runner.device)

    def _larger(self, node: fx.Node, values: Values) -> Pair:
        one, other = (values.get(source) for source in node.args[:2])  # type: ignore[arg-type]
        if one is None or other is None:
            raise _none(node, "one side is constant")
        return larger(one, other, node.name)

    def _max_pooled(self, node: fx.Node, values: Values) -> Any:
        source, given = _source(node, values), arguments(node)
        rank = source.original.center.dim()
        window, padding, dilation = (
            _pair(given[name], rank == 3, 0 if name == "padding" else 1)
            for name in ("kernel_size", "padding", "dilation")
        )
        stride = _pair(given["stride"] or given["kernel_size"], rank == 3, 1)
        size = _pair(node.meta["val"].shape[2:], rank == 3, 1)
        how = {"window": window, "stride": stride, "padding": padding, "dilation": dilation}
        found = max_pooled(source.mapped(as_maps), node.name, size=size, **how)
        return found.mapped(lambda maps: like(maps, rank))

    def _move(self, node: fx.Node) -> Move:
        """The node as a function of its source, for any number of samples."""
        source: Any = node.args[0]

        def move(values: Tensor) -> Tensor:
            known = {n: self._size(n, len(values)) for n in node.all_input_nodes if is_size(n)}
            found = self.runner.run(node, {**self.runner.constants, **known, source: values})
            if isinstance(found, Tensor) and found.shape[:1] != values.shape[:1]:
                raise _none(node, "it joins samples")
            return found

        return move

    def _size(self, node: fx.Node, samples: int) -> int:
        """The value of a size, which is known but for the number of samples."""
        if schema_name(node).startswith("sym_size"):
            return samples
        known = {n: self._size(n, samples) for n in node.all_input_nodes}
        return self.runner.run(node, {**self.runner.constants, **known})

    _steps: Sequence[tuple[frozenset[str], Callable[..., Any]]] = (
        (IDENTITIES, _same),
        (CASTS, _cast),
        (MOVES, _moved),
        (frozenset({"pad", "constant_pad_nd"}), _padded),
        (PARTS, _parts),
        (frozenset({"getitem"}), _item),
        (frozenset({"cat", "stack"}), _joined),
        (AVERAGES, _averaged),
        (frozenset({"add", "sub", "rsub"}), _added),
        (frozenset({"mul", "div", "neg"}), _times),
        (frozenset({"maximum"}), _larger),
        (frozenset({"max_pool1d", "max_pool2d"}), _max_pooled),
    )


def _source(node: fx.Node, values: Values) -> Pair:
    source = node.args[0]
    if source not in values:
        raise _none(node, "it reads several tensors, or none")
    return values[source]  # type: ignore[index]


def _pair(values: Sequence[int], one_row: bool, fill: int) -> tuple[int, int]:
    """(rows, columns); a sequence has one row, in which `fill` is neutral."""
    return (fill, int(values[0])) if one_row else (int(values[0]), int(values[-1]))


def _none(node: fx.Node, why: str = "it is not known") -> NoTransformer:
    return NoTransformer(
        f"there is no sound transformer for {schema_name(node)} (node {node.name!r}): {why}. "
        "Nothing can be claimed of an output that depends on it."
    )
