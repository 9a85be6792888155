"""SqueezeNet v1.0 (Iandola et al. 2016) and 500 photographs, from a folder that the user has."""

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

SIZE = 227
MEANS = (104.0, 117.0, 123.0)  # of blue, green and red
FIRES = {
    "fire2": (96, 16, 64),
    "fire3": (128, 16, 64),
    "fire4": (128, 32, 128),
    "fire5": (256, 32, 128),
    "fire6": (256, 48, 192),
    "fire7": (384, 48, 192),
    "fire8": (384, 64, 256),
    "fire9": (512, 64, 256),
}  # channels in, squeezed and of each half
POOLED = ("fire4", "fire8")  # before the next


def files(data: Path) -> tuple[Path, Path]:
    """The weights and the photographs."""
    return data / "nets" / "imagenet_squeezenet10.safetensors", data / "data" / "imagenet500.npz"


class Fire(nn.Module):
    """A narrow layer, then two wide ones beside each other."""

    def __init__(self, channels: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        narrow = self.squeeze(maps).relu()
        return torch.cat([self.expand1x1(narrow).relu(), self.expand3x3(narrow).relu()], 1)


class SqueezeNet(nn.Module):
    """(N, 3, 227, 227), blue, green and red less their means, to (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=2)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        for name, sizes in FIRES.items():
            setattr(self, name, Fire(*sizes))
        self.conv10 = nn.Conv2d(512, 1000, 1, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(self.conv1(images).relu())
        for name in FIRES:
            maps = getattr(self, name)(maps)
            if name in POOLED:
                maps = self.pool(maps)
        return self.conv10(maps).relu().mean((2, 3))


def network(data: Path) -> nn.Module:
    """The network as it was trained, pruned and quantised (Han, Mao and Dally 2016)."""
    net = SqueezeNet()
    net.load_state_dict(load_file(files(data)[0]))
    return net


def images(
    data: Path, rows: slice, *, means: Sequence[float] = MEANS
) -> tuple[np.ndarray, np.ndarray]:
    """Some of the photographs, (n, 3, 227, 227) float32 as a network reads them, and labels."""
    with np.load(files(data)[1]) as arrays:
        offsets, labels = arrays["offsets"], arrays["label"].astype(np.int64)
        content = arrays["png"].tobytes()
    spans = list(pairwise(offsets))[rows]
    pictures = [_pixels(content[start:stop], means) for start, stop in spans]
    return np.stack(pictures), labels[rows]


def _pixels(png: bytes, means: Sequence[float]) -> np.ndarray:
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float32)
    mirrored = picture[:, :, ::-1] - np.array(means, dtype=np.float32)
    return np.ascontiguousarray(mirrored.transpose(2, 0, 1))
