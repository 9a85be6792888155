"""A network whose units have no short programs, while directions of its bank have."""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from typed import Home


def reflected(*vector: int) -> np.ndarray:
    """|v|² times the reflection that negates v, in integers."""
    row = np.array(vector)
    return row @ row * np.eye(len(row), dtype=int) - 2 * np.outer(row, row)


# Exact, and so the same on every machine: a factorisation would depend on its library's last bit.
TURNED = reflected(1, 2, 3, -1, 2, 1) @ reflected(2, 1, -1, 3, 1, 2)
SCALE = 20 * 20
ROTATION = TURNED / SCALE

CONFIG = """
[network]
factory = "net.py:network"
[probes]
inputs = "net.py:probes"
[search]
basis = "directions.safetensors"
budget = 130
max_fvu = 0.01
[run]
controls = []
"""


def planted() -> tuple[np.ndarray, np.ndarray]:
    """(6, 10) weights and (6,) biases of six sparse units, on a grid of eighths."""
    generator = np.random.default_rng(1)
    weight = np.zeros((6, 10))
    for row in weight:
        places = generator.choice(10, 3, replace=False)
        row[places] = generator.integers(3, 13, 3) * generator.choice([-1, 1], 3) / 8
    return weight, generator.integers(-4, 5, 6) / 8


def network() -> nn.Module:
    """Its units in "fc1" are the planted ones, rotated: each reads all inputs."""
    weight, bias = planted()
    first, last = nn.Linear(10, 6), nn.Linear(6, 3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        first.weight.copy_(torch.tensor(TURNED.T @ weight / SCALE))
        first.bias.copy_(torch.tensor(TURNED.T @ bias / SCALE))
        last.weight.copy_(torch.randn(3, 6, generator=generator))
        last.bias.copy_(torch.tensor([0.5, 0.25, 0.0]))
    return nn.Sequential(OrderedDict(fc1=first, relu=nn.ReLU(), fc2=last))


def probes() -> tuple[torch.Tensor, torch.Tensor]:
    inputs = torch.rand(400, 10, generator=torch.Generator().manual_seed(5)) * 2 - 1
    return inputs, network()(inputs).argmax(1)


def project(folder: Path, *, scale: float = 0.5) -> Home:
    """A folder with the network, its directions and a configuration, `net.toml`.

    Directions of the pre-activations turn the rotation back; those of the activations are sums of
    two units, nearly so, and the negation of the first.
    """
    folder.mkdir(exist_ok=True)
    (folder / "net.py").write_text("from directed import network, probes\n")
    (folder / "net.toml").write_text(CONFIG)
    pairs = torch.zeros(3, 6)
    pairs[0, 1], pairs[0, 4] = scale, -0.25
    pairs[1] = torch.tensor([1.0, 0.001, 0.0, 0.5, 0.0, -0.002])
    pairs[2] = -pairs[0]
    save_file(
        {"fc1:pre": torch.tensor(ROTATION), "fc1": pairs},
        folder / "directions.safetensors",
        metadata={"fc1": json.dumps(["a pair", "nearly a pair", "no pair"])},
    )
    return Home(folder)
