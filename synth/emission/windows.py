"""How the function of a layer reads its source: column by column, or through a sliding window."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from synth.emission.layout import assign, unpack
from synth.emission.rows import Rows, listed, part_of
from synth.layers import Geometry, Layer

_NEUTRAL = (("stride", (1, 1)), ("dilation", (1, 1)), ("padding", (0, 0)))
_FLATTER = ("", ".squeeze(2)", ".flatten(1)")  # maps with so many dimensions fewer


@dataclass(frozen=True, eq=False)
class Reading(ABC):
    """A layer that reads the tensor named `source` of `ranks[0]` and returns one of `ranks[1]`.

    A unit is computed on *fields*, one of each channel, all of one shape (N, *size);
    `channels_name` is what the function `channels` is called.
    """

    layer: Layer
    source: str
    ranks: tuple[int, int]
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

    def product(self, rows: Rows) -> str:
        """An expression for rows over the source, stacked fields (N, R, *size)."""
        if rows.matrix:
            axes = ["[:, :", *["None"] * len(self.size)]
            return self.matrix_product(rows) + (", ".join(axes) + "]") * bool(self.size)
        return self.convolution(rows) + _FLATTER[2 - len(self.size)]

    def maps(self, channels: Sequence[int] | None = None) -> str:
        """Channels of the source, by default all, as maps (N, C, H, W)."""
        part = ":" if channels is None else part_of(channels, self.layer.in_shape[0]) or ":"
        axes = [":", part, *["None"] * (4 - self.ranks[0])]
        return f"{self.source}[{', '.join(axes)}]" if axes != [":", ":"] else self.source

    def named(self, targets: Sequence[str], rows: Rows) -> str:
        """The statement that names the rows that are wanted of a product."""
        if rows.count == 1:
            return assign(targets[0], f"{self.product(rows)}[:, 0]")
        names = dict(zip(rows.wanted, targets, strict=True))
        every = [names.get(place, "_") for place in range(rows.count)]
        return unpack(every, f"{self.product(rows)}.unbind(1)")

    def together(self, rows: Rows) -> str:
        """The expression for the rows that are wanted, and no others, stacked in their order."""
        part = "" if rows.plain else f"[:, {listed(rows.wanted)}]"
        return f"{self.product(rows)}{part}"

    def unused_too(self, targets: Sequence[str], channels: Sequence[int]) -> list[str]:
        """Targets for all channels, `_` where unused; empty where a list of the used is shorter."""
        names = dict(zip(channels, targets, strict=True))
        count = self.layer.in_shape[0]
        return [names.get(c, "_") for c in range(count)] if count < 2 * len(channels) > 2 else []

    def matrix_product(self, rows: Rows) -> str:
        parts = [self.flat, *self.numbers(rows)]
        return f"torch.nn.functional.linear({', '.join(parts)})"

    def convolution(self, rows: Rows) -> str:
        details = geometry_text(self.layer.geometry, groups=rows.groups)
        parts = [self.maps(rows.channels), *self.numbers(rows), *details]
        return f"torch.nn.functional.conv2d({', '.join(parts)})"

    def numbers(self, rows: Rows) -> list[str]:
        """Weight and bias in the type of the source."""
        return [f"{part}.to({self.source})" for part in (rows.weight, rows.bias)]

    @property
    def flat(self) -> str:
        """The source as (N, F)."""
        return self.source if self.ranks[0] == 2 else f"{self.source}.flatten(1)"


class Columns(Reading):
    """Each unit reads its own position: channels are unbound and nothing else."""

    @property
    def size(self) -> tuple[int, ...]:
        return self.layer.out_shape[5 - self.ranks[1] :]

    @property
    def back(self) -> str:
        return ""

    def unpacked(self, targets: Sequence[str], channels: Sequence[int]) -> str:
        if len(channels) == 1:
            return assign(targets[0], f"{self.columns}[:, {channels[0]}]")
        every = self.unused_too(targets, channels)
        part = "" if every else f"[:, {list(channels)}]"
        return unpack(every or targets, f"{self.columns}{part}.unbind(1)")

    @property
    def columns(self) -> str:
        """The source without the rows and columns that a dense layer does not have."""
        return self.flat if self.ranks[0] > self.ranks[1] else self.source


class Windows(Reading):
    """Each unit reads a window of the maps, zero padded."""

    @property
    def size(self) -> tuple[int, ...]:
        return self.layer.out_shape[1:]

    @property
    def back(self) -> str:
        return _FLATTER[4 - self.ranks[1]]

    def unpacked(self, targets: Sequence[str], channels: Sequence[int]) -> str:
        window = f"window={self.layer.geometry.window}"
        every = self.unused_too(targets, channels)
        wanted = f"range({len(every)})" if every else str(list(channels))
        parts = [self.maps(), wanted, window, *geometry_text(self.layer.geometry)]
        return unpack(every or targets, f"{self.channels_name}({', '.join(parts)})")


def geometry_text(geometry: Geometry, *, groups: int = 1) -> list[str]:
    """The keywords of a geometry that differ from the usual."""
    pairs = ((name, getattr(geometry, name), usual) for name, usual in _NEUTRAL)
    found = [f"{name}={value}" for name, value, usual in pairs if value != usual]
    return found + [f"groups={groups}"] * (groups > 1)
