"""Programs over tensors, with autograd and on any device."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from grammars.evaluation import Algebra
from grammars.primitive import Transcendental


class TorchAlgebra(Algebra):
    """Values are tensors that broadcast, or floats; the reader decides dtype, device and shape."""

    name = "torch"

    def const(self, value: float) -> Any:
        return value

    def add(self, a: Any, b: Any) -> Any:
        return a + b

    def mul(self, a: Any, b: Any) -> Any:
        return a * b

    def max(self, a: Any, b: Any) -> Any:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.maximum(a, b)
        if isinstance(a, Tensor):
            return a.clamp(min=b)
        return b.clamp(min=a) if isinstance(b, Tensor) else max(a, b)

    def min(self, a: Any, b: Any) -> Any:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.minimum(a, b)
        if isinstance(a, Tensor):
            return a.clamp(max=b)
        return b.clamp(max=a) if isinstance(b, Tensor) else min(a, b)

    def select(self, condition: Any, positive: Any, otherwise: Any) -> Any:
        if isinstance(condition, Tensor):
            positive, otherwise = (_like(v, condition) for v in (positive, otherwise))
            return torch.where(condition > 0, positive, otherwise)
        return positive if condition > 0 else otherwise

    def linear(self, weights: Sequence[float], values: Sequence[Any], bias: float) -> Any:
        total: Any = bias
        for weight, value in zip(weights, values, strict=True):
            total = total + weight * value
        return total

    def call(self, function: Transcendental, x: Any) -> Any:
        return (
            attrgetter(function.torch)(torch)(x) if isinstance(x, Tensor) else function.function(x)
        )


def _like(value: Any, other: Tensor) -> Tensor:
    return (
        value
        if isinstance(value, Tensor)
        else torch.as_tensor(value, dtype=other.dtype, device=other.device)
    )
