"""GoogLeNet (InceptionV1; Szegedy et al. 2015) with random weights, and images of 1/f noise."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.append(str(Path(__file__).parents[2] / "tests" / "synth"))

from families import googlenet  # pyright: ignore[reportMissingImports]

SIDE = 224
CALIBRATION = 16  # images that batch norms are set on
BATCH = 25


def images(count: int, seed: int) -> Iterator[np.ndarray]:
    """Batches (n, 3, 224, 224) float32 of noise as photographs have."""
    return noise_images(count, 3, SIDE, seed)


def noise_images(count: int, channels: int, side: int, seed: int) -> Iterator[np.ndarray]:
    """Batches (n, channels, side, side) float32 of noise whose amplitude falls as 1/f, of unit
    variance."""
    generator = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / side)
    for start in range(0, count, BATCH):
        shape = (min(BATCH, count - start), channels, *amplitude.shape)
        spectrum = amplitude * (generator.normal(size=shape) + 1j * generator.normal(size=shape))
        noise = np.fft.irfft2(spectrum, s=(side, side))
        yield (noise / noise.std((1, 2, 3), keepdims=True)).astype(np.float32)


def network() -> nn.Module:
    """The network with random weights and the batch norms that some images give it."""
    torch.manual_seed(0)
    module = googlenet()
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the mean over all batches
            nn.init.normal_(part.bias, std=0.3)
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.3)  # answers that differ between images
    with torch.no_grad():
        for batch in images(CALIBRATION, seed=1):
            module.train()(torch.from_numpy(batch))
    return module.eval()
