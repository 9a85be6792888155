"""Two small networks for scikit-learn's 8x8 digits, and the images they are probed on.

`mlp100` has 100 hidden and output units (70 + 20 + 10), `cnn` two small convolutions. Train them
again with `python train_digits.py`; decompile them with the two `.toml` files of this folder.

The 1797 images are split once into 1257 for training and probing and 540 for testing. The split is
stratified by digit and drawn here from a fixed seed, so that no other library can change it.
"""

from collections import OrderedDict

import numpy as np
from torch import Tensor, nn

TRAIN, TEST = 1257, 540
SPLIT_SEED = 1797
FULL_INK = 16.0  # the darkest pixel of the data set

Probes = tuple[np.ndarray, np.ndarray]


class Mlp100(nn.Module):
    """64 pixels to 70, 20 and 10 units; ReLU on the first two, logits from the last."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 70)
        self.relu1 = nn.ReLU()
        self.fc2 = nn.Linear(70, 20)
        self.relu2 = nn.ReLU()
        self.out = nn.Linear(20, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, 10) of pixels (N, 64), each pixel 0 (paper) to 1 (ink)."""
        hidden = self.relu1(self.fc1(pixels))
        return self.out(self.relu2(self.fc2(hidden)))


def mlp100() -> nn.Module:
    """An untrained `Mlp100`: (N, 64) to (N, 10)."""
    return Mlp100()


def cnn() -> nn.Module:
    """An untrained network of two 3x3 convolutions, each pooled: (N, 1, 8, 8) to (N, 10)."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 8, 3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(8, 16, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            out=nn.Linear(16 * 2 * 2, 10),
        )
    )


def pixels() -> Probes:
    """The 1257 training images as (1257, 64) float32 in 0..1, with their digits (1257,) int64."""
    return _load(split()[0])


def pixels_test() -> Probes:
    """The 540 test images as (540, 64) float32 in 0..1, with their digits (540,) int64."""
    return _load(split()[1])


def images() -> Probes:
    """`pixels`, as maps (1257, 1, 8, 8)."""
    return _as_maps(pixels())


def images_test() -> Probes:
    """`pixels_test`, as maps (540, 1, 8, 8)."""
    return _as_maps(pixels_test())


def split() -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices into `load_digits` of the 1257 training and the 540 test images."""
    _, digits = _load(np.arange(TRAIN + TEST))
    return stratified_split(digits, TEST, np.random.default_rng(SPLIT_SEED))


def stratified_split(
    labels: np.ndarray, held: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split indices of labels (N,) into N - held and held, with near equal shares of each label.

    The samples of each label, in random order, are spread evenly over the unit interval; the first
    `held` of all of them are held out.
    """
    if not 0 <= held <= len(labels):
        raise ValueError(f"held={held}: expected 0 to {len(labels)}, the number of labels")
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.argsort(position, kind="stable")
    return np.sort(order[held:]), np.sort(order[:held])


def _load(indices: np.ndarray) -> Probes:
    from sklearn.datasets import load_digits

    data, digits = map(np.asarray, load_digits(return_X_y=True))
    return (data[indices] / FULL_INK).astype(np.float32), digits[indices].astype(np.int64)


def _as_maps(probes: Probes) -> Probes:
    inputs, digits = probes
    return inputs.reshape(-1, 1, 8, 8), digits
