"""What a reference of the configuration gives: arrays from files, or from the user's own Python.

A function gives everything at once or batch by batch:

    def all_at_once():               def in_batches():
        return x, y                      for x, y in my_files():
                                             yield x, y

Each may be an array (n, ...), a pair (inputs, labels) whose labels may be None, or a dict
{"inputs": ..., "labels": ...}, labels optional. Inputs are one array, or for a network of several
inputs a tuple of them in the order of `forward`: `return (left, right), y`.
"""

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from synth.errors import InputError, listing, nearest
from synth.files import missing_file
from synth.references import Reference, call_object, load_object, parse_reference
from synth.spool import Columns, spool, unpacked

MAGIC = b"\x93NUMPY"  # begins every .npy file
_UNREADABLE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Arrays:
    """An array for each input, and labels where a function gave them; any may be mapped."""

    inputs: tuple[np.ndarray, ...]
    labels: np.ndarray | None = None


def load_arrays(reference: str, folder: Path) -> Arrays:
    """Maps `file.npy` or `data.npz:key`, or calls `FILE.py:FUNCTION` without arguments.

    Batches of a function are written to temporary files as they come. Raises InputError; no array
    is unpickled.
    """
    found = parse_reference(reference, folder)
    if found.path.suffix == ".py":
        return _from_function(found)
    if problem := missing_file(found.path):
        raise InputError(problem)
    return Arrays((_from_file(found),))


def _from_file(reference: Reference) -> np.ndarray:
    try:
        with open(reference.path, "rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                return np.load(reference.path, mmap_mode="r", allow_pickle=False)
            if not zipfile.is_zipfile(file):
                kinds = "it is neither an .npy nor an .npz file"
                raise InputError(f"{reference} cannot be read as an array: {kinds}.")
        with zipfile.ZipFile(reference.path) as archive:
            names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
            if reference.key in names:
                return unpacked(archive, reference.key)
    except _UNREADABLE as error:
        raise InputError(f"{reference} cannot be read as an array: {error}") from error
    hint = nearest(reference.key, names)
    raise InputError(f"{reference.path} has no array '{reference.key}'.{hint}")


def _from_function(reference: Reference) -> Arrays:
    target, place = load_object(reference), str(reference)

    def gathered() -> Arrays:  # batches are made while they are read, so inside `call_object`
        return arrays_of(target() if callable(target) else target, place)

    found = call_object(reference, gathered)
    assert isinstance(found, Arrays)
    return found


def arrays_of(value: object, place: str) -> Arrays:
    """The arrays of what a function may return; `place` is what messages call it.

    Batches are written to temporary files as they come. Raises InputError: no numbers, or another
    form.
    """
    return _from_batches(value, place) if _is_stream(value) else _parsed(value, place)


def _is_stream(value: object) -> TypeGuard[Iterable[object]]:
    """Whether a value is to be read batch by batch: iterable, and nothing that holds an array."""
    whole = isinstance(value, list | tuple | Mapping | str | bytes) or hasattr(value, "__array__")
    return isinstance(value, Iterable) and not whole


def _from_batches(batches: Iterable[object], place: str) -> Arrays:
    columns = spool((_columns(_as_tuples(b), place) for b in batches), place)
    labels = columns.pop("labels", None)
    return Arrays(tuple(columns.values()), labels)


def _columns(batch: object, place: str) -> Columns:
    found = _parsed(batch, place)
    one = len(found.inputs) == 1
    inputs = {"inputs" if one else f"inputs[{i}]": a for i, a in enumerate(found.inputs)}
    return inputs if found.labels is None else inputs | {"labels": found.labels}


def _as_tuples(value: object) -> object:
    """Lists of arrays as tuples: a torch DataLoader makes lists of what a dataset gives."""
    if isinstance(value, Mapping):
        return {key: _as_tuples(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_as_tuples, value))
    if isinstance(value, list) and any(isinstance(v, np.ndarray | Tensor) for v in value):
        return tuple(map(_as_tuples, value))
    return value


def _parsed(value: object, place: str) -> Arrays:
    if isinstance(value, Mapping):
        inputs, labels = _from_dict(value, place)
    elif isinstance(value, tuple):
        inputs, labels = _from_pair(value, place)
    else:
        inputs, labels = value, None
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    if not parts:
        raise InputError(f"{place} gave an empty tuple for its inputs.")
    arrays = tuple(_as_array(part, place) for part in parts)
    return Arrays(arrays, None if labels is None else _as_array(labels, f"labels of {place}"))


def _from_dict(value: Mapping[object, object], place: str) -> tuple[object, object]:
    if "inputs" not in value or value.keys() - {"inputs", "labels"}:
        keys = listing(map(repr, value))
        raise InputError(f"{place} gave a dict of {keys}, expected 'inputs' and maybe 'labels'.")
    return value["inputs"], value.get("labels")


def _from_pair(value: tuple[object, ...], place: str) -> tuple[object, object]:
    if len(value) != 2:
        expected = "expected inputs or (inputs, labels); several inputs are ((a, b), labels)"
        raise InputError(f"{place} gave a tuple of {len(value)}, {expected}.")
    return value[0], value[1]


def _as_array(value: object, place: str) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        return value if isinstance(value, np.memmap) else np.asarray(value)
    except ValueError as error:
        raise InputError(f"{place} cannot be read as an array: {error}") from error
