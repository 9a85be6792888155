"""Networks and probes of graded size, with random weights: what `benchmarks/scaling.py` runs."""

import numpy as np
import torch
from torch import Tensor, nn

CLASSES = 10
FAN = 64
PROBES = 3000  # for networks of graded size


class MeanReadout(nn.Module):
    """A hidden layer of `units` ReLUs of 64 inputs; ten answers are means of a tenth of them."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(FAN, units)
        self.scale = units**0.5

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.hidden(x))
        return self.scale * hidden.reshape(-1, CLASSES, hidden.shape[1] // CLASSES).mean(2)


class Maps(nn.Module):
    """Two small convolutions over 8 × 8 maps and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return 8 * self.conv2(torch.relu(self.conv1(x))).mean((2, 3))


def network(what: str, size: int) -> nn.Module:
    """A network of `size` hidden units, or one of fixed size where `what` is "probes"."""
    torch.manual_seed(0)
    return MeanReadout(size) if what == "units" else Maps()


def inputs(what: str, size: int) -> np.ndarray:
    """Its probes (N, ...) float32, `size` of them where `what` is "probes"."""
    shape = (PROBES, FAN) if what == "units" else (size, 1, 8, 8)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
