"""Exported programs (.pt2): the archive is inspected, its program is read as data, nothing is run.

`torch.export.load` unpickles parts of the archive, evaluates the symbolic sizes in its program as
Python, and looks operations up by any dotted path under `torch`. So it is not used: the program is
JSON, which `program_graph` reads by itself, and weights are raw bytes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synth.errors import InputError, Problems
from synth.formats.archive import Archive, check_pickle, load_pickle, read_archive
from synth.formats.program_graph import build
from synth.formats.program_values import DTYPES
from synth.formats.steps import Unsupported

_DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
SCHEMA = 8  # of torch 2.6 and later; its minor versions only add

KNOWN = (
    "archive_format|archive_version|byteorder|version|[.]data/(version|serialization_id)"
    "|models/[^/]+[.]json|data/weights/(weight_[0-9]+|[^/]+_weights_config[.]json|[^/]+[.]pt)"
    "|data/constants/(tensor_[0-9]+|[^/]+_constants_config[.]json|[^/]+[.]pt)"
    "|data/sample_inputs/[^/]+[.]pt|extra(_files)?/.+"
    "|serialized_exported_program[.]json|serialized_(state_dict|constants|example_inputs)[.]pt"
)
REFUSED: Mapping[str, str] = {
    "data/aotinductor/.*|.*[.](so|dll|dylib)": "it is compiled code (AOTInductor)",
    "data/constants/custom_obj_.*": "it is a pickled script object (TorchBind)",
    "data/constants/opaque_obj_.*": "it is a pickled object",
}
SAMPLES = "(data/sample_inputs/[^/]+[.]pt|serialized_example_inputs[.]pt)"


@dataclass(frozen=True)
class Contents:
    """What an archive says: the program as JSON, its state dict and its other constants."""

    program: dict[str, Any]
    state: dict[str, Tensor]
    constants: dict[str, Tensor]


def read_program(path: Path) -> nn.Module:
    """The network of a file of torch.export.save, with the names of its modules.

    Sample inputs are looked at and never loaded. Raises one InputError: parts that are code or are
    not known, operations that are not torch's own, or a batch size that is fixed.
    """
    archive = read_archive(path)
    _check_parts(archive)
    try:
        contents = _read_contents(archive)
        _check_version(contents.program, path)
        return build(contents.program, contents.state, contents.constants, str(path))
    except Unsupported as reason:
        raise InputError(f"{path}: what goes in or comes out: {reason}.") from reason
    except _DAMAGED as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is damaged: its program cannot be read ({reason}).") from error


def _check_parts(archive: Archive) -> None:
    """InputError with every part that is code, that holds pickled code, or that is not known."""
    with Problems() as problems:
        for pattern, reason in REFUSED.items():
            for name in archive.matching(f"({pattern})"):
                problems.add(_refusal(archive, name, reason))
        strange = archive.members.keys() - archive.matching(f"({'|'.join((KNOWN, *REFUSED))})")
        for name in sorted(strange):
            problems.add(_refusal(archive, name, "it is no part of a program that torch writes"))
        for name in archive.matching(SAMPLES):
            problems.attempt(check_pickle, archive[name], f"{archive.path}: part '{name}'")


def _refusal(archive: Archive, name: str, reason: str) -> str:
    advice = "Save the network by torch.export.save, of tensors and torch's own operations alone."
    return f"{archive.path}: part '{name}' is refused: {reason}. {advice}"


def _read_contents(archive: Archive) -> Contents:
    old = "serialized_exported_program.json"
    if old in archive:  # up to torch 2.7
        state, constants = (
            _tensors(archive, f"serialized_{name}.pt") for name in ("state_dict", "constants")
        )
        return Contents(json.loads(archive[old]), state, constants)
    models = archive.matching("models/(.+)[.]json")
    if len(models) != 1:
        held = f"holds {len(models)} programs"
        raise InputError(f"{archive.path} {held}, expected one: save it by torch.export.save.")
    if archive.members.get("byteorder", b"little") != b"little":
        raise InputError(f"{archive.path}: its weights are big-endian: save it on another machine.")
    (name, model), *_ = models.items()
    state, constants = (_payload(archive, kind, model) for kind in ("weights", "constants"))
    return Contents(json.loads(archive[name]), state, constants)


def _check_version(program: Mapping[str, Any], path: Path) -> None:
    found = program["schema_version"]["major"]
    if found != SCHEMA:
        wrote = f"torch {program.get('torch_version', '<=2.4')}, whose format is version {found}"
        raise InputError(f"{path} was saved by {wrote}, expected {SCHEMA}: save it by torch ≥ 2.6.")


# weights


def _payload(archive: Archive, kind: str, model: str) -> dict[str, Tensor]:
    """Tensors by name: raw bytes with a table of their shapes, or one pickle (torch 2.8)."""
    folder = f"data/{kind}"
    if f"{folder}/{model}.pt" in archive:
        return _tensors(archive, f"{folder}/{model}.pt")
    table = json.loads(archive[f"{folder}/{model}_{kind}_config.json"])["config"]
    with Problems() as problems:
        read = {name: problems.attempt(_tensor, archive, folder, table[name]) for name in table}
    return {name: tensor for name, tensor in read.items() if tensor is not None}


def _tensor(archive: Archive, folder: str, entry: Mapping[str, Any]) -> Tensor:
    part = f"{folder}/{entry['path_name']}"
    data, place = archive[part], f"{archive.path}: part '{part}'"
    if entry["use_pickle"]:
        tensor = load_pickle(data, place)
        if not isinstance(tensor, Tensor):
            raise InputError(f"{place} holds a {type(tensor).__name__}, expected a tensor.")
        return tensor
    return _raw(data, entry["tensor_meta"], place)


def _raw(data: bytes, meta: Mapping[str, Any], place: str) -> Tensor:
    """The tensor that raw bytes and their description make; it never reads beyond the bytes."""
    sizes, strides = ([s["as_int"] for s in meta[key]] for key in ("sizes", "strides"))
    if meta["dtype"] not in DTYPES or meta["layout"] != 7:
        raise InputError(f"{place} holds numbers of an unknown kind ({meta['dtype']}): refused.")
    dtype = DTYPES[meta["dtype"]]
    flat = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.zeros(0, dtype=dtype)
    try:
        return flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone()
    except RuntimeError as error:
        claim = f"has {len(flat)} numbers, but claims the shape {tuple(sizes)}"
        raise InputError(f"{place} {claim} with strides {tuple(strides)}: refused.") from error


def _tensors(archive: Archive, name: str) -> dict[str, Tensor]:
    place = f"{archive.path}: part '{name}'"
    held = load_pickle(archive[name], place)
    if not isinstance(held, Mapping):
        raise InputError(f"{place} holds a {type(held).__name__}, expected names with tensors.")
    with Problems() as problems:
        problems.add(*_not_tensors(held, place))
    return dict(held)


def _not_tensors(held: Mapping[Any, Any], place: str) -> Iterator[str]:
    for name, value in held.items():
        if not isinstance(value, Tensor):
            yield f"{place}: '{name}' is a {type(value).__name__}, expected a tensor: refused."
