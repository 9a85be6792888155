"""GoogLeNet (InceptionV1; Szegedy et al. 2015) with torchvision's weights, and your photographs.

This package does not depend on torchvision: install it beside torch (`pip install torchvision`). It
keeps the weights in its own cache. The photographs are yours: see `pictures.py`. Without labels the
network's own answers stand for them.
"""

from collections.abc import Iterator

import numpy as np
from pictures import pictures
from torch import nn

SIDE, SHARE = 224, 224 / 256  # the centre of a picture whose shorter side is 256
MEAN = np.array((0.485, 0.456, 0.406), dtype=np.float32)  # of red, green and blue in 0..1
DEVIATION = np.array((0.229, 0.224, 0.225), dtype=np.float32)


def network() -> nn.Module:
    """torchvision's GoogLeNet, trained on ImageNet: (N, 3, 224, 224) to logits (N, 1000).

    ModuleNotFoundError where torchvision is missing.
    """
    try:
        from torchvision.models import googlenet  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "torchvision, which has GoogLeNet and its weights, is not installed here; install the "
            "version that belongs to your torch: pip install torchvision"
        ) from error
    return googlenet(weights="IMAGENET1K_V1").eval()


def images() -> Iterator[np.ndarray]:
    """Your pictures one by one, (1, 3, 224, 224) float32 as the network reads them."""
    for picture in pictures(SIDE, share=SHARE):
        pixels = (picture / 255 - MEAN) / DEVIATION
        yield np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]
