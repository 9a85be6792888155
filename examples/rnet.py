"""R-Net, the second of the three networks of MTCNN: it looks again at what P-Net takes for a face.

As P-Net in `pnet.py`, with the same photographs and pictures, but of windows of 24 x 24 pixels.
"""

import numpy as np
from pnet import Arrays, loaded, pictures_of_faces, windows_of
from torch import Tensor, nn

SIDE, STRIDE = 24, 4


class RNet(nn.Module):
    """Three convolutions, a dense layer and two heads: (N, 3, 24, 24) to two answers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2)
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.dense = nn.Linear(64 * 3 * 3, 128)
        self.prelu4 = nn.PReLU(128)
        self.box = nn.Linear(128, 4)
        self.face = nn.Linear(128, 2)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Of pixels (N, 3, 24, 24), RGB as (value − 127.5)/128: `face` (N, 2), probabilities of no
        face and of a face, and `box` (N, 4), shifts of left, top, right and bottom in windows."""
        maps = self.pool1(self.prelu1(self.conv1(pixels)))
        maps = self.pool2(self.prelu2(self.conv2(maps)))
        units = self.prelu4(self.dense(self.prelu3(self.conv3(maps)).flatten(1)))
        return {"face": self.face(units).softmax(1), "box": self.box(units)}


def network() -> nn.Module:
    """R-Net with the weights of the package mtcnn, which reads its maps column by column."""
    module = loaded(RNet(), "rnet")
    weight = module.dense.weight.data.view(-1, 3, 3, 64)  # right, down, channel
    module.dense.weight.data = weight.permute(0, 3, 2, 1).flatten(1)
    return module


def windows() -> np.ndarray:
    """Windows (4000, 3, 24, 24) float32 of ten photographs, half of them those that look most like
    faces to R-Net."""
    return windows_of(network(), SIDE, STRIDE)


def faces() -> Arrays:
    """The 200 pictures of `lfw_subset` as windows (200, 3, 24, 24) float32; 1 for faces (200,)."""
    return pictures_of_faces(SIDE)
