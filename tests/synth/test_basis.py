"""A file of directions is read, or all that is wrong with it is told at once, before any search."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small import IDENTITY, RELU, dense_layer
from torch import Tensor

from synth.basis import directions_of, read_basis
from synth.errors import InputError
from synth.layers import Layer

LAYER = dense_layer(list(np.eye(4, 5)), [0.5] * 4, [RELU] * 4)


def written(folder: Path, names: object = None, **tensors: Tensor) -> Path:
    """A file of tensors by key; `pre` in a keyword stands for `:pre`."""
    path = folder / "directions.safetensors"
    named = {key.replace("_pre", ":pre"): tensor for key, tensor in tensors.items()}
    save_file(named, path, metadata=None if names is None else {"fc1": json.dumps(names)})
    return path


def problems(path: Path, *layers: Layer) -> str:
    """What is wrong with a file, for a network of these layers."""
    with pytest.raises(InputError) as caught:
        directions_of(read_basis(path), layers)
    return str(caught.value)


def test_a_basis_is_read(tmp_path):
    """Keys name a layer's activations or pre-activations, metadata name directions; float64."""
    half = torch.tensor([[1.0, 0, 0, 2]], dtype=torch.float16)
    path = written(tmp_path, ["a curve"], fc1=half, fc1_pre=torch.eye(4))
    of, pre = directions_of(read_basis(path), [LAYER])
    assert (of.key, pre.key, of.names, pre.names) == ("fc1", "fc1:pre", ("a curve",), ())
    assert of.matrix.dtype == np.float64 and of.matrix.tolist() == [[1, 0, 0, 2]]
    assert not of.affine and pre.affine and of.of is pre.of is LAYER
    assert directions_of(read_basis(None), [LAYER]) == ()


def test_no_file_no_tensors(tmp_path):
    """A file that is missing, is none, or is empty, is told by name."""
    path = tmp_path / "directions.safetensors"
    assert "directions.safetensors does not exist" in problems(path)
    path.write_bytes(b"no tensors")
    assert "is no readable safetensors file" in problems(path)
    assert "holds no tensor" in problems(written(tmp_path))


def test_problems_of_all_tensors_at_once(tmp_path):
    """Types, shapes, numbers, zero rows and names: one message tells each, with its key."""
    broken = torch.eye(4)
    broken[2, 1], broken[3] = torch.nan, 0.0
    path = written(
        tmp_path,
        ["one", "one", "three"],
        whole=torch.ones(2, 4, dtype=torch.int64),
        turning=torch.ones(2, 4, dtype=torch.complex64),
        single=torch.ones(4),
        nothing=torch.ones(0, 4),
        broken=broken,
        fc1=torch.eye(4),
    )
    text = problems(path, LAYER)
    expected = (
        "'whole' has type int64",
        "'turning' has type complex64",
        "'single' has shape (4,), expected (directions, units). A single direction has",
        "'nothing' has shape (0, 4)",
        "'broken' has 1 NaN or infinite values, the first at (2, 1)",
        "'broken': a row is zero in float32, the first 3",
        "'fc1' has 4 directions and 3 names",
        "'fc1' has two directions called 'one'",
    )
    assert [part for part in expected if part not in text] == []
    assert text.startswith("8 problems")


@pytest.mark.parametrize("names", ["one", [1, 2, 3, 4], ["a", "b", " ", "d"]])
def test_names_are_a_list_of_texts(tmp_path, names):
    """Names that are no list of texts are refused; so is what is no JSON."""
    assert "no JSON list of texts" in problems(written(tmp_path, names, fc1=torch.eye(4)), LAYER)
    save_file({"fc1": torch.eye(4)}, tmp_path / "x.safetensors", metadata={"fc1": "[one"})
    assert "are no JSON" in problems(tmp_path / "x.safetensors", LAYER)


def test_directions_of_another_network(tmp_path):
    """Unknown layers are told with near names, other numbers of units, and what overflows."""
    big = torch.full((1, 4), 1e300, dtype=torch.float64)
    path = written(tmp_path, fc11=torch.eye(4), fc1=torch.ones(4, 3), fc1_pre=big)
    text = problems(path, LAYER)
    assert "'fc11' is no layer of the network. Did you mean 'fc1'? Known: fc1, fc1:pre." in text
    assert "'fc1' has shape (4, 3), expected (directions, 4)" in text and "transposed?" in text
    assert "'fc1:pre' is not for float32" in text and "unit length" in text


def test_a_layer_without_heads_needs_no_pre(tmp_path):
    """Directions of a bank with identity heads are affine over its source under both keys."""
    plain = dense_layer(list(np.eye(4, 5)), [0.5] * 4, [IDENTITY] * 4)
    path = written(tmp_path, fc1=torch.eye(4), fc1_pre=torch.eye(4))
    after, before = directions_of(read_basis(path), [plain])
    assert after.affine and before.affine
    assert np.array_equal(after.layer.weight, before.layer.weight)
