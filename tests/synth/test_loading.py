"""Factories and weights: what loads, and how each thing that does not is told."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from onnx_making import drawn, model, saved
from safetensors.torch import save_file, save_model
from torch import nn

from synth.config import load_config
from synth.errors import InputError
from synth.loading import load_factory, load_module, load_weights

SOURCE = """
import torch
from torch import nn
import helper_of_net
def make(): return nn.Sequential(nn.Linear(3, helper_of_net.WIDTH), nn.ReLU(), nn.Linear(4, 2))
def breaks():
    values = []
    return values[3]
def leaves(): raise SystemExit(3)
def needs(width): return nn.Linear(width, 2)
def wrong(): return 3
ready = nn.Linear(3, 2)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(SOURCE)
    (tmp_path / "helper_of_net.py").write_text("WIDTH = 4")
    return tmp_path


def told(function, *args) -> str:
    with pytest.raises(InputError) as caught:
        function(*args)
    return "\n".join(caught.value.problems)


def test_factory(folder: Path) -> None:
    """A factory may import its neighbours, is in eval mode, and starts alike each time."""
    path = list(sys.path)
    first, second = (load_factory("net.py:make", folder) for _ in range(2))
    assert isinstance(first, nn.Module)
    assert not first.training
    assert sys.path == path
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_factory_leaves_random_state_alone(folder: Path) -> None:
    """The caller's random numbers go on as if no factory had run."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_factory("net.py:make", folder)
    assert torch.equal(torch.rand(3), expected)


def test_module_object_as_factory(folder: Path) -> None:
    """A module-level network needs no function around it."""
    assert isinstance(load_factory("net.py:ready", folder), nn.Linear)


def test_files_of_one_name_do_not_meet(folder: Path) -> None:
    """Two files called net.py in two folders, and a file that changed, are modules of their own."""
    other = folder / "other"
    other.mkdir()
    (other / "net.py").write_text("from torch import nn\ndef make(): return nn.Linear(7, 1)")
    assert isinstance(load_factory("net.py:make", folder), nn.Sequential)
    assert isinstance(load_factory("net.py:make", other), nn.Linear)
    (other / "net.py").write_text("from torch import nn\ndef make(): return nn.Conv1d(7, 1, 1)")
    assert isinstance(load_factory("net.py:make", other), nn.Conv1d)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("nett.py:make", "does not exist. Did you mean 'net.py'?"),
        ("net.py:mak", "has no 'mak'. Did you mean 'make'?"),
        ("net.py:breaks", "raised IndexError: list index out of range (line 8: return values[3])"),
        ("net.py:leaves", "raised SystemExit: 3 (line 9"),
        ("net.py:needs", "raised TypeError: needs() missing 1 required positional argument"),
        ("net.py:wrong", "gave a int, expected a torch.nn.Module"),
        ("net.py", "expected 'FILE.py:FUNCTION'"),
        ("net.npz:make", "expected 'FILE.py:FUNCTION'"),
    ],
)
def test_bad_factories(folder: Path, reference: str, expected: str) -> None:
    """Each failure names the file, what happened and where."""
    message = told(load_factory, reference, folder)
    assert expected in message
    assert reference.split(":")[0] in message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\ny = 1 / 0\n", "ZeroDivisionError: division by zero (line 2: y = 1 / 0)"),
        ("def f(:\n", "SyntaxError"),
        ("import no_such_module_here\n", "ModuleNotFoundError: No module named"),
    ],
)
def test_files_that_do_not_run(folder: Path, source: str, expected: str) -> None:
    """A file that raises on import is told with its line, and leaves no half module behind."""
    (folder / "bad.py").write_text(source)
    for _ in range(2):
        assert expected in told(load_factory, "bad.py:make", folder)
    assert not [name for name in sys.modules if name.startswith("synth_user_bad")]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
def test_weights_come_back(tmp_path: Path, suffix: str) -> None:
    """Both kinds of file give every tensor back."""
    source, target = network(), network()
    path = tmp_path / f"w.{suffix}"
    state = source.state_dict()
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    load_weights(target, path)
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)


def test_tied_weights_may_be_stored_once(tmp_path: Path) -> None:
    """safetensors stores a shared tensor under one of its names; that is not a missing one."""
    source, target = (nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]) for _ in range(2))
    for pair in (source, target):
        pair[1].weight = pair[0].weight
    save_model(source, str(tmp_path / "w.safetensors"))
    load_weights(target, tmp_path / "w.safetensors")
    assert torch.equal(target.state_dict()["1.weight"], source.state_dict()["0.weight"])


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    """Names, shapes and values are told together, and nothing is loaded."""
    state = network().state_dict()
    state["0.weigth"] = state.pop("0.weight")
    state["2.weight"] = torch.zeros(2, 5)
    state["2.bias"] = torch.tensor([0.0, float("nan")])
    state["1.running_var"] = torch.tensor([1.0, float("inf"), float("nan"), 1.0])
    save_file(state, tmp_path / "w.safetensors")
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    message = told(load_weights, target, tmp_path / "w.safetensors")
    for expected in (
        "lacks '0.weight', which the network has. Did you mean '0.weigth'?",
        "has '0.weigth', which the network lacks. Did you mean '0.weight'?",
        "'2.weight' has shape (2, 5), the network expects (2, 4)",
        "'2.bias' has 1 NaN or infinite values, the first at (1,)",
        "'1.running_var' has 2 NaN or infinite values, the first at (1,)",
    ):
        assert expected in message
    assert all(torch.equal(before[name], t) for name, t in target.state_dict().items())


class Harm:
    """Unpickling this would make a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_untrusted_is_unpickled(tmp_path: Path) -> None:
    """A pickle with code in it is refused, and its code does not run."""
    mark = tmp_path / "harmed"
    torch.save({"x": Harm(str(mark))}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Harm(str(mark))))
    for name in ("a.pt", "b.pt"):
        assert "is no plain state dict" in told(load_weights, network(), tmp_path / name)
    assert not mark.exists()


def test_unreadable_weights(tmp_path: Path) -> None:
    """A missing, damaged, foreign or otherwise filled file each has its own message."""
    for name in ("w.safetensors", "w.pt", "w.bin"):
        (tmp_path / name).write_bytes(b"not a file of tensors")
    torch.save({"epoch": 3, "model": network().state_dict()}, tmp_path / "checkpoint.pt")
    torch.save(network().state_dict(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:900])
    for name, expected in (
        ("v.safetensors", "does not exist. Did you mean 'w.safetensors'?"),
        ("w.safetensors", "is no readable safetensors file"),
        ("w.pt", "is no plain state dict"),
        ("cut.pt", "is no plain state dict"),
        ("w.bin", "expected a file .safetensors, .pt, .pth"),
        ("checkpoint.pt", "holds epoch, model, expected names with tensors"),
    ):
        assert expected in told(load_weights, network(), tmp_path / name)


def test_load_module_checks_the_factory_s_own_weights(folder: Path) -> None:
    """NaN weights are found even where no weights file is given."""
    (folder / "nan.py").write_text(
        "import torch\ndef make():\n"
        "    m = torch.nn.Linear(3, 2)\n    m.weight.data[1, 2] = float('nan')\n    return m\n"
    )
    (folder / "c.toml").write_text(
        '[network]\nfactory = "nan.py:make"\n[probes]\ninputs = "nan.py:make"\n'
    )
    message = told(load_module, load_config(folder / "c.toml"))
    assert "'weight' has 1 NaN or infinite values, the first at (1, 2)" in message


def test_load_module_reads_a_model_file(folder: Path) -> None:
    """A configuration may name a file that holds the network; it is read in eval mode."""
    node = helper.make_node("Gemm", ["x", "fc.weight"], ["y"], transB=1)
    weights = {"fc.weight": drawn(2, 3)}
    saved(model([node], {"x": ("N", 3)}, ["y"], weights), folder, "net.onnx")
    (folder / "c.toml").write_text(
        '[network]\nfile = "net.onnx"\n[probes]\ninputs = "net.py:make"\n'
    )
    module = load_module(load_config(folder / "c.toml"))
    assert not module.training
    assert torch.equal(module.state_dict()["fc.weight"], torch.from_numpy(weights["fc.weight"]))


def test_load_module_checks_the_weights_of_a_model_file(folder: Path) -> None:
    """NaN weights are found in a file as in a factory's module."""
    node = helper.make_node("Gemm", ["x", "fc.weight"], ["y"], transB=1)
    weights = {"fc.weight": np.array([[1.0, np.nan, 0.0]], dtype=np.float32)}
    saved(model([node], {"x": ("N", "M")}, ["y"], weights), folder, "net.onnx")
    (folder / "c.toml").write_text(
        '[network]\nfile = "net.onnx"\n[probes]\ninputs = "net.py:make"\n'
    )
    message = told(load_module, load_config(folder / "c.toml"))
    assert "'fc.weight' has 1 NaN or infinite values, the first at (0, 1)" in message
