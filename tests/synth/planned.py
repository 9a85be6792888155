"""A network to be planned: a grouped convolution, a sum of two banks and an opaque node."""

from pathlib import Path

from typed import Home, project

from synth.config import load_config
from synth.job import Job, load_job

CONVOLUTIONS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norm = nn.LayerNorm(64)
        self.fc = nn.Linear(64, 3)

    def forward(self, x):
        first = self.conv1(x).relu()
        return self.fc(self.norm((first + self.conv2(first).relu()).flatten(1)))


def network():
    torch.manual_seed(0)
    return Net()


def probes():
    return torch.rand(300, 2, 8, 8, generator=torch.Generator().manual_seed(5))


def few():
    return probes()[:40]
"""
SETTINGS = """
[network]
factory = "conv.py:network"
[probes]
inputs = "conv.py:probes"
"""


def conv_project(folder: Path) -> Home:
    """A folder with the network and its configuration."""
    home = project(folder)
    (home.folder / "conv.py").write_text(CONVOLUTIONS)
    (home.folder / "conv.toml").write_text(SETTINGS)
    return home


def conv_job(home: Home, **overrides: object) -> Job:
    """The job in such a folder, with keys as `run__jobs`."""
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_job(load_config(home.folder / "conv.toml", given))
