"""Programs over tensors, with autograd and on any device."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch

from grammars.evaluation import Algebra
from grammars.primitive import Transcendental


class TorchAlgebra(Algebra):
    """Values are tensors that broadcast, or floats; the reader decides dtype, device and shape.

    What is no number is taken for a tensor: nodes of a graph that is being written are as well.
    """

    name = "torch"

    def const(self, value: float) -> Any:
        return value

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def mul(self, a: Any, b: Any) -> Any:
        return a * b

    def max(self, a: Any, b: Any) -> Any:
        if _is_number(a):
            return max(a, b) if _is_number(b) else self.max(b, a)
        if not _is_number(b):
            return torch.maximum(a, b)
        return a.clamp(min=b) if b else torch.relu(a)

    def min(self, a: Any, b: Any) -> Any:
        if _is_number(a):
            return min(a, b) if _is_number(b) else b.clamp(max=a)
        return a.clamp(max=b) if _is_number(b) else torch.minimum(a, b)

    def select(self, condition: Any, positive: Any, otherwise: Any) -> Any:
        if _is_number(condition):
            return positive if condition > 0 else otherwise
        positive, otherwise = (_like(v, condition) for v in (positive, otherwise))
        return torch.where(condition > 0, positive, otherwise)

    def linear(self, weights: Sequence[float], values: Sequence[Any], bias: float) -> Any:
        total: Any = bias
        for weight, value in zip(weights, values, strict=True):
            total = total + weight * value
        return total

    def call(self, function: Transcendental, x: Any) -> Any:
        return function.function(x) if _is_number(x) else attrgetter(function.torch)(torch)(x)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _like(value: Any, other: Any) -> Any:
    return other.new_full((), value) if _is_number(value) else value
