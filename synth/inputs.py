"""Probes: the inputs and labels that a configuration names, read and checked."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synth.config import Config
from synth.errors import InputError, Problems, nearest
from synth.files import missing_file
from synth.references import Reference, call_object, load_object, parse_reference


@dataclass(frozen=True, eq=False)
class Arrays:
    """What one reference gives: values, and labels where a function returned a pair."""

    values: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Probes:
    """Inputs (N, ...) float32, labels (N,) int64 from 0, and the user's own held-out set."""

    inputs: Tensor
    labels: Tensor | None = None
    test_inputs: Tensor | None = None
    test_labels: Tensor | None = None


def load_array(reference: str, folder: Path) -> Arrays:
    """Reads `data.npz:key`, `file.npy`, or calls `FILE.py:FUNCTION` without arguments.

    A function returns values, or (values, labels or None), as arrays or tensors.
    Raises InputError; no array is unpickled.
    """
    found = parse_reference(reference, folder)
    if found.path.suffix == ".py":
        return _from_function(found)
    if problem := missing_file(found.path):
        raise InputError(problem)
    return Arrays(_from_file(found))


def _from_file(reference: Reference) -> np.ndarray:
    try:
        with open(reference.path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            if reference.key in loaded.files:
                return loaded[reference.key]
            names = list(loaded.files)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{reference} cannot be read as an array: {error}") from error
    hint = nearest(reference.key, names)
    raise InputError(f"{reference.path} has no array '{reference.key}'.{hint}")


def _from_function(reference: Reference) -> Arrays:
    target = load_object(reference)
    result = call_object(reference, target) if callable(target) else target
    if isinstance(result, tuple):
        if len(result) != 2:
            expected = "expected inputs or (inputs, labels)"
            raise InputError(f"{reference} gave a tuple of {len(result)}, {expected}.")
        labels = None if result[1] is None else _as_array(result[1], f"labels of {reference}")
        return Arrays(_as_array(result[0], str(reference)), labels)
    return Arrays(_as_array(result, str(reference)))


def _as_array(value: object, place: str) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError(f"{place} cannot be read as an array: {error}") from error


def load_probes(config: Config) -> Probes:
    """The configured probes. Labels of their own key stand above those a function returns.

    Integers and booleans become float32; all else that is not real and finite is a problem.
    Raises one InputError with all problems of the four arrays.
    """
    keys = config.probes
    with Problems() as problems:
        train = _load_set(config.folder, keys.inputs, keys.labels, "", problems)
        test = _load_set(config.folder, keys.test_inputs, keys.test_labels, "test_", problems)
        problems.add(*_pair_problems(train, test))
    return _tensors(train, test)


@dataclass(frozen=True, eq=False)
class _Set:
    """Checked inputs and labels of one set; `labelled` also where the labels are a problem."""

    values: np.ndarray | None = None
    labels: np.ndarray | None = None
    labelled: bool = False


def _load_set(
    folder: Path, inputs: str | None, labels: str | None, prefix: str, problems: Problems
) -> _Set:
    loaded = problems.attempt(load_array, inputs, folder) if inputs else None
    own = problems.attempt(load_array, labels, folder) if labels else None
    if loaded is None:
        return _Set(labelled=bool(labels))
    values = problems.attempt(check_inputs, loaded.values, f"probes.{prefix}inputs")
    found = own.values if own else None if labels else loaded.labels
    if found is None:
        return _Set(values, labelled=bool(labels))
    count = len(np.atleast_1d(loaded.values))
    return _Set(
        values, problems.attempt(check_labels, found, count, f"probes.{prefix}labels"), True
    )


def check_inputs(values: np.ndarray, place: str) -> np.ndarray:
    """The values (N, ...) as float32. Raises InputError: type, form, NaN or infinite."""
    if values.dtype.kind not in "fiub":
        raise InputError(f"{place} has type {values.dtype}, expected real numbers.")
    if values.ndim < 2 or values.size == 0:
        raise InputError(f"{place} has shape {values.shape}, expected (N, ...), nothing empty.")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(values, dtype=np.float32)
    bad = np.argwhere(~np.isfinite(converted))
    if len(bad):
        first = tuple(bad[0].tolist())
        raise InputError(
            f"{place} has {len(bad)} NaN or infinite values (as float32), the first at {first}."
        )
    return converted


def check_labels(labels: np.ndarray, count: int, place: str) -> np.ndarray:
    """The labels (count,) as int64. Raises one InputError: type, form, length, negative."""
    with Problems() as problems:
        if labels.dtype.kind not in "iub":
            advice = "expected class numbers from 0; convert with .astype('int64')"
            problems.add(f"{place} has type {labels.dtype}, {advice}.")
        elif (
            negative := labels.astype(np.int64).ravel() < 0
        ).any():  # uint64 wraps round to below 0
            worst = f"{int(negative.sum())} are negative, the first at {int(negative.argmax())}"
            problems.add(f"{place}: {worst}; expected class numbers from 0.")
        if labels.ndim != 1:
            problems.add(f"{place} has shape {labels.shape}, expected ({count},): one class each.")
        elif len(labels) != count:
            problems.add(f"{place} has {len(labels)} labels for {count} inputs.")
    return labels.astype(np.int64)


def _pair_problems(train: _Set, test: _Set) -> Iterator[str]:
    """What must hold between the two sets."""
    if train.values is None or test.values is None:
        return
    shape, expected = test.values.shape[1:], train.values.shape[1:]
    if shape != expected:
        yield f"probes.test_inputs has samples of shape {shape}, probes.inputs of {expected}."
    if train.labelled and not test.labelled:
        advice = "give probes.test_labels, since accuracy is judged on that set"
        yield f"probes.inputs has labels but probes.test_inputs has none: {advice}."


def _tensors(train: _Set, test: _Set) -> Probes:
    arrays = (train.values, train.labels, test.values, test.labels)
    inputs, *others = (None if a is None else torch.from_numpy(a) for a in arrays)
    assert inputs is not None  # its absence was a problem
    return Probes(inputs, *others)
