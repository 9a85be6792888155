"""Layers that are replaced in part, or that are interfered with: modules in their place."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class Mixed(nn.Module):
    """Maps of a layer, of which those `units` (U,) bool are computed by a replacement."""

    def __init__(self, own: nn.Module, replacement: nn.Module, units: np.ndarray) -> None:
        super().__init__()
        self.own, self.replacement = own, replacement
        self.register_buffer("units", torch.from_numpy(units)[:, None, None])

    def forward(self, maps: Tensor) -> Tensor:
        return torch.where(self.get_buffer("units"), self.replacement(maps), self.own(maps))


class Interfered(nn.Module):
    """Maps of a layer with some units made `factor` times themselves, plus a number each."""

    def __init__(
        self, module: nn.Module, channels: Sequence[int], factor: float, shifts: Sequence[float]
    ) -> None:
        super().__init__()
        self.module, self.channels, self.factor = module, list(channels), factor
        self.register_buffer("shifts", torch.tensor(shifts)[:, None, None])

    def forward(self, maps: Tensor) -> Tensor:
        values = self.module(maps).clone()
        shifts = self.get_buffer("shifts").to(values)
        values[:, self.channels] = self.factor * values[:, self.channels] + shifts
        return values
