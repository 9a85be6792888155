"""P-Net, the first of the three networks of MTCNN (Zhang et al. 2016), which finds faces.

The weights come with the package `mtcnn` (MIT licence), the pictures with `scikit-image`; nothing
is downloaded. P-Net slides over a picture at many sizes. Here it reads one window of 12 x 12
pixels and says whether that is a face, and how to move the window onto it.

It is probed on windows of photographs and judged on the 200 pictures of `lfw_subset`, of which the
first 100 are faces. Those are 25 x 25 and grey; none of them is among the probes.
"""

from collections import OrderedDict
from collections.abc import Sequence
from types import ModuleType
from typing import TypeVar

import numpy as np
import torch
from installed import package_file
from torch import Tensor, nn

SIDE = 12  # pixels of the window
STRIDE = 2  # pixels from one window to the next, because of the pooling
LARGEST, SMALLER = 0.5, 0.5**0.5  # sizes at which a photograph is looked at
EACH = 200  # windows of a photograph by chance, and as many that look most like faces
SEED = 12
PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "cat",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "rocket",
)

Arrays = tuple[np.ndarray, np.ndarray]
Network = TypeVar("Network", bound=nn.Module)


class PNet(nn.Module):
    """Three convolutions without padding and two heads: (N, 3, 12, 12) to one position."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.prelu3 = nn.PReLU(32)
        self.box = nn.Conv2d(32, 4, 1)
        self.face = nn.Conv2d(32, 2, 1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Of pixels (N, 3, H, W), RGB as (value − 127.5)/128: `face` (N, 2, h, w), probabilities of
        no face and of a face, and `box` (N, 4, h, w), shifts of left, top, right and bottom in
        windows. h = w = 1 for one window."""
        maps = self.pool1(self.prelu1(self.conv1(pixels)))
        maps = self.prelu3(self.conv3(self.prelu2(self.conv2(maps))))
        return {"face": self.face(maps).softmax(1), "box": self.box(maps)}


def network() -> nn.Module:
    """P-Net with the weights of the package mtcnn."""
    return loaded(PNet(), "pnet")


def loaded(module: Network, name: str) -> Network:
    """A network of MTCNN with the weights of the package, the layers in the order of their list.

    They are a pickled list, and unpickling runs what the package's authors put there: it is read
    because you have installed that package. TensorFlow, which the package wants, is not needed.
    """
    import joblib

    arrays = joblib.load(package_file("mtcnn", f"assets/weights/{name}.lz4"))
    names = module.state_dict()  # weight, bias and slopes
    values = (_as_torch(array) for array in arrays)
    module.load_state_dict(OrderedDict(zip(names, values, strict=True)))
    return module.eval()


def _as_torch(array: np.ndarray) -> Tensor:
    """A kernel from (down, right, in, out) to (out, in, down, right), a matrix from (in, out) to
    (out, in), slopes (1, 1, C) to (C,)."""
    if array.ndim == 2:
        return torch.from_numpy(np.ascontiguousarray(array.T))
    kernel = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.ravel()
    return torch.from_numpy(np.ascontiguousarray(kernel))


def windows() -> np.ndarray:
    """Windows (4000, 3, 12, 12) float32 of ten photographs, 400 of each."""
    return windows_of(network(), SIDE, STRIDE)


def windows_of(module: nn.Module, side: int, stride: int) -> np.ndarray:
    """Windows (4000, 3, side, side) float32 of ten photographs, 400 of each.

    Half are drawn from all places and sizes; of the other half the network thinks most that they
    are faces, since windows drawn by chance hardly ever look like one.
    """
    data = _pictures()
    found, chance = [], np.random.default_rng(SEED)
    for name in PHOTOGRAPHS:
        every = _all_windows(getattr(data, name)(), side, stride)
        with torch.no_grad():
            answers = (module(part)["face"].flatten(1)[:, 1] for part in every.split(4096))
            faces = torch.cat(list(answers))
        drawn = torch.from_numpy(chance.choice(len(every), EACH, replace=False))
        found += [every[drawn], every[faces.topk(EACH).indices]]
    return torch.cat(found).numpy()


def faces() -> Arrays:
    """The 200 pictures of `lfw_subset` as windows (200, 3, 12, 12) float32; 1 for faces (200,)."""
    return pictures_of_faces(SIDE)


def pictures_of_faces(side: int) -> Arrays:
    """The same as windows (200, 3, side, side)."""
    pictures = _pictures().lfw_subset() * 255.0  # (200, 25, 25)
    grey = np.stack([_resized(picture, (side, side)) for picture in pictures])
    windows = np.repeat(_normalised(grey)[:, None], 3, axis=1)
    return windows, (np.arange(len(windows)) < 100).astype(np.int64)


def _pictures() -> ModuleType:
    """skimage.data, whose pictures of these names are files of the package."""
    package_file("skimage", "data/lfw_subset.npy")
    from skimage import data

    return data


def _all_windows(picture: np.ndarray, side: int, stride: int) -> Tensor:
    """Windows (n, 3, side, side) of a picture (H, W) or (H, W, 3) of 0..255, at all sizes."""
    colours = np.broadcast_to(picture.reshape(*picture.shape[:2], -1), (*picture.shape[:2], 3))
    levels, scale = [], LARGEST
    while scale * min(picture.shape[:2]) >= 2 * side:
        size = [round(scale * length) for length in picture.shape[:2]]
        pixels = torch.from_numpy(_normalised(_resized(colours, size)))
        places = pixels.unfold(0, side, stride).unfold(1, side, stride)
        levels.append(places.reshape(-1, 3, side, side))
        scale *= SMALLER
    return torch.cat(levels)


def _resized(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    from skimage.transform import resize

    return np.asarray(resize(picture.astype(np.float64), size, anti_aliasing=True))


def _normalised(pixels: np.ndarray) -> np.ndarray:
    return ((pixels - 127.5) / 128).astype(np.float32)
