"""Networks with random weights, each with the layers and opaque nodes that reading must find."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from synth.network import Network, read_network


class Residual(nn.Module):
    """Two convolutions with batch norm, an in-place residual sum and in-place activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.output = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(self.conv1(x)), inplace=True)
        b = self.bn2(self.conv2(a))
        b += a
        return self.output(torch.flatten(self.pool(F.relu(b, inplace=True)), 1))


class Functional(nn.Module):
    """Functional calls on bare parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, 1, 3, 3))
        self.matrix = nn.Parameter(torch.randn(4, 3 * 36))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.clamp(F.conv2d(x, self.kernel), min=0)
        return torch.tanh(F.linear(x.view(x.size(0), -1), self.matrix))


class Reused(nn.Module):
    """One module called three times, with a name that a second call must not clash with."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 5)
        self.linear = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.fc(F.relu(self.fc(torch.sigmoid(self.fc(x))))))


class Strange(nn.Module):
    """A grouped convolution and operations that we do not know, between layers that we do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.grouped = nn.Conv2d(6, 6, 3, groups=3)
        self.fc = nn.Linear(6 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.grouped(F.relu(self.conv(x))))
        x = torch.sort(self.fc(x.flatten(1)), dim=1)[0]
        return torch.fft.fft(x).real + x


class SharedWrite(nn.Module):
    """An in-place activation through a view, seen by a reader of the original tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.bn = nn.BatchNorm2d(2)
        self.fc = nn.Linear(2 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        x.view(x.size(0), -1).relu_()
        return self.fc(x.flatten(1))


class WritesInput(nn.Module):
    """An operation that overwrites the input, which is read once more afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mul_(2)) + F.relu(self.fc(x))


class Awkward(nn.Module):
    """Modules and inputs whose names want to be the same."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Linear(4, 4)
        self.relu = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(x + self.x(x))
        return self.relu(y)


class Branches(nn.Module):
    """A convolution whose output two readers want before any activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(4 * 16, 2)

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv(x)
        return self.fc(torch.cat([F.relu(a), F.relu(-1.0 * a)], 1).flatten(1))


def activations() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 5),
        nn.PReLU(5),
        nn.Linear(5, 5),
        nn.LeakyReLU(0.2),
        nn.Dropout(),
        nn.Linear(5, 5),
        nn.ReLU6(),
        nn.Linear(5, 5),
        nn.Sigmoid(),
        nn.Linear(5, 5),
        nn.Hardtanh(-0.5, 0.25),
        nn.Linear(5, 5),
        nn.Tanh(),
        nn.Linear(5, 4),
        nn.GELU(),
    )


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.BatchNorm2d(5, affine=False),
        nn.PReLU(),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(5 * 9, 3),
    )


def geometries() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)),
        nn.ReLU(),
        nn.Conv2d(3, 3, 3, padding="same", dilation=2),
        nn.Conv2d(3, 4, 2, padding="valid"),
        nn.AvgPool2d(2),
        nn.ReLU(),
    )


def sequence() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, 4, 5, stride=2, padding=2, dilation=1),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Conv1d(4, 2, 1),
        nn.Flatten(),
        nn.Linear(10, 3),
    )


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    layers: tuple[str, ...]
    opaque: tuple[str, ...] = ()
    exact: bool = True  # the graph is not rewritten, and so equal to the module bit for bit

    def __str__(self) -> str:
        return self.make.__name__


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def image_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))


def normed() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Linear(4, 3)), nn.ReLU())


def asymmetric() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 2, padding="same"), nn.ReLU(), nn.Conv2d(2, 1, 1))


def reflected() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), nn.ReLU())


CASES = (
    Case(mlp, (6,), ("0", "2")),
    Case(image_mlp, (1, 8, 8), ("1", "3")),
    Case(convolutional, (1, 8, 8), ("0", "4", "9")),
    Case(activations, (6,), ("0", "2", "5", "7", "9", "11", "13")),
    Case(geometries, (2, 9, 8), ("0", "2", "3")),
    Case(sequence, (3, 10), ("0", "3", "5")),
    Case(Residual, (2, 6, 6), ("conv1", "conv2", "output_")),
    Case(Functional, (1, 8, 8), ("conv2d", "linear")),
    Case(Reused, (5,), ("fc", "fc@2", "fc@3", "linear")),
    Case(Strange, (3, 8, 8), ("conv", "grouped", "fc"), ("sort", "fft_fft", "real")),
    Case(SharedWrite, (1, 6, 6), ("conv", "fc")),
    Case(Awkward, (4,), ("x", "relu")),
    Case(Branches, (1, 6, 6), ("conv", "fc")),
    Case(normed, (4,), ("0",)),
    Case(asymmetric, (1, 4, 4), ("0", "2"), exact=False),
    Case(WritesInput, (4,), ("fc", "fc@2")),
    Case(reflected, (1, 5, 5), ("0",)),
)


@cache
def read_case(case: Case) -> tuple[nn.Module, Network]:
    """The module and the network of a case, read once: nobody may change them."""
    torch.manual_seed(0)
    module = randomised(case.make())
    return module, read_network(module, torch.randn(1, *case.shape))


def randomised(module: nn.Module) -> nn.Module:
    """The module in eval mode with batch statistics that are not 0 and 1."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
        if isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, -0.5, 1.5)
    return module.eval()
