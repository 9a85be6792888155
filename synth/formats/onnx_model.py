"""ONNX files: parsed as data, checked, and run once on their own input shapes."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
import torch
from google.protobuf.message import DecodeError
from onnx.helper import get_attribute_value
from onnx.numpy_helper import to_array
from torch import Tensor, nn

from synth.errors import InputError, Problems, listing
from synth.formats.onnx_external import load_external
from synth.formats.onnx_graph import Graph, build
from synth.formats.onnx_node import Node, Value, sizes
from synth.formats.onnx_operators import OPERATORS

OLDEST = 7  # since then operators broadcast as numpy does
OWN = ("", "ai.onnx")
LARGEST = 2**28  # numbers of an input that is only tried
_KINDS = ("float32", "float64", "int64", "int32", "int8", "uint8", "bool")


def read_onnx(path: Path) -> nn.Module:
    """The network of an ONNX file: our own torch function for each operator, weights by name.

    Operator sets 7 to the installed onnx's. Raises one InputError with everything that is not
    read: operators, attributes, types, graphs inside nodes, weights outside the model's folder.
    """
    model = _parsed(path)
    opset = _opset(model, path)
    _check_nodes(model, path)
    load_external(model, path)
    try:
        onnx.checker.check_model(model)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # the checker and protobuf have types of their own
        raise InputError(f"{path} is no valid ONNX model: {_first_line(error)}") from error
    _check_nodes(model, path)
    network = build(_graph(model.graph, opset, path)).eval()
    _try(network, model.graph, path)
    return network


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        return onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise InputError(f"{path} is no ONNX file, or not the whole of it: {error}") from error


def _opset(model: onnx.ModelProto, path: Path) -> int:
    imports = (entry for part in (model, *model.functions) for entry in part.opset_import)
    versions = sorted({entry.version for entry in imports if entry.domain in OWN})
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        named = " and ".join(map(str, versions))
        found = f"is written in operator set {named}" if versions else "names no operator set"
        wanted = f"expected one from {OLDEST} to {newest}: export it again, or convert it by"
        raise InputError(f"{path} {found}, {wanted} onnx.version_converter.")
    return versions[0]


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


# what is in it


def _check_nodes(model: onnx.ModelProto, path: Path) -> None:
    """InputError with every operator that is not read, and every node with a graph inside."""
    functions = {(function.domain, function.name) for function in model.functions}
    with Problems() as problems:
        for node in (*model.graph.node, *(n for f in model.functions for n in f.node)):
            if (node.domain, node.op_type) not in functions:
                problems.add(*(f"{_called(node, path)}: {odd}." for odd in _odd(node)))
        if model.graph.sparse_initializer:
            problems.add(f"{path}: it has sparse weights: store them as plain tensors.")


def _odd(node: onnx.NodeProto) -> Iterator[str]:
    if node.domain not in OWN:
        advice = "export the network without custom operators, or name it by a factory"
        yield f"{node.op_type} is a custom operator of '{node.domain}': {advice}"
    elif node.op_type not in OPERATORS:
        yield f"unknown operator; read are {listing(sorted(OPERATORS), limit=len(OPERATORS))}"
    types = onnx.AttributeProto
    refused = {
        types.GRAPH: "a graph",
        types.GRAPHS: "graphs",
        types.SPARSE_TENSOR: "sparse numbers",
    }
    for attribute in node.attribute:
        if attribute.type in refused:
            yield f"its attribute '{attribute.name}' holds {refused[attribute.type]}, not read"


def _called(node: onnx.NodeProto, path: Path) -> str:
    name = node.name or f"that makes '{next(iter(node.output), '')}'"
    return f"{path}: node {name} ({node.op_type})"


# from protobuf to a graph


def _graph(graph: onnx.GraphProto, opset: int, path: Path) -> Graph:
    with Problems() as problems:
        constants = {
            tensor.name: problems.attempt(_value, tensor, f"{path}: '{tensor.name}'")
            for tensor in graph.initializer
        }
        inputs = [entry for entry in graph.input if entry.name not in constants]
        problems.add(*(p for entry in inputs for p in _input_problems(entry, path)))
        if not inputs or not graph.output:
            problems.add(f"{path}: it has {len(inputs)} inputs and {len(graph.output)} outputs.")
        fixed = {_sizes_of(entry)[:1] for entry in inputs}
        batch = next(iter(fixed))[0] if len(fixed) == 1 else None
        nodes = [problems.attempt(_node, node, opset, batch or 0, path) for node in graph.node]
    return Graph(
        nodes=[node for node in nodes if node is not None],
        constants={name: value for name, value in constants.items() if value is not None},
        inputs=[entry.name for entry in inputs],
        outputs=[entry.name for entry in graph.output],
        place=str(path),
    )


def _input_problems(entry: onnx.ValueInfoProto, path: Path) -> Iterator[str]:
    kind = entry.type.tensor_type.elem_type
    if kind != onnx.TensorProto.FLOAT:
        known = onnx.TensorProto.DataType.Name(kind) if entry.type.HasField("tensor_type") else "?"
        yield f"{path}: its input '{entry.name}' is of type {known}, expected float32 tensors."
    elif not _sizes_of(entry):
        yield f"{path}: its input '{entry.name}' has no batch dimension, expected (N, ...)."


def _sizes_of(entry: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """The shape that the file declares, None for a free size."""
    return tuple(size.dim_value or None for size in entry.type.tensor_type.shape.dim)


def _node(node: onnx.NodeProto, opset: int, batch: int, path: Path) -> Node:
    place = _called(node, path)
    with Problems() as problems:
        found = {a.name: problems.attempt(_attribute, a, place) for a in node.attribute}
    inputs, outputs = tuple(node.input), tuple(node.output)
    return Node(node.op_type, node.name, inputs, outputs, found, opset, {}, batch)


def _attribute(attribute: onnx.AttributeProto, place: str) -> Any:
    value = get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _value(value, f"{place}: '{attribute.name}'")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if attribute.type not in _SINGLE else value


_SINGLE = (onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT)


def _value(tensor: onnx.TensorProto, place: str) -> Value:
    """Whole numbers in a row as sizes, everything else as a tensor."""
    try:
        array = to_array(tensor)
    except Exception as error:  # numpy's and protobuf's own types
        raise InputError(f"{place} is damaged: {_first_line(error)}") from error
    if array.dtype.name not in _KINDS:
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        raise InputError(f"{place} is of type {kind}: convert the model to float32.")
    if array.ndim <= 1 and array.dtype.kind in "iub":
        return sizes(array.tolist())
    return torch.from_numpy(array.copy())


# does it run


def _try(network: nn.Module, graph: onnx.GraphProto, path: Path) -> None:
    """Run it on samples of the declared shapes: alone and together they must give the same.

    Nothing is done if a shape is open or too large to try.
    """
    known = {tensor.name for tensor in graph.initializer}
    shapes = [_sizes_of(entry) for entry in graph.input if entry.name not in known]
    if any(None in shape[1:] or math.prod(n or 1 for n in shape) > LARGEST for shape in shapes):
        return
    batch = shapes[0][0] or 1
    drawn = torch.Generator().manual_seed(0)
    sample = [torch.rand(2 * batch, *(n or 1 for n in s[1:]), generator=drawn) for s in shapes]
    try:
        with torch.no_grad():
            whole = _several(network(*sample))
            halves = [_several(network(*(x[i : i + batch] for x in sample))) for i in (0, batch)]
    except InputError:
        raise
    except Exception as error:  # torch raises many types on shapes that do not fit
        where = "; ".join(getattr(error, "__notes__", ())) or str(path)
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise InputError(
            f"{where}: on the model's own input shapes torch raised {reason}"
        ) from error
    with Problems() as problems:
        for entry, together, *alone in zip(graph.output, whole, *halves, strict=True):
            problems.add(*_output_problems(f"{path}: its output '{entry.name}'", together, alone))


def _several(outputs: Any) -> list[Any]:
    return list(outputs.values()) if isinstance(outputs, dict) else [outputs]


def _output_problems(place: str, together: Any, alone: list[Any]) -> Iterator[str]:
    if not isinstance(together, Tensor) or together.dtype != torch.float32:
        kind = together.dtype if isinstance(together, Tensor) else "sizes"
        yield f"{place} is of type {kind}, expected float32 tensors."
        return
    apart = torch.cat(alone) if alone[0].ndim else together + math.nan
    if together.shape != apart.shape or not torch.allclose(together, apart, 1e-3, 1e-3, True):
        advice = "Export the model with a free first dimension of every input (dynamic_axes)"
        yield f"{place} depends on the batch that a sample is in. {advice}."
