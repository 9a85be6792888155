"""The two LeNets of DeepXplore (Pei et al. 2017) and MNIST, from a folder that the user has."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import nn

ROOT = Path(__file__).parents[2]

LAYERS = {"lenet1": ("conv1", "conv2", "out"), "lenet5": ("conv1", "conv2", "fc1", "fc2", "out")}
MAPS = {"lenet1": (4, 12), "lenet5": (6, 16)}
DENSE = {"lenet1": (10,), "lenet5": (120, 84, 10)}

PROBES = 10_000
MAX_FVU, MAX_ERROR = 1.0, 64.0  # what is held by the outputs alone: see benchmarks/lenets.py


def files(data: Path, name: str) -> tuple[Path, Path]:
    """The weights of a network, and MNIST."""
    return data / "nets" / f"mnist_{name}.safetensors", data / "data" / "mnist.npz"


def network(data: Path, name: str) -> nn.Module:
    """ "lenet1" or "lenet5", trained: (N, 1, 28, 28) of numbers in [0, 1] to (N, 10)."""
    layers = dict(zip(LAYERS[name], _layers(name), strict=True))
    state = load_file(files(data, name)[0])
    for layer, module in layers.items():
        own = module.state_dict()
        values = {key: state[f"{layer}.{key}"].reshape(own[key].shape) for key in own}
        module.load_state_dict(values)
    *hidden, last = layers.values()
    convolutions = [m for m in hidden if isinstance(m, nn.Conv2d)]
    dense = [m for m in hidden if isinstance(m, nn.Linear)]
    maps = [part for m in convolutions for part in (m, nn.ReLU(), nn.MaxPool2d(2))]
    rest = [part for m in dense for part in (m, nn.ReLU())]
    return nn.Sequential(*maps, nn.Flatten(), *rest, last)


def probes(data: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` training images (count, 1, 28, 28) float32 and their labels."""
    return _images(data, "train", count)


def unseen(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """All 10,000 test images and their labels."""
    return _images(data, "test", None)


def case(folder: Path, data: Path, name: str) -> Path:
    """A configuration in a folder: a network, trained, that is probed on training images and judged
    on the test images; ε and the FVU of a unit do not decide."""
    (folder / "case.py").write_text(
        f"import sys\nfrom functools import partial\nfrom pathlib import Path\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"from benchmarks.networks import lenets\n"
        f"data = Path({str(data.absolute())!r})\n"
        f"network = partial(lenets.network, data, {name!r})\n"
        f"probes = partial(lenets.probes, data, {PROBES})\n"
        f"unseen = partial(lenets.unseen, data)\n",
        encoding="utf-8",
    )
    config = folder / "case.toml"
    config.write_text(
        '[network]\nfactory = "case.py:network"\n'
        '[probes]\ninputs = "case.py:probes"\ntest_inputs = "case.py:unseen"\n'
        f"[search]\nmax_fvu = {MAX_FVU}\nmax_error = {MAX_ERROR}\n",
        encoding="utf-8",
    )
    return config


def _images(data: Path, part: str, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    with np.load(files(data, "lenet1")[1]) as arrays:
        images, labels = arrays[f"x_{part}"][:count], arrays[f"y_{part}"][:count]
    return images[:, None].astype(np.float32) / 255, labels.astype(np.int64)


def _layers(name: str) -> list[nn.Module]:
    first, second = MAPS[name]
    sizes = (7 * 7 * second, *DENSE[name])
    dense = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    maps = [nn.Conv2d(1, first, 5, padding=2), nn.Conv2d(first, second, 5, padding=2)]
    return [*maps, *dense]
