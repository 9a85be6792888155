"""How the function of a layer reads its source: column by column, or through a sliding window."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from synth.layers import Geometry, Layer
from synth.layout import assign, unpack

WEIGHTS = "WEIGHTS"
"""What the emitted file calls the tensors that its text does not hold."""

_NEUTRAL = (("stride", (1, 1)), ("dilation", (1, 1)), ("padding", (0, 0)))


@dataclass(frozen=True, eq=False)
class Reading(ABC):
    """A layer that reads the tensor named `source` of `ranks[0]` and returns one of `ranks[1]`.

    A unit is computed on *fields*, one of each channel, all of one shape (N, *size). `matrix` says
    that the stored weight of the layer is a matrix, not a kernel; `channels_name` is what the
    function `channels` is called.
    """

    layer: Layer
    source: str
    ranks: tuple[int, int]
    matrix: bool
    channels_name: str

    @property
    @abstractmethod
    def size(self) -> tuple[int, ...]:
        """The shape of a field without the batch."""

    @property
    @abstractmethod
    def back(self) -> str:
        """What makes a tensor of the layer's own rank from stacked fields."""

    @abstractmethod
    def unpacked(self, targets: Sequence[str], channels: Sequence[int]) -> str:
        """The statement that names the fields of some channels of the source."""

    @abstractmethod
    def product(self, rows: Sequence[int]) -> str:
        """An expression for rows of the layer's stored weight, stacked fields (N, R, *size)."""

    @property
    def maps(self) -> str:
        """The source as maps (N, C, H, W)."""
        return self.source + {2: "[:, :, None, None]", 3: "[:, :, None]", 4: ""}[self.ranks[0]]

    def unused_too(self, targets: Sequence[str], channels: Sequence[int]) -> list[str]:
        """Targets for all channels, `_` where unused; empty where a list of the used is shorter."""
        names = dict(zip(channels, targets, strict=True))
        count = self.layer.in_shape[0]
        return [names.get(c, "_") for c in range(count)] if count < 2 * len(channels) > 2 else []

    def convolution(self, rows: Sequence[int]) -> str:
        weight, bias = self.stored(rows)
        layer = self.layer
        if self.matrix:
            weight += f".unflatten(1, {(layer.in_shape[0], *layer.geometry.window)})"
        parts = [self.maps, weight, bias, *geometry_text(layer.geometry)]
        return f"torch.nn.functional.conv2d({', '.join(parts)})"

    def stored(self, rows: Sequence[int]) -> tuple[str, str]:
        """Rows of weight and bias."""
        part = "" if list(rows) == list(range(self.layer.units)) else f"[{list(rows)}]"
        weight, bias = (json.dumps(f"{self.layer.name}.{kind}") for kind in ("weight", "bias"))
        return f"{WEIGHTS}[{weight}]{part}", f"{WEIGHTS}[{bias}]{part}"


class Columns(Reading):
    """Each unit reads its own position: channels are unbound and nothing else."""

    @property
    def size(self) -> tuple[int, ...]:
        return self.layer.out_shape[5 - self.ranks[1] :]

    @property
    def back(self) -> str:
        return ""

    @property
    def flat(self) -> str:
        """The source without the rows and columns that a dense layer does not have."""
        return f"{self.source}.flatten(1)" if self.ranks[0] > self.ranks[1] else self.source

    def unpacked(self, targets: Sequence[str], channels: Sequence[int]) -> str:
        if len(channels) == 1:
            return assign(targets[0], f"{self.flat}[:, {channels[0]}]")
        every = self.unused_too(targets, channels)
        part = "" if every else f"[:, {list(channels)}]"
        return unpack(every or targets, f"{self.flat}{part}.unbind(1)")

    def product(self, rows: Sequence[int]) -> str:
        if self.ranks[1] == 2:
            return f"torch.nn.functional.linear({self.flat}, {', '.join(self.stored(rows))})"
        return self.convolution(rows) + (".squeeze(2)" if self.ranks[1] == 3 else "")


class Windows(Reading):
    """Each unit reads a window of the maps, zero padded."""

    @property
    def size(self) -> tuple[int, ...]:
        return self.layer.out_shape[1:]

    @property
    def back(self) -> str:
        return {2: ".flatten(1)", 3: ".squeeze(2)", 4: ""}[self.ranks[1]]

    def unpacked(self, targets: Sequence[str], channels: Sequence[int]) -> str:
        window = f"window={self.layer.geometry.window}"
        every = self.unused_too(targets, channels)
        listed = f"range({len(every)})" if every else str(list(channels))
        parts = [self.maps, listed, window, *geometry_text(self.layer.geometry)]
        return unpack(every or targets, f"{self.channels_name}({', '.join(parts)})")

    def product(self, rows: Sequence[int]) -> str:
        return self.convolution(rows)


def geometry_text(geometry: Geometry) -> list[str]:
    """The keywords of a geometry that differ from the usual."""
    pairs = ((name, getattr(geometry, name), usual) for name, usual in _NEUTRAL)
    return [f"{name}={value}" for name, value, usual in pairs if value != usual]
