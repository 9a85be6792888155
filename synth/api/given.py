"""A network and probes in memory as files of a run folder, so that any command can read them again.

The folder `given` of a run holds `network.pt2`, the arrays, and `run.toml`, which names them.
"""

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from synth.arrays import Arrays, arrays_of
from synth.batches import Inputs
from synth.errors import InputError, Problems
from synth.export import exported_program
from synth.folder import GIVEN_CONFIG
from synth.inputs import Probes, check_inputs, load_inputs
from synth.references import parse_reference
from synth.trial import TRIED, check_fit

Keys = dict[str, str | list[str]]
"""Keys of a table of the configuration."""


@dataclass(frozen=True, eq=False)
class Given:
    """What a user hands over: a network and probes, in memory or by reference."""

    net: object
    probes: object
    test: object = None
    output: str | int | None = None


@dataclass(frozen=True, eq=False)
class _Set:
    """A set of probes: the keys that name it, and its arrays."""

    keys: Keys
    arrays: Arrays


def write_given(folder: Path, given: Given) -> Path:
    """Writes what is in memory into `folder`, and the configuration that names all of it; its path.

    Raises InputError with every problem: what is no network, what holds no numbers, and a network
    that does not take the probes or that cannot be exported.
    """
    with Problems() as problems:
        probes = problems.attempt(_write_set, folder, given.probes, "")
        found = None if given.test is None else (folder, given.test, "test_")
        test = found and problems.attempt(_write_set, *found)
        network = problems.attempt(_write_network, folder, given, probes and probes.arrays)
    assert probes and network  # their absence was a problem
    path = folder / GIVEN_CONFIG
    path.write_text(_toml({"network": network, "probes": _keys(probes) | _keys(test)}))
    return path


def _keys(found: _Set | None) -> Keys:
    return found.keys if found else {}


def _write_network(folder: Path, given: Given, probes: Arrays | None) -> Keys | None:
    """The keys that name the network; a module is exported beside them, on the processor."""
    net = given.net
    if isinstance(net, str | Path):
        return _network_keys(str(net))
    if not isinstance(net, nn.Module):
        expected = "expected a torch.nn.Module, 'model.pt2', 'model.onnx' or 'FILE.py:FUNCTION'"
        raise InputError(f"the network is of type {type(net).__name__}, {expected}.")
    if probes is None:
        return None  # without an example there is nothing to export it with
    module = copy.deepcopy(net).cpu().eval()
    example = Inputs([array[:TRIED] for array in probes.inputs])
    check_fit(module, Probes(example), output=given.output)
    program = exported_program(module, example.batch())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecated types
        torch.export.save(program, folder / "network.pt2")
    return {"file": "network.pt2"}


def _network_keys(text: str) -> Keys:
    if text.endswith((".pt2", ".onnx")):
        return {"file": str(Path(text).absolute())}
    return {"factory": _absolute(text)}


def _write_set(folder: Path, given: object, prefix: str) -> _Set:
    """The set, whose arrays are saved if they are in memory. Raises InputError."""
    if (named := _named(given, prefix)) is not None:
        return named
    place = f"probes.{prefix}inputs"
    arrays = arrays_of(given, place)
    check_inputs(arrays.inputs, place)  # before any of it is written
    files = [f"{prefix}inputs_{number}.npy" for number in range(len(arrays.inputs))]
    keys: Keys = {f"{prefix}inputs": files}
    columns = dict(zip(files, arrays.inputs, strict=True))
    if arrays.labels is not None:
        keys[f"{prefix}labels"] = name = f"{prefix}labels.npy"
        columns[name] = arrays.labels
    for name, array in columns.items():
        _save(folder / name, array, place)
    return _Set(keys, arrays)


def _save(path: Path, array: np.ndarray, place: str) -> None:
    try:
        np.save(path, array, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{place}: {path.stem} of type {array.dtype}: {error}.") from None


def _named(given: object, prefix: str) -> _Set | None:
    """The set behind `"data.npz:x"`, a list of such for several inputs, or a pair of inputs and
    labels that are both named so; None where it is in memory."""
    pair: Any = given if _is_pair(given) else (given, None)
    inputs, labels = pair
    if not _is_name(inputs):
        return None
    names = [_absolute(name) for name in (inputs if isinstance(inputs, list) else [inputs])]
    keys: Keys = {f"{prefix}inputs": names}
    if labels is not None:
        keys[f"{prefix}labels"] = _absolute(labels)
    return _Set(keys, load_inputs(names, Path.cwd()))


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_name, value))


def _is_name(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, str | Path) for part in value)
    return isinstance(value, str | Path)


def _absolute(reference: object) -> str:
    return str(parse_reference(str(reference), Path.cwd()))


def _toml(tables: Mapping[str, Keys]) -> str:
    """Tables of texts and of lists of texts, which JSON and TOML write alike."""
    parts = []
    for name, keys in tables.items():
        rows = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
        parts.append("\n".join([f"[{name}]", *rows, ""]))
    return "\n".join(parts)
