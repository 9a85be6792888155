"""Hostile model files: nothing in them runs, and each is refused in a clear sentence."""

import copy
import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from archives import (
    Harm,
    bare,
    pickled,
    told,
    zipped,
)
from onnx import TensorProto, helper
from onnx_making import drawn, model
from onnx_making import saved as saved_onnx
from torch import nn

from synth.formats import read_model
from synth.formats.state import read_state
from synth.loading import load_weights


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """A folder that hostile files try to make; the test fails if it is there."""
    path = tmp_path / "harmed"
    yield path
    assert not path.exists()


# ONNX


def external(folder: Path, location: str, **entries: int) -> Path:
    """A model whose weights are said to be elsewhere."""
    node = helper.make_node("Add", ["x", "w"], ["y"])
    made = model([node], {"x": ("N", 3)}, ["y"], {"w": drawn(3)})
    (weights,) = made.graph.initializer
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = weights.external_data.add()
        entry.key, entry.value = key, str(value)
    return saved_onnx(made, folder)


def test_external_weights(tmp_path: Path) -> None:
    """Weights beside the model are read; its own bytes of the file, no others."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "w.bin").write_bytes(bytes(8) + drawn(3).tobytes())
    network = read_model(external(tmp_path, "deep/w.bin", offset=8, length=12))
    np.testing.assert_array_equal(network(torch.zeros(1, 3)).detach()[0], drawn(3))


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret", "a/../../secret", "", "link", "d/x"]
)
def test_external_weights_stay_in_the_folder(tmp_path: Path, location: str) -> None:
    """Absolute paths, `..` and symbolic links to other places are refused."""
    (tmp_path / "secret").write_bytes(drawn(3).tobytes())
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "d").symlink_to(tmp_path)
    (tmp_path / "x").write_bytes(drawn(3).tobytes())
    message = told(read_model, external(folder, location))
    assert f"the weights 'w' are said to be in '{location}': refused" in message


def test_external_weights_that_do_not_fit(tmp_path: Path) -> None:
    """A missing or short file and odd offsets are told with both sizes."""
    assert "which does not exist" in told(read_model, external(tmp_path, "w.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(8))
    assert "needs 12 bytes, but w.bin has 8" in told(read_model, external(tmp_path, "w.bin"))
    (tmp_path / "w.bin").write_bytes(bytes(12))
    message = told(read_model, external(tmp_path, "w.bin", offset=-4))
    assert "start at -4" in message


def test_hostile_onnx_models(tmp_path: Path) -> None:
    """Truncated files, sizes beyond the data and Python operators are refused."""
    node = helper.make_node("Add", ["x", "w"], ["y"])
    made = model([node], {"x": ("N", 3)}, ["y"], {"w": drawn(3)})
    whole = made.SerializeToString()
    for data in (whole[:-7], b"no protobuf at all", b""):
        (tmp_path / "cut.onnx").write_bytes(data)
        assert "cut.onnx" in told(read_model, tmp_path / "cut.onnx")
    huge = copy.deepcopy(made)
    huge.graph.initializer[0].dims[:] = [2**40, 2**20]
    assert "is no valid ONNX model" in told(read_model, saved_onnx(huge, tmp_path))
    call = helper.make_node("PythonOp", ["x"], ["y"], domain="ai.onnx.contrib", code="import os")
    python = model([call], {"x": ("N", 3)}, ["y"], {})
    message = told(read_model, saved_onnx(python, tmp_path))
    assert "PythonOp is a custom operator of 'ai.onnx.contrib'" in message


def test_sizes_beyond_memory_are_not_made(tmp_path: Path) -> None:
    """A few bytes that ask for terabytes fail as a problem of their node."""
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"], "big"),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    weights = {"s": np.array([2**40, 2**10], dtype=np.int64)}
    made = model(nodes, {"x": ("N", 3)}, ["y"], weights)
    assert "node big (ConstantOfShape)" in told(read_model, saved_onnx(made, tmp_path))


# weights alone


@pytest.mark.parametrize("suffix", ["pt", "pth"])
@pytest.mark.parametrize("make", [pickled, bare])
def test_hostile_state_dicts(tmp_path: Path, mark: Path, suffix: str, make: Any) -> None:
    """Code in a pickle is refused, and never runs; nobody is told how to run it."""
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(make(mark))
    message = told(read_state, path)
    assert "is no plain state dict" in message
    assert "weights_only" not in message


def test_hostile_objects_inside_a_state_dict(tmp_path: Path, mark: Path) -> None:
    """One hostile value among good tensors is enough to refuse them all."""
    state = {"weight": torch.ones(2), "hook": Harm(mark)}
    torch.save(state, tmp_path / "w.pt")
    assert "it asks for posix.mkdir, and code from a file is never run" in told(
        load_weights, nn.Linear(1, 2), tmp_path / "w.pt"
    )
    torch.save(nn.Linear(1, 2), tmp_path / "m.pt")
    assert "it asks for torch.nn.modules.linear.Linear" in told(read_state, tmp_path / "m.pt")


def test_compressed_state_dicts(tmp_path: Path) -> None:
    """A state dict that unfolds to more than its file is refused before it is loaded."""
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(10**6)}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    path = zipped(tmp_path / "w.pt", held, compression=zipfile.ZIP_DEFLATED)
    assert "is compressed, which torch never does" in told(read_state, path)


def test_scripted_modules_are_no_state_dicts(tmp_path: Path) -> None:
    """An archive of TorchScript holds code, and is refused as it is."""
    held = {
        "a/code/__torch__.py": b"import os",
        "a/data.pkl": pickle.dumps({}),
        "a/constants.pkl": b"",
    }
    path = zipped(tmp_path / "w.pt", held)
    assert "is no plain state dict" in told(read_state, path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9) + b"{}",
        struct.pack("<Q", 7) + b"not json",
        struct.pack("<Q", 59)
        + b'{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}     '
        + bytes(4),
        struct.pack("<Q", 79)
        + b'{"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}     '
        + bytes(4),
    ],
    ids=["empty", "endless header", "long header", "no JSON", "short data", "huge shape"],
)
def test_hostile_safetensors(tmp_path: Path, content: bytes) -> None:
    """Headers that lie about lengths and shapes are refused in one sentence."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    assert "is no readable safetensors file" in told(read_state, path)


def test_other_suffixes(tmp_path: Path) -> None:
    """A model file says which kinds are read; a missing one, what is there."""
    (tmp_path / "net.pkl").write_bytes(b"")
    assert "expected a file .pt2, .onnx" in told(read_model, tmp_path / "net.pkl")
    assert "does not exist" in told(read_model, tmp_path / "net.onnx")
