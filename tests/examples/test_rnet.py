"""R-Net as an example: its port answers as it should."""

import importlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch

from synth.config import load_config

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def rnet() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.import_module("rnet")
    for name in ("rnet", "pnet", "installed"):
        sys.modules.pop(name, None)


def test_all_pictures_are_told_right(rnet: ModuleType) -> None:
    """100 % of 200 with all 100,178 numbers, which no other order of the dense layer's gives."""
    for name in ("mtcnn", "skimage"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed; the extra 'examples' has it")
    (inputs, labels), module = rnet.faces(), rnet.network()
    assert inputs.shape == (200, 3, 24, 24)
    with torch.no_grad():
        found = module(torch.from_numpy(inputs))
    assert found["face"].argmax(1).tolist() == labels.tolist() and found["box"].shape == (200, 4)
    assert sum(v.numel() for v in module.state_dict().values()) == 100_178


def test_config_names_what_is_there(rnet: ModuleType) -> None:
    """The configuration is one, and its functions are those of `rnet.py`."""
    config = load_config(EXAMPLES / "rnet.toml")
    assert all(callable(getattr(rnet, name)) for name in ("network", "windows", "faces"))
    assert config.network.output == "face"
