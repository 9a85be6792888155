"""Replacement networks as ONNX: onnxruntime answers as torch, or no file is kept."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import CORE, as_they_are, read
from torch import nn
from typed import Home

from synth import onnx_out
from synth.assembly import assemble
from synth.errors import InputError
from synth.formats import read_model
from synth.onnx_out import write_onnx

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = {"inputs": ["x"], "outputs": ["y"]}


@pytest.mark.parametrize(("name", "shape"), [("mlp100", (64,)), ("cnn", (1, 8, 8))])
def test_the_digits_networks(
    name: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every unit as a program: the file answers as the module, on any number of probes."""
    runtime = pytest.importorskip("onnxruntime")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = getattr(importlib.import_module("digits"), name)()
    module.load_state_dict(load_file(EXAMPLES / f"digits_{name}.safetensors"))
    network = read(module.eval(), shape)
    replaced = assemble(network, as_they_are(network), CORE)
    batch, path = torch.rand(5, *shape), tmp_path / "net.onnx"
    assert write_onnx(replaced, (batch,), path, **NAMES) <= 1e-5
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = module(batch[:1])
        found = torch.from_numpy(session.run(None, {"x": batch[:1].numpy()})[0])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(read_model(path)(batch[:1]), found, rtol=1e-4, atol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_the_command(home: Home, tmp_path: Path) -> None:
    """A finished run becomes a file, and it is said how far it differs."""
    pytest.importorskip("onnxruntime")
    done = home("export", "results/net", "--onnx", tmp_path / "net.onnx")
    assert done.exit_code == 0 and "of the largest output" in done.output
    assert read_model(tmp_path / "net.onnx")(torch.rand(4, 6)).shape == (4, 3)


@pytest.mark.parametrize(
    ("words", "reason"),
    [((), "that is a folder"), (("no", "net.onnx"), "its folder does not exist")],
)
def test_a_place_for_no_file(
    words: tuple[str, ...], reason: str, home: Home, tmp_path: Path
) -> None:
    """A folder, or a file in one that is not there, is told."""
    done = home("export", "results/net", "--onnx", tmp_path.joinpath(*words))
    assert done.exit_code == 2 and reason in done.stderr
    assert not list(tmp_path.iterdir())


def test_without_onnxruntime_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said what to install."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        write_onnx(nn.Linear(2, 2), (torch.rand(4, 2),), tmp_path / "net.onnx", **NAMES)
    assert not list(tmp_path.iterdir())


class Bessel(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0(x)


def test_what_onnx_cannot_say_is_one_sentence(tmp_path: Path) -> None:
    """The operation is named, and no file stays."""
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match="i0") as caught:
        write_onnx(Bessel(), (torch.rand(4, 2),), tmp_path / "net.onnx", **NAMES)
    assert len(caught.value.problems) == 1 and not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar is a bar."""
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx_out, "TOLERANCE", -1.0)
    with pytest.raises(InputError, match="is not kept"):
        write_onnx(nn.Linear(2, 2), (torch.rand(4, 2),), tmp_path / "net.onnx", **NAMES)
    assert not list(tmp_path.iterdir())
