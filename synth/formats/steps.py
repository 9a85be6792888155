"""A network that runs a list of operations read from a file, with weights at readable paths."""

import inspect
import keyword
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

from torch import Tensor, nn

from synth.errors import InputError

Outputs = str | None | Sequence["Outputs"]
"""The name of a value, None for one that nobody reads, or those of a tuple's elements."""


class Unsupported(Exception):
    """Why an operation of a file cannot be read; told with the name of its node."""


@dataclass(frozen=True)
class Ref:
    """The value `name`, in the arguments of a step."""

    name: str


@dataclass(frozen=True)
class Step:
    """One operation: `function(*args, **kwargs)` makes the values that `outputs` names.

    `args` and `kwargs` hold `Ref`s at any depth of lists. `path` is the module that the operation
    belongs to, "" for the network itself; `place` is what errors call it.
    """

    function: Callable[..., Any]
    args: Sequence[Any]
    outputs: Outputs
    place: str
    path: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Weight:
    """A tensor of the file, the path that it should have, and whether it is a parameter."""

    path: str
    tensor: Tensor
    is_parameter: bool = True


class Part(nn.Module):
    """A place in the hierarchy: it holds weights, and runs the operations that belong to it."""

    def forward(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


class StepNetwork(nn.Module):
    """Runs `steps` in order, as Python: no source is generated, so no name can smuggle code in.

    `weights` are by the name that steps know them by. `forward` takes a tensor for each name of
    `inputs`, under names that Python allows; it returns one tensor if `outputs` is a name, else
    a tuple of those in a sequence, or a dict of those in a mapping from keys.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        weights: Mapping[str, Weight],
        inputs: Sequence[str],
        outputs: str | Sequence[str] | Mapping[str, str],
    ) -> None:
        super().__init__()
        steps = list(steps)
        _check_order(steps, (*weights, *inputs), _refs(outputs))
        self._inputs, self._outputs = tuple(inputs), outputs
        self._held = {name: _place(self, weight) for name, weight in weights.items()}
        self._steps = [(step, _part(self, step.path)) for step in steps]
        # A bound method, so that a deep copy runs its own weights.
        self.forward = MethodType(_forward(self._inputs), self)

    def run(self, inputs: Sequence[Tensor]) -> Any:
        """The outputs; InputError names the operation that cannot be done on these inputs."""
        values: dict[str, Any] = {n: getattr(part, leaf) for n, (part, leaf) in self._held.items()}
        values.update(zip(self._inputs, inputs, strict=True))
        for step, part in self._steps:
            args, kwargs = _resolved(step.args, values), _resolved(step.kwargs, values)
            try:
                result = (_call if part is self else part)(step.function, *args, **kwargs)
            except Unsupported as reason:
                raise InputError(f"{step.place}: {reason}.") from reason
            except Exception as error:
                error.add_note(step.place)
                raise
            _bind(step.outputs, result, values)
        return _resolved(_refs(self._outputs), values)


def _forward(inputs: Sequence[str]) -> Callable[..., Any]:
    """A `forward` with a parameter for each input: torch.export names inputs by its signature."""

    def forward(self: StepNetwork, *tensors: Tensor) -> Any:
        return self.run(tensors)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = distinct(["self", *map(safe_name, inputs)])
    parameters = [inspect.Parameter(name, kind) for name in names]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return forward


def _check_order(steps: Iterable[Step], known: Iterable[str], outputs: Any) -> None:
    """ValueError if something is read before it is made."""
    made = set(known)
    for step in steps:
        unknown = _read(step.args) | _read(step.kwargs)
        if unknown - made:
            raise ValueError(f"{step.place} reads {sorted(unknown - made)}, which nothing made")
        made |= set(_flat(step.outputs))
    if _read(outputs) - made:
        raise ValueError(f"the outputs {sorted(_read(outputs) - made)} are made by nothing")


def _read(value: Any) -> set[str]:
    """The names in arguments."""
    if isinstance(value, Ref):
        return {value.name}
    inside = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, list | tuple | Mapping):
        return set()
    return set().union(*map(_read, inside))


def _flat(outputs: Outputs) -> list[str]:
    if outputs is None or isinstance(outputs, str):
        return [outputs] if outputs else []
    return [name for entry in outputs for name in _flat(entry)]


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _refs(outputs: str | Sequence[str] | Mapping[str, str]) -> Any:
    if isinstance(outputs, str):
        return Ref(outputs)
    if isinstance(outputs, Mapping):
        return {key: Ref(name) for key, name in outputs.items()}
    return tuple(map(Ref, outputs))


def _resolved(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Ref):
        return values[value.name]
    if isinstance(value, list | tuple):
        return type(value)(_resolved(v, values) for v in value)
    if isinstance(value, Mapping):
        return {key: _resolved(v, values) for key, v in value.items()}
    return value


def _bind(outputs: Outputs, result: Any, values: dict[str, Any]) -> None:
    if isinstance(outputs, str):
        values[outputs] = result
    elif outputs is not None:
        for name, value in zip(outputs, result, strict=False):  # trailing outputs may be left out
            _bind(name, value, values)


# paths and names


def safe_name(text: str) -> str:
    """`text` as a Python identifier."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"_{name}"


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with _2, _3 … behind those that were there before."""
    taken: dict[str, None] = {}
    for name in names:
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken[unique] = None
    return list(taken)


def _atoms(path: str) -> list[str]:
    return [re.sub(r"\W", "_", atom, flags=re.ASCII) or "_" for atom in path.split(".") if path]


def _part(root: nn.Module, path: str) -> nn.Module:
    """The module at `path`, made where it is missing; what is no module there is stepped around."""
    for atom in _atoms(path):
        while hasattr(root, atom) and not isinstance(getattr(root, atom), Part):
            atom += "_"
        if not hasattr(root, atom):
            root.add_module(atom, Part())
        root = getattr(root, atom)
    return root


def _place(root: nn.Module, weight: Weight) -> tuple[nn.Module, str]:
    """Register a weight at its path; the module that holds it, and its name there."""
    path, _, leaf = weight.path.rpartition(".")
    part, leaf = _part(root, path), _atoms(leaf or "_")[0]
    while hasattr(part, leaf):
        leaf += "_"
    if weight.is_parameter and weight.tensor.is_floating_point():
        part.register_parameter(leaf, nn.Parameter(weight.tensor))
    else:
        part.register_buffer(leaf, weight.tensor)
    return part, leaf
