"""P-Net as an example: its port answers as it should, and what is missing is said in a sentence."""

import importlib
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from synth.config import load_config
from synth.errors import InputError
from synth.loading import load_module

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIZES = {"conv1": (10, 3, 3, 3), "conv2": (16, 10, 3, 3), "conv3": (32, 16, 3, 3)}
HEADS = {"box": (4, 32, 1, 1), "face": (2, 32, 1, 1)}


@pytest.fixture(scope="module")
def pnet() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.import_module("pnet")
    for name in ("pnet", "installed"):
        sys.modules.pop(name, None)


def _with_packages(*names: str) -> None:
    for name in names:
        if find_spec(name) is None:  # not imported: mtcnn would want TensorFlow
            pytest.skip(f"{name} is not installed; the extra 'examples' has it")


def test_one_window_gives_one_position(pnet: ModuleType) -> None:
    """12 x 12 pixels end as one position, a face of 24 x 24 as seven by seven."""
    module = pnet.PNet().eval()
    for side, places in ((12, 1), (24, 7)):
        found = module(torch.zeros(2, 3, side, side))
        assert list(found) == ["face", "box"]
        assert found["face"].shape == (2, 2, places, places)
        assert found["box"].shape == (2, 4, places, places)
        assert torch.allclose(found["face"].sum(1), torch.ones(2, places, places))


def test_weights_are_those_of_the_package(pnet: ModuleType) -> None:
    """All layers have their weights, and the slopes are a number for each unit, some negative."""
    _with_packages("mtcnn")
    module = pnet.network()
    state = module.state_dict()
    for name, shape in (SIZES | HEADS).items():
        assert state[f"{name}.weight"].shape == shape
    slopes = state["prelu1.weight"]
    assert slopes.shape == (10,) and slopes.min() < 0 < slopes.max()
    assert sum(v.numel() for v in state.values()) == 6632
    assert not module.training


def test_197_of_200_pictures_are_told_right(pnet: ModuleType) -> None:
    """98.5 %, which a transposed kernel or another order of colours and layers does not give."""
    _with_packages("mtcnn", "skimage")
    inputs, labels = pnet.faces()
    assert inputs.shape == (200, 3, 12, 12) and inputs.dtype == np.float32
    assert labels.tolist() == [1] * 100 + [0] * 100
    assert np.abs(inputs).max() <= 1 and np.array_equal(inputs[:, 0], inputs[:, 2])
    with torch.no_grad():
        face = pnet.network()(torch.from_numpy(inputs))["face"][:, 1, 0, 0].numpy()
    assert int(((face > 0.5) == labels).sum()) == 197


def test_probes_are_windows_of_which_some_look_like_faces(
    pnet: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each photograph as many by chance as with the largest answers; the same every time."""
    _with_packages("mtcnn", "skimage")
    monkeypatch.setattr(pnet, "PHOTOGRAPHS", ("cat", "coins"))  # one has colours, one has none
    found = pnet.windows()
    assert found.shape == (2 * 2 * pnet.EACH, 3, 12, 12) and found.dtype == np.float32
    assert np.array_equal(found, pnet.windows())
    cat, coins = found.reshape(2, -1, 3, 12, 12)
    assert np.array_equal(coins[:, 0], coins[:, 1]) and not np.array_equal(cat[:, 0], cat[:, 1])
    with torch.no_grad():
        face = pnet.network()(torch.from_numpy(cat))["face"][:, 1, 0, 0].numpy()
    chance, likely = face.reshape(2, -1)
    assert chance.mean() < 0.1 and likely.min() > 0.3


def test_missing_package_is_one_sentence(
    pnet: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What to install is said, through the loader that a run uses too."""
    with pytest.raises(ModuleNotFoundError, match=r"'no_such' is not installed here.*pip install"):
        pnet.package_file("no_such", "weights")
    with pytest.raises(FileNotFoundError, match=r"has no file nothing\.lz4"):
        pnet.package_file("synth", "nothing.lz4")
    for name in ("pnet.py", "installed.py", "pnet.toml"):
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace('"mtcnn"', '"no_such"'), encoding="utf-8")
    with pytest.raises(InputError, match="the package 'no_such' is not installed here"):
        load_module(load_config(tmp_path / "pnet.toml"))


def test_config_names_what_is_there(pnet: ModuleType) -> None:
    """Each function of the configuration is one of `pnet.py`, and the judged output is there."""
    config = tomllib.loads((EXAMPLES / "pnet.toml").read_text(encoding="utf-8"))
    for spec in (config["network"]["factory"], *config["probes"].values()):
        file, function = spec.split(":")
        assert file == "pnet.py" and callable(getattr(pnet, function))
    assert config["network"]["output"] in pnet.PNet().eval()(torch.zeros(1, 3, 12, 12))
    load_config(EXAMPLES / "pnet.toml")
