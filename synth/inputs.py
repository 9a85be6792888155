"""Probes: the inputs and labels that a configuration names, checked; nothing is read whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synth.arrays import Arrays, load_arrays
from synth.batches import Inputs
from synth.config import Config
from synth.errors import InputError, Problems
from synth.spool import NUMBERS


@dataclass(frozen=True, eq=False)
class Probes:
    """N samples with labels (N,) int64 from 0, and the user's own held-out set."""

    inputs: Inputs
    labels: Tensor | None = None
    test_inputs: Inputs | None = None
    test_labels: Tensor | None = None


def load_probes(config: Config) -> Probes:
    """The configured probes. Labels of their own key stand above those a function returns.

    Integers and booleans are read as float32; all else that is not real and finite is a problem.
    Raises one InputError with all problems of both sets.
    """
    keys = config.probes
    with Problems() as problems:
        train = _load_set(config.folder, keys.inputs, keys.labels, "", problems)
        test = _load_set(config.folder, keys.test_inputs, keys.test_labels, "test_", problems)
        problems.add(*_pair_problems(train, test))
    assert train.inputs is not None  # its absence was a problem
    return Probes(train.inputs, train.labels, test.inputs, test.labels)


@dataclass(frozen=True, eq=False)
class _Set:
    """Checked inputs and labels of one set; `labelled` also where the labels are a problem."""

    inputs: Inputs | None = None
    labels: Tensor | None = None
    labelled: bool = False


def _load_set(
    folder: Path,
    inputs: str | Sequence[str] | None,
    labels: str | None,
    prefix: str,
    problems: Problems,
) -> _Set:
    place = f"probes.{prefix}labels"
    loaded = problems.attempt(load_inputs, inputs, folder) if inputs else None
    own = problems.attempt(_load_labels, labels, folder, place) if labels else None
    if loaded is None:
        return _Set(labelled=bool(labels))
    checked = problems.attempt(check_inputs, loaded.inputs, f"probes.{prefix}inputs")
    found = own if labels else loaded.labels
    if found is None:
        return _Set(checked, labelled=bool(labels))
    count = len(np.atleast_1d(loaded.inputs[0]))
    return _Set(checked, problems.attempt(check_labels, found, count, place), True)


def load_inputs(references: str | Sequence[str], folder: Path) -> Arrays:
    """The arrays of all references in order, and the first labels that one of them gives.

    Raises one InputError with the problems of all.
    """
    names = (references,) if isinstance(references, str) else references
    with Problems() as problems:
        loaded = [problems.attempt(load_arrays, name, folder) for name in names]
    found = [arrays for arrays in loaded if arrays]
    labels = [arrays.labels for arrays in found if arrays.labels is not None]
    return Arrays(tuple(a for arrays in found for a in arrays.inputs), next(iter(labels), None))


def _load_labels(reference: str, folder: Path, place: str) -> np.ndarray:
    found = load_arrays(reference, folder).inputs
    if len(found) != 1:
        raise InputError(f"{place}: {reference} gave {len(found)} arrays, expected one.")
    return found[0]


def check_inputs(arrays: Sequence[np.ndarray], place: str) -> Inputs:
    """An array (N, ...) for each input of the network, read in batches.

    Raises one InputError: type, form, NaN or infinite as float32, unequal lengths.
    """
    with Problems() as problems:
        for number, array in enumerate(arrays):
            own = place if len(arrays) == 1 else f"{place}[{number}]"
            problems.attempt(_check_array, array, own)
        lengths = [len(np.atleast_1d(a)) for a in arrays]
        if len(set(lengths)) > 1:
            counts = ", ".join(map(str, lengths))
            problems.add(f"{place} has {counts} samples, expected as many of each input.")
    return Inputs(arrays)


def _check_array(values: np.ndarray, place: str) -> None:
    if values.dtype.kind not in NUMBERS:
        raise InputError(f"{place} has type {values.dtype}, expected real numbers.")
    if values.ndim < 2 or values.size == 0:
        raise InputError(f"{place} has shape {values.shape}, expected (N, ...), nothing empty.")
    count, first = _not_finite(values) if values.dtype.kind == "f" else (0, None)
    if count:
        raise InputError(
            f"{place} has {count} NaN or infinite values (as float32), the first at {first}."
        )


def _not_finite(values: np.ndarray) -> tuple[int, tuple[int, ...] | None]:
    """How many values no float32 holds, and the first of them."""
    count, first, start = 0, None, 0
    with np.errstate(over="ignore"):
        for (batch,) in Inputs([values]).batches():
            bad = (~batch.isfinite()).nonzero()
            if len(bad) and first is None:
                row, *rest = bad[0].tolist()
                first = (start + row, *rest)
            count, start = count + len(bad), start + len(batch)
    return count, first


def check_labels(labels: np.ndarray, count: int, place: str) -> Tensor:
    """The labels (count,) as int64. Raises one InputError: type, form, length, negative."""
    with Problems() as problems:
        if labels.dtype.kind not in "iub":
            advice = "expected class numbers from 0; convert with .astype('int64')"
            problems.add(f"{place} has type {labels.dtype}, {advice}.")
        if labels.ndim != 1:
            problems.add(f"{place} has shape {labels.shape}, expected ({count},): one class each.")
        elif len(labels) != count:
            problems.add(f"{place} has {len(labels)} labels for {count} inputs.")
        if labels.ndim == 1 and labels.dtype.kind in "iub":
            problems.add(*_negative(labels, place))
    return torch.from_numpy(labels.astype(np.int64))


def _negative(labels: np.ndarray, place: str) -> Iterator[str]:
    negative = labels.astype(np.int64) < 0  # uint64 wraps round to below 0
    if negative.any():
        worst = f"{int(negative.sum())} are negative, the first at {int(negative.argmax())}"
        yield f"{place}: {worst}; expected class numbers from 0."


def _pair_problems(train: _Set, test: _Set) -> Iterator[str]:
    """What must hold between the two sets."""
    if train.inputs is None or test.inputs is None:
        return
    if test.inputs.shapes != train.inputs.shapes:
        shape, expected = (shape_text(s.inputs.shapes) for s in (test, train) if s.inputs)
        yield f"probes.test_inputs has samples of shape {shape}, probes.inputs of {expected}."
    if train.labelled and not test.labelled:
        advice = "give probes.test_labels, since accuracy is judged on that set"
        yield f"probes.inputs has labels but probes.test_inputs has none: {advice}."


def shape_text(shapes: Sequence[tuple[int, ...]]) -> str:
    """Shapes of samples in words: `(3, 8, 8)`, or one for each input."""
    return " and ".join(map(str, shapes))
