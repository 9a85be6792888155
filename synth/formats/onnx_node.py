"""A node of an ONNX graph, and the values that its inputs can have."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synth.formats.steps import Unsupported

Value = Tensor | np.ndarray
"""A tensor, or *sizes*: an array of Python's own numbers, or of the free batch size."""


@dataclass(frozen=True)
class Call:
    """A function and what it is given: names of values, and tensors made for it beforehand."""

    function: Callable[..., Any]
    inputs: Sequence[str | Tensor | None]


@dataclass(frozen=True)
class Node:
    """One node; `constants` are those of its inputs that are known, by name.

    An input that is left out is "". `batch` is the batch size that the file fixes, or 0.
    """

    operation: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 0
    constants: Mapping[str, Value] = field(default_factory=dict)
    batch: int = 0

    def has(self, position: int) -> bool:
        """Whether the input at `position` is given."""
        return position < len(self.inputs) and bool(self.inputs[position])

    def constant(self, position: int) -> Value | None:
        """The known value of an input, None if it is left out or computed."""
        return self.constants.get(self.inputs[position]) if self.has(position) else None

    def setting(self, name: str, position: int, default: Any = None) -> Any:
        """What is an attribute in some opsets and an input in others, as numbers of Python.

        Unsupported if it is computed from the network's input.
        """
        if name in self.attributes:
            return self.attributes[name]
        if not self.has(position):
            return default
        value = self.constant(position)
        if value is None:
            raise Unsupported(f"its {name} are computed from the network's input, not constant")
        return value.tolist()

    def expect(self, name: str, *accepted: Any) -> Any:
        """An attribute that must have one of these values, the first by default."""
        value = self.attributes.get(name, accepted[0])
        if value not in accepted:
            wanted = " or ".join(map(repr, accepted))
            raise Unsupported(f"its {name} is {value!r}, and only {wanted} is read")
        return value

    def only_output(self) -> None:
        """Unsupported if somebody may read more than the first output."""
        if any(self.outputs[1:]):
            raise Unsupported(f"its output '{next(filter(None, self.outputs[1:]))}' is not read")


def sizes(values: Any) -> np.ndarray:
    """Numbers of Python as sizes of any shape."""
    return np.asarray(values, dtype=object)


def shape_of(value: Value) -> np.ndarray:
    result = np.empty(value.ndim, dtype=object)
    result[:] = list(value.shape)
    return result


def tensor(value: Value) -> Tensor:
    """A tensor as it is, sizes as a tensor of their numbers; Unsupported for a free size."""
    if isinstance(value, Tensor):
        return value
    if not all(isinstance(v, bool | int | float) for v in value.flat):
        raise Unsupported("the batch size is used as a number")
    return torch.tensor(value.tolist())


def whole(value: Value, what: str) -> list[Any]:
    """Sizes as a list; Unsupported for what is known only when the network runs."""
    if isinstance(value, Tensor):
        raise Unsupported(f"its {what} is computed from the values of the network's input")
    return value.flatten().tolist()
