"""ReluDiff's MNIST network (Paulsen et al. 2020) and images, from a folder that the user has."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import nn

SIZES = (784, 100, 100, 10, 10)


def network(data: Path) -> nn.Module:
    """784-100-100-10-10, float32: (N, 784) of numbers in [0, 1] to (N, 10)."""
    state = load_file(data / "nets/mnist_relu_3_100.safetensors")
    module = nn.Sequential()
    for number, sizes in enumerate(pairwise(SIZES), 1):
        layer = nn.Linear(*sizes)
        layer.load_state_dict({key: state[f"fc{number}.{key}"] for key in ("weight", "bias")})
        module.add_module(f"fc{number}", layer)
        if number < len(SIZES) - 1:
            module.add_module(f"relu{number}", nn.ReLU())
    return module


def probes(data: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` training images (count, 784) float32 and their labels."""
    with np.load(data / "data/mnist.npz") as arrays:
        return _flat(arrays["x_train"][:count]), arrays["y_train"][:count].astype(np.int64)


def unseen(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """The benchmark's 100 images and their labels."""
    with np.load(data / "data/reludiff_mnist100.npz") as arrays:
        return _flat(arrays["images"]), arrays["labels"]


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255
