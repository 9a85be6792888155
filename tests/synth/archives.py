"""Exported programs and what can be done to their archives, for the tests of .pt2 files."""

import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from synth.errors import InputError

BATCH = torch.export.Dim("batch")


class Harm:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def pickled(path: Path) -> bytes:
    """A file of torch.save that makes the folder `path` when it is loaded carelessly."""
    buffer = io.BytesIO()
    torch.save(Harm(path), buffer)
    return buffer.getvalue()


def bare(path: Path) -> bytes:
    return pickle.dumps(Harm(path))


class Masked(nn.Module):
    """Every kind of weight that an archive holds: parameters, buffers and a loose constant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
        self.fc = nn.Linear(18, 3)
        self.register_buffer("mask", torch.rand(18))
        self.shift = torch.rand(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.features(x).view(x.shape[0], -1) * self.mask
        return self.fc(flat) + self.shift


def exported(module: nn.Module, *example: torch.Tensor, free: bool = True) -> Any:
    shapes = tuple({0: BATCH} for _ in example) if free else None
    return torch.export.export(module, example, dynamic_shapes=shapes)


def saved(module: nn.Module, folder: Path, *example: torch.Tensor, free: bool = True) -> Path:
    return saved_program(exported(module.eval(), *example, free=free), folder)


def saved_program(made: Any, folder: Path) -> Path:
    path = folder / "net.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecated types
        torch.export.save(made, path)
    return path


def parts(path: Path) -> dict[str, bytes]:
    """The parts of an archive, without the folder that they are in."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, changes: Mapping[str, bytes | None], name: str = "other.pt2") -> Path:
    """The archive with some parts replaced, added or (None) left out."""
    held = parts(path) | dict(changes)
    other = path.with_name(name)
    with zipfile.ZipFile(other, "w") as archive:
        for part, data in held.items():
            if data is not None:
                archive.writestr(f"net/{part}", data)
    return other


def program(path: Path) -> dict[str, Any]:
    return json.loads(parts(path)["models/model.json"])


def with_program(path: Path, changed: Mapping[str, Any]) -> Path:
    return rewritten(path, {"models/model.json": json.dumps(changed).encode()})


def old_layout(module: nn.Module, folder: Path, *example: torch.Tensor) -> Path:
    """What torch up to 2.7 wrote: four files without a folder around them."""
    from torch._export.serde.serialize import serialize

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        artifact = serialize(exported(module, *example))
    path = folder / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.2")
        archive.writestr("serialized_exported_program.json", artifact.exported_program)
        archive.writestr("serialized_state_dict.pt", artifact.state_dict)
        archive.writestr("serialized_constants.pt", artifact.constants)
        archive.writestr("serialized_example_inputs.pt", artifact.example_inputs)
    return path


def told(function: Any, *args: Any) -> str:
    """The problems that bad input gives."""
    with pytest.raises(InputError) as caught:
        function(*args)
    return "\n".join(caught.value.problems)


def zipped(path: Path, members: dict[str, bytes], **settings: Any) -> Path:
    with zipfile.ZipFile(path, "w", **settings) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path
