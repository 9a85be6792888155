"""Certificates on disk: what the checkers need to check the bounds of a run, and nothing else.

``units.safetensors`` holds, for each layer with O units of n inputs, the numbers that the claims
speak of: ``<layer>.weight`` float32 (O, n), ``<layer>.bias`` float32 (O,), and the box of the
inputs ``<layer>.lower`` and ``<layer>.upper``, float64 (n,).

``certificates.json``, where "p/q" is an exact fraction of integers (or "p"):

    {"format": 1, "semantics": "real",
     "files": {"units.safetensors": its sha256 in hex},
     "layers": {layer: {"names": {identifier: channel of the source bank}, "channels": C,
                        "rows": [dy, ...], "columns": [dx, ...],
                        "heads": [{"op": name, "params": {name: float}}, ...] one a unit}},
     "certificates": [{"unit": "<layer>[<channel>]", "layer": name, "channel": integer,
                       "head": {"op", "params"}, "program": text, "domain": name,
                       "epsilon": "p/q", "bound": "p/q", and "multipliers": ["p/q"] * 4 or
                       "covers": [{"start": float, "cells": [[end, side, slope], ...]}] * 2}]}

The weight column of the tap (channel, dy, dx) is ``(channel * len(rows) + rows.index(dy)) *
len(columns) + columns.index(dx)``, so n = C * len(rows) * len(columns). Floats denote the exact
dyadic number that they are. The multipliers are those of closed_form.py, in its order, for
checker.py. The covers are those of cells.py, for cover_checker.py: of unit − program, then of
program − unit; a cell goes from the end of the one before to its own. A program's text is valid
Python: taps ``identifier`` or ``shift(identifier, dy=1, dx=-1)`` (either keyword may be missing),
their products with a number (of one sign at most) in either order, ``+``, ``-`` and parentheses,
and at most one head around it all: relu(a), abs(a), leaky_relu(a, slope=s), prelu(a, slope=s),
clip(a, low=l, high=h), sigmoid(a), tanh(a), gelu(a), silu(a), hardsigmoid(a), hardswish(a); or a
bare number. References to siblings must have been expanded, and kernels written out as the taps of
the layer's window.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from oracles.claims import Box, Certificate, Claim, HeadForm, Proved
from oracles.covers import Cover

UNITS_FILE = "units.safetensors"
CERTIFICATES_FILE = "certificates.json"


@dataclass(frozen=True, eq=False)
class CertifiedLayer:
    """One layer: weight float32 (O, n), bias float32 (O,), a box (n,), its taps and O heads.

    `names` maps identifiers to channels of the source bank, of which there are `channels`; `rows`
    and `columns` are the window's dy and dx. Raises ValueError where the sizes disagree.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    box: Box
    names: Mapping[str, int]
    channels: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    heads: tuple[HeadForm, ...]

    def __post_init__(self) -> None:
        units, inputs = len(self.heads), self.channels * len(self.rows) * len(self.columns)
        shapes = (self.weight.shape, self.bias.shape, self.box.lower.shape)
        expected = ((units, inputs), (units,), (inputs,))
        if shapes != expected:
            raise ValueError(
                f"layer {self.name!r} has weight, bias, box of shapes {shapes}; {units} heads and "
                f"{self.channels} x {len(self.rows)} x {len(self.columns)} taps expect {expected}"
            )
        if (self.weight.dtype, self.bias.dtype) != (np.float32, np.float32):
            kinds = f"{self.weight.dtype}, {self.bias.dtype}"
            raise ValueError(f"layer {self.name!r} has weight, bias of {kinds}; expected float32")


@dataclass(frozen=True)
class CertifiedUnit:
    """A checked proof for one unit: the program's text, the claim and its proof."""

    layer: str
    channel: int
    program: str
    claim: Claim
    proof: Proved

    @property
    def label(self) -> str:
        """The unit's name in certificates and in the checker's report, such as ``conv1[3]``."""
        return f"{self.layer}[{self.channel}]"


def write_certificates(
    folder: Path, layers: Iterable[CertifiedLayer], units: Iterable[CertifiedUnit]
) -> None:
    """Write the two files of the format above into a folder that exists.

    Raises ValueError for a proof that carries no certificate, and for an unknown layer.
    """
    known = {layer.name: layer for layer in layers}
    certificates = [_certificate(unit, known) for unit in units]
    tensors = save(dict(_tensors(known.values())))
    document = {
        "format": 1,
        "semantics": "real",
        "files": {UNITS_FILE: hashlib.sha256(tensors).hexdigest()},
        "layers": {name: _layer(layer) for name, layer in known.items()},
        "certificates": certificates,
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    _replace(folder / UNITS_FILE, tensors)
    _replace(folder / CERTIFICATES_FILE, f"{text}\n".encode())


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def _tensors(layers: Iterable[CertifiedLayer]) -> Iterable[tuple[str, np.ndarray]]:
    for layer in layers:
        yield f"{layer.name}.weight", np.ascontiguousarray(layer.weight)
        yield f"{layer.name}.bias", np.ascontiguousarray(layer.bias)
        yield f"{layer.name}.lower", np.ascontiguousarray(layer.box.lower)
        yield f"{layer.name}.upper", np.ascontiguousarray(layer.box.upper)


def _layer(layer: CertifiedLayer) -> dict[str, object]:
    return {
        "names": dict(layer.names),
        "channels": layer.channels,
        "rows": list(layer.rows),
        "columns": list(layer.columns),
        "heads": [_head(head) for head in layer.heads],
    }


def _head(head: HeadForm) -> dict[str, object]:
    return {"op": head.op, "params": dict(head.params)}


def _certificate(unit: CertifiedUnit, layers: Mapping[str, CertifiedLayer]) -> dict[str, object]:
    if unit.layer not in layers or not 0 <= unit.channel < len(layers[unit.layer].heads):
        raise ValueError(f"no unit {unit.label} among the layers {sorted(layers)}")
    found = unit.proof.certificate
    if found is None or unit.proof.trust != "checked":
        raise ValueError(f"the proof of {unit.label} has no certificate; prove it with prove_layer")
    return {
        "unit": unit.label,
        "layer": unit.layer,
        "channel": unit.channel,
        "head": _head(layers[unit.layer].heads[unit.channel]),
        "program": unit.program,
        "domain": unit.claim.domain,
        "epsilon": str(unit.claim.epsilon),
        "bound": str(unit.proof.bound),
        **shown(found),
    }


def shown(certificate: Certificate) -> dict[str, object]:
    """The numbers of a certificate, as the file has them."""
    if certificate.covers:
        return {"covers": [*map(_cover, certificate.covers)]}
    return {"multipliers": [str(m) for m in certificate.multipliers]}


def _cover(cover: Cover) -> dict[str, object]:
    cells = [[cell.end, cell.side, float(cell.multiplier)] for cell in cover.cells]
    return {"start": cover.start, "cells": cells}
