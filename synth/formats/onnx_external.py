"""Weights that an ONNX model keeps in files beside it, and nowhere else."""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from onnx.helper import tensor_dtype_to_np_dtype

from synth.errors import InputError, Problems


def load_external(model: onnx.ModelProto, path: Path) -> None:
    """Read the external tensors of a model into it.

    Raises InputError with each that lies outside the model's folder (by an absolute path, `..` or
    a symbolic link), that is missing, or that is shorter than its shape.
    """
    with Problems() as problems:
        for tensor in _tensors(model):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                problems.attempt(_load, tensor, path)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for node in (*model.graph.node, *(n for f in model.functions for n in f.node)):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _load(tensor: onnx.TensorProto, path: Path) -> None:
    place = f"{path}: the weights '{tensor.name}'"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = _inside(path.parent, entries.get("location", ""), place)
    try:
        offset = int(entries.get("offset", 0))
        size = math.prod(tensor.dims) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        length = int(entries.get("length", size))
    except (ValueError, KeyError) as error:
        raise InputError(f"{place}: their place in {file.name} is not readable: {error}") from error
    held = file.stat().st_size
    if min(tensor.dims, default=0) < 0 or length != size or not 0 <= offset <= held - size:
        shape = f"shape {tuple(tensor.dims)} needs {size} bytes"
        raise InputError(
            f"{place}: {shape}, but {file.name} has {held} and they start at {offset}."
        )
    with open(file, "rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(size)
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _inside(folder: Path, location: str, place: str) -> Path:
    """The file at a location relative to `folder`, with no way out of it."""
    parts = PurePosixPath(location)
    folder = folder.resolve()
    file = folder / parts
    odd = "\\" in location or ":" in location or "\0" in location
    if not location or parts.is_absolute() or ".." in parts.parts or odd or file.resolve() != file:
        raise InputError(
            f"{place} are said to be in '{location}': refused, expected a file in the model's own "
            "folder, without '..' and symbolic links."
        )
    if not file.is_file():
        raise InputError(f"{place} are said to be in {file}, which does not exist.")
    return file
