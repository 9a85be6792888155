"""An ONNX graph as steps: constants folded, weights at readable paths, everything odd listed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synth.errors import InputError, Problems
from synth.formats.onnx_node import Call, Node, Value
from synth.formats.onnx_operators import OPERATORS, ROLES
from synth.formats.onnx_rewrites import rewritten
from synth.formats.steps import Ref, Step, StepNetwork, Unsupported, Weight


@dataclass(frozen=True)
class Graph:
    """Nodes in order, known values by name, and the names of what goes in and comes out."""

    nodes: Sequence[Node]
    constants: Mapping[str, Value]
    inputs: Sequence[str]
    outputs: Sequence[str]
    place: str


def build(graph: Graph) -> StepNetwork:
    """The network of a graph; InputError with every node that is not read, and why."""
    constants = dict(graph.constants)
    with Problems() as problems:
        open_nodes = list(_folded(graph, constants, problems))
    with Problems() as problems:
        for name in constants.keys() & set(graph.outputs):
            problems.add(f"{graph.place}: its output '{name}' does not depend on any input.")
    nodes = rewritten(open_nodes, constants, frozenset(graph.outputs))
    builder = _Builder(constants, graph.place)
    with Problems() as problems:
        steps = [problems.attempt(builder.step, node) for node in nodes]
    outputs = graph.outputs[0] if len(graph.outputs) == 1 else {n: n for n in graph.outputs}
    done = [step for step in steps if step is not None]
    return StepNetwork(done, builder.weights, graph.inputs, outputs)


def called(node: Node, place: str) -> str:
    """What errors call a node."""
    name = node.name or f"that makes '{node.outputs[0]}'"
    return f"{place}: node {name} ({node.operation})"


def _made(node: Node) -> Call:
    made = OPERATORS[node.operation](node)
    return made if isinstance(made, Call) else Call(made, [name or None for name in node.inputs])


def _folded(graph: Graph, constants: dict[str, Value], problems: Problems) -> Iterator[Node]:
    """The nodes that depend on an input; what the others make is added to `constants`."""
    for node in graph.nodes:
        given = {name: constants[name] for name in node.inputs if name in constants}
        node = replace(node, constants=given)
        if any(name and name not in given for name in node.inputs):
            yield node
            continue
        try:
            call = _made(node)
            values = [given[v] if isinstance(v, str) else v for v in call.inputs]
            with torch.no_grad():
                result = call.function(*values)
        except Exception as reason:  # torch raises many types on arguments that do not fit
            problems.add(f"{called(node, graph.place)}: {_plain(reason)}.")
            continue
        several = result if isinstance(result, tuple) else (result,)
        constants.update(zip(node.outputs, several, strict=False))


def _plain(reason: Exception) -> str:
    kind = "" if isinstance(reason, Unsupported) else f"{type(reason).__name__}: "
    return f"{kind}{reason}".rstrip(".")


@dataclass
class _Builder:
    """Makes steps, and gathers the weights that they read."""

    constants: dict[str, Value]
    place: str
    weights: dict[str, Weight] = field(default_factory=dict)

    def step(self, node: Node) -> Step:
        """The step of a node; InputError if something about it is not read."""
        known = {name: self.constants[name] for name in node.inputs if name in self.constants}
        node = replace(node, constants=known)
        try:
            call = _made(node)
        except Exception as reason:
            raise InputError(f"{called(node, self.place)}: {_plain(reason)}.") from reason
        roles = ROLES.get(node.operation, ())
        path = _path(node, roles)
        roles += ("",) * (len(call.inputs) - len(roles))
        args = [
            self._argument(value, path, role, f"{node.outputs[0]}:{role or i}")
            for i, (value, role) in enumerate(zip(call.inputs, roles, strict=False))
        ]
        outputs = [name or None for name in node.outputs]
        made = outputs[0] if len(outputs) == 1 else outputs
        return Step(call.function, args, made, called(node, self.place), path)

    def _argument(self, given: str | Tensor | None, path: str, role: str, name: str) -> Any:
        """A reference to a value, or known sizes themselves; a tensor becomes the weight `name`."""
        if isinstance(given, Tensor):
            self.constants[name] = given
        name = given if isinstance(given, str) else name
        value = self.constants.get(name)
        if given is None or isinstance(value, np.ndarray):
            return value
        if value is not None and name not in self.weights:
            place = f"{path}.{role}" if role else name
            self.weights[name] = Weight(place, value, is_parameter=role in ("weight", "bias"))
        return Ref(name)


def _path(node: Node, roles: Sequence[str]) -> str:
    """The path of the module that a node belongs to, from the name of its weight or its own."""
    named = [
        (name, role)
        for name, role in zip(node.inputs, roles, strict=False)
        if role and name in node.constants
    ]
    for name, role in named:
        if name.endswith(f".{role}"):
            return name.removesuffix(f".{role}")
    return _scope(node) or (named[0][0] if named else "")


def _scope(node: Node) -> str:
    """`layer1.0.conv1` of a node that torch calls `/layer1/layer1.0/conv1/Conv`."""
    atoms = [atom for atom in node.name.split("/") if atom]
    if len(atoms) > 1 and atoms[-1].startswith(node.operation):
        del atoms[-1]
    pairs = zip(atoms, [*atoms[1:], ""], strict=False)  # one pair an atom, also for none
    return ".".join(a for a, b in pairs if not b.startswith(f"{a}."))
