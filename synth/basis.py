"""A file of directions: tensors (D, U) in safetensors, a row for each direction of a bank.

A key is a layer's name, for directions of its activations, or the name and `:pre`, for directions
of its pre-activations. What the directions are called may stand in the file's metadata: under the
same key, a JSON list of D texts.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from grammars.program import PRE
from synth.directions import Directions
from synth.errors import InputError, Problems, nearest
from synth.files import missing_file
from synth.layers import Layer

PLACE = "search.basis"


@dataclass(frozen=True, eq=False)
class Basis:
    """What a file holds: real and finite tensors (D, U) by key, and the names that some have."""

    path: Path
    tensors: Mapping[str, Tensor]
    names: Mapping[str, tuple[str, ...]]


def read_basis(path: Path | None) -> Basis | None:
    """The tensors of a file, whatever network they are for; None without a file.

    Raises one InputError: no readable safetensors file, nothing in it, a tensor that is no matrix
    of real and finite numbers or has a row of zeros, names that are not one distinct text a row.
    """
    if path is None:
        return None
    tensors, metadata = _read(path)
    names: dict[str, tuple[str, ...]] = {}
    with Problems() as problems:
        if not tensors:
            problems.add(f"{PLACE}: {path} holds no tensor, expected one (D, U) for a layer.")
        for key, tensor in tensors.items():
            place = f"{PLACE}: '{key}'"
            problems.add(*_tensor_problems(tensor, place))
            names[key] = problems.attempt(_names, metadata.get(key), place) or ()
        problems.add(*_name_problems(tensors, names))
    return Basis(path, tensors, names)


def directions_of(basis: Basis | None, layers: Sequence[Layer]) -> tuple[Directions, ...]:
    """The directions of a network's layers, in the layers' order; none without a basis.

    Raises one InputError: a key that is no layer, another number of units, weights that float32
    cannot hold.
    """
    if basis is None:
        return ()
    found: list[Directions] = []
    known = {layer.name: layer for layer in layers}
    with Problems() as problems:
        for key, tensor in basis.tensors.items():
            directions = problems.attempt(_directions, key, tensor, basis.names[key], known)
            found += [directions] if directions else []
    order = list(known)
    return tuple(sorted(found, key=lambda d: (order.index(d.of.name), d.key)))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if problem := missing_file(path):
        raise InputError(f"{PLACE}: {problem}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return {key: file.get_tensor(key) for key in sorted(file.keys())}, metadata
    except (SafetensorError, OSError) as error:
        raise InputError(f"{PLACE}: {path} is no readable safetensors file: {error}") from error


def _tensor_problems(tensor: Tensor, place: str) -> Iterator[str]:
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        yield f"{place} has type {kind}, expected real numbers; convert with .float()."
        return
    if tensor.dim() != 2 or not tensor.numel():
        hint = " A single direction has shape (1, U)." if tensor.dim() == 1 else ""
        yield f"{place} has shape {tuple(tensor.shape)}, expected (directions, units).{hint}"
        return
    bad = (~tensor.double().isfinite()).nonzero()
    if len(bad):
        first = tuple(bad[0].tolist())
        yield f"{place} has {len(bad)} NaN or infinite values, the first at {first}."
    zero = (tensor.float() == 0).all(1).nonzero().flatten().tolist()
    if zero:
        rows = f"{len(zero)} rows are zero" if len(zero) > 1 else "a row is zero"
        yield f"{place}: {rows} in float32, the first {zero[0]}: a direction must point somewhere."


def _names(text: str | None, place: str) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        names = json.loads(text)
    except ValueError as error:
        raise InputError(f"{place}: its names in the metadata are no JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
        raise InputError(f"{place}: its names in the metadata are no JSON list of texts.")
    return tuple(names)


def _name_problems(
    tensors: Mapping[str, Tensor], names: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    for key, given in names.items():
        count = (*tensors[key].shape, 1)[0]
        if given and len(given) != count:
            yield f"{PLACE}: '{key}' has {count} directions and {len(given)} names."
        if twice := next((n for i, n in enumerate(given) if n in given[:i]), None):
            yield f"{PLACE}: '{key}' has two directions called {twice!r}; give each its own name."


def _directions(
    key: str, tensor: Tensor, names: tuple[str, ...], layers: Mapping[str, Layer]
) -> Directions:
    """Raises InputError where the directions are not of a layer's bank."""
    layer = layers.get(key.removesuffix(PRE))
    if layer is None:
        hint = nearest(key, [name + end for name in layers for end in ("", PRE)])
        raise InputError(f"{PLACE}: '{key}' is no layer of the network.{hint}")
    if tensor.shape[1] != layer.units:
        turned = " Is it transposed?" if tensor.shape[0] == layer.units else ""
        expected = f"expected (directions, {layer.units}): layer {layer.name!r} has so many units"
        raise InputError(f"{PLACE}: '{key}' has shape {tuple(tensor.shape)}, {expected}.{turned}")
    try:
        return Directions(key, layer, tensor.to(torch.float64).numpy(), names)
    except ValueError as error:
        advice = "scale the directions, as to unit length"
        raise InputError(f"{PLACE}: '{key}' is not for float32: {error}; {advice}.") from error
