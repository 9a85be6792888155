"""What exporters wrote as several nodes, as the one that it was."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from synth.formats.onnx_node import Node, Value


def rewritten(
    nodes: Sequence[Node], constants: dict[str, Value], kept: frozenset[str]
) -> list[Node]:
    """`nodes` in order, with biases inside their layers and x·gate(x) as one activation.

    Values named in `kept` are read from outside. Reshaped biases are added to `constants`.
    """
    nodes = _with_biases(nodes, constants, kept)
    return _with_gates(nodes, kept)


def _readers(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return readers


# a layer, and a bias added behind it


def _with_biases(
    nodes: Sequence[Node], constants: dict[str, Value], kept: frozenset[str]
) -> list[Node]:
    readers, gone, result = _readers(nodes), set(), []
    for node in nodes:
        after = readers.get(node.outputs[0], [])
        if len(after) == 1 and after[0].operation == "Add" and node.outputs[0] not in kept:
            bias = _bias(node, after[0], constants)
            if bias is not None:
                name = f"{node.outputs[0]}:bias"
                constants[name] = bias
                gone.add(after[0].outputs[0])
                data = (*node.inputs[:2], name)
                node = replace(node, inputs=data, outputs=after[0].outputs)
        result.append(node)
    # The layer now makes what the addition made.
    return [n for n in result if n.operation != "Add" or n.outputs[0] not in gone]


def _bias(layer: Node, addition: Node, constants: Mapping[str, Value]) -> Tensor | None:
    """The constant that `addition` gives to each unit of `layer`, which has none of its own."""
    weight = constants.get(layer.inputs[1]) if len(layer.inputs) > 1 else None
    others = [name for name in addition.inputs if name != layer.outputs[0]]
    bias = constants.get(others[0]) if len(others) == 1 else None
    if layer.has(2) or not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        return None
    units = _units(layer, weight)
    space = (1,) * (weight.ndim - 2)
    shapes = {(units, *space), (1, units, *space)}
    return bias.flatten() if tuple(bias.shape) in shapes else None


def _units(layer: Node, weight: Tensor) -> int:
    """How many units a layer has; 0 for what is no layer."""
    if layer.operation == "Conv":
        return len(weight)
    if layer.operation not in ("Gemm", "MatMul") or weight.ndim != 2:
        return 0
    if layer.attributes.get("beta", 1.0) != 1:
        return 0  # it would scale a bias
    return weight.shape[0 if layer.attributes.get("transB") else 1]


# an input times a gate of the same input


def _with_gates(nodes: Sequence[Node], kept: frozenset[str]) -> list[Node]:
    readers, makers = _readers(nodes), {node.outputs[0]: node for node in nodes}
    gates: dict[str, Node] = {}
    for node in nodes:
        if node.operation != "Mul":
            continue
        for gate, x in (node.inputs, node.inputs[::-1]):
            maker = makers.get(gate)
            alone = gate not in kept and len(readers[gate]) == 1
            if maker and alone and maker.inputs == (x,) and (name := _activation(maker)):
                gates[node.outputs[0]] = replace(node, operation=name, inputs=(x,), attributes={})
                gates[gate] = maker
                break
    return [gates.get(n.outputs[0], n) for n in nodes if gates.get(n.outputs[0]) is not n]


def _activation(gate: Node) -> str:
    """The activation x·gate(x); "" if it has no name."""
    if gate.operation == "Sigmoid":
        return "Swish"
    alpha, beta = gate.attributes.get("alpha", 0.2), gate.attributes.get("beta", 0.5)
    usual = math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5
    return "HardSwish" if gate.operation == "HardSigmoid" and usual else ""
