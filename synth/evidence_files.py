"""A layer's evidence as files: arrays that workers map instead of receiving, and one JSON.

`arrays.json` says what `read` puts together again: numbers and texts as they are, each array by the
name of its .npy file. The fields of the dataclasses decide; nothing is pickled.
"""

import json
import math
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from numpy.lib import format as npy

from synth.disk import telling_full
from synth.evidence import LayerEvidence
from synth.files import write_atomic
from synth.layers import Layer
from synth.leftovers import ARRAYS, INDEX


def write(evidence: LayerEvidence, folder: Path) -> Path:
    """Write evidence into `folder`, made if need be, and return it.

    Raises `Stopped` on a full disk and TypeError for a field that is no array, number, text, tuple
    or dataclass of such.
    """
    with telling_full(folder):
        folder.mkdir(parents=True, exist_ok=True)
        record = _record(evidence, ARRAYS.partition(".")[0], folder)
        write_atomic(folder / INDEX, json.dumps(record))  # last: a folder with it is whole
    return folder


def read(folder: Path, layer: Layer | None = None) -> LayerEvidence:
    """What `write` wrote there; its arrays are mapped, read-only, and equal to the bit.

    `layer` stands in the place of the layer that was written: layers compare by identity. Raises
    OSError or ValueError where the files are missing or damaged.
    """
    record = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return _value(LayerEvidence, record, folder, layer)


def remove(folder: Path) -> None:
    """Remove what `write` wrote; nothing else, so the folder stays if it holds anything more."""
    for path in (*folder.glob(ARRAYS), folder / INDEX):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _record(value: Any, name: str, folder: Path) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"{name} holds objects, which no file of evidence does")
        _save(value, folder / f"{name}.npy")
        return f"{name}.npy"
    if is_dataclass(value):
        return {
            f.name: _record(getattr(value, f.name), f"{name}.{f.name}", folder)
            for f in fields(value)
        }
    if isinstance(value, tuple):
        return [_record(inner, f"{name}.{i}", folder) for i, inner in enumerate(value)]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{name} is of type {type(value).__name__}, which no file of evidence holds")


def _save(array: np.ndarray, path: Path) -> None:
    """`np.save`, but that a full disk is told by its number."""
    whole = np.ascontiguousarray(array)
    with open(path, "wb") as file:
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(whole))
        file.write(whole.reshape(-1).view(np.uint8).data)


def _value(kind: Any, record: Any, folder: Path, layer: Layer | None) -> Any:
    """The value of a type, which a field declares, from its record."""
    if record is None:
        return None
    if kind is Layer and layer is not None:
        return layer
    if isinstance(kind, types.UnionType):
        kind = next(k for k in get_args(kind) if k is not type(None))
    if kind is np.ndarray:
        return _mapped(folder / record)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        names = (f.name for f in fields(kind))
        return kind(**{name: _value(hints[name], record[name], folder, layer) for name in names})
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        kinds = kinds[:1] * len(record) if kinds[-1] is Ellipsis else kinds
        pairs = zip(kinds, record, strict=True)
        return tuple(_value(inner, one, folder, layer) for inner, one in pairs)
    return kind(record)


def _mapped(path: Path) -> np.ndarray:
    with open(path, "rb") as file:
        version = npy.read_magic(file)
        shape = npy.read_array_header_1_0(file)[0] if version == (1, 0) else ()
    if math.prod(shape) == 0:  # no file of no bytes can be mapped
        return np.load(path, allow_pickle=False)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
