"""What stimuli are shown on: the probes' mean, their range, and a direction of colour."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from grammars.grammar import load_grammar
from synth.batches import WIDEST, Batch, Inputs, batch_size
from synth.errors import InputError, nearest
from synth.kernels.colours import axes_of
from synth.network import Network
from synth.stimuli.families import Stimuli

EVERY = "all"  # the colour that moves all channels together


@dataclass(frozen=True, eq=False)
class Screen:
    """A background (C,), the values (C,) that it may be left for, and the way that light goes (C,).

    Contrast is the largest that keeps a picture within the range in every channel: that of light,
    and that of dark; what goes both ways has the smaller of the two on either side.
    """

    size: tuple[int, int]
    background: np.ndarray
    low: np.ndarray
    high: np.ndarray
    direction: np.ndarray
    device: str = "cpu"

    @property
    def light(self) -> float:
        """How far along the direction a picture may go."""
        return _reach(self.direction, self.background - self.low, self.high - self.background)

    @property
    def dark(self) -> float:
        """How far against it."""
        return _reach(-self.direction, self.background - self.low, self.high - self.background)

    def pictures(self, stimuli: Stimuli, centre: tuple[float, float]) -> np.ndarray:
        """Inputs (S, C, H, W) float32 of a network, with the stimuli about (row, column)."""
        patterns = stimuli.patterns(self.size, centre)
        contrast = self._contrasts(stimuli)[:, None, None] * patterns
        shown = contrast[:, None] * self.direction[:, None, None]
        shown += self.background[:, None, None]
        low, high = self.low[:, None, None], self.high[:, None, None]
        return np.clip(shown, low, high).astype(np.float32)

    def batches(self, stimuli: Stimuli, centre: tuple[float, float]) -> Iterator[Batch]:
        """The same, some at a time, on the device."""
        count = batch_size(WIDEST * len(self.background) * math.prod(self.size))
        for start in range(0, len(stimuli), count):
            some = stimuli.take(slice(start, start + count))
            yield Inputs((self.pictures(some, centre),), device=self.device).batch()

    def figures(self) -> dict[str, Any]:
        """What `tuning.json` says of it."""
        arrays = {
            key: getattr(self, key).tolist() for key in ("background", "low", "high", "direction")
        }
        return arrays | {"light": self.light, "dark": self.dark}

    def _contrasts(self, stimuli: Stimuli) -> np.ndarray:
        sign = stimuli.column("sign")
        if sign is None:
            return np.full(len(stimuli), min(self.light, self.dark))
        return np.where(sign > 0, self.light, self.dark)


def screen_of(network: Network, probes: Inputs, *, colour: str = EVERY) -> Screen:
    """The screen of a network whose input is an image, from what `probes` show.

    `colour` is "all", by which every channel moves in proportion to its own range, or a named axis
    of an image of three channels. Raises InputError: no image, no such colour, or no contrast.
    """
    shape = _image(network)
    mean, low, high = _seen(probes)
    direction = _direction(colour, shape[0]) * (high - low)
    if not direction.any():
        raise InputError(f"the probes have one value in every channel that {colour!r} moves.")
    direction = direction / np.abs(direction).max()
    screen = Screen(shape[1:], mean, low, high, direction, probes.device)
    if max(screen.light, screen.dark) == 0:
        raise InputError(f"the probes' mean leaves no contrast along {colour!r}.")
    return screen


def colours(channels: int) -> dict[str, np.ndarray]:
    """The directions (C,) that pictures of so many channels can be drawn along, by name."""
    grammar = load_grammar(tags=("colour",), installed=False)
    named = {}
    for axis in axes_of(grammar, "image", channels):
        turned = dict(axis.source.params).get("bgr") == 1
        named[f"{axis.source.op}_bgr" if turned else axis.source.op] = axis.weights
    return {EVERY: np.ones(channels)} | named


def _direction(colour: str, channels: int) -> np.ndarray:
    known = colours(channels)
    if colour not in known:
        raise InputError(
            f"colour {colour!r} is none of an image of {channels} channels.{nearest(colour, known)}"
        )
    return known[colour]


def _image(network: Network) -> tuple[int, int, int]:
    """The shape (C, H, W) of the network's input. Raises InputError where it is no image."""
    shapes = network.input_shapes
    if len(shapes) == 1 and len(shapes[0]) == 3 and min(shapes[0][1:]) > 1:
        channels, height, width = shapes[0]
        return channels, height, width
    found = ", ".join(str(shape) for shape in shapes)
    raise InputError(
        f"stimuli are pictures, and the network reads {found} a sample: expected one input "
        "(C, H, W) with rows and columns. Only networks that read images can be tuned."
    )


def _seen(probes: Inputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean, the least and the largest value (C,) of the probes' channels, in float64."""
    total, low, high = 0.0, np.inf, -np.inf
    for (batch,) in probes.batches():
        values = batch.cpu().numpy()
        total = total + values.sum((0, 2, 3), dtype=np.float64)
        low = np.minimum(low, values.min((0, 2, 3)).astype(np.float64))
        high = np.maximum(high, values.max((0, 2, 3)).astype(np.float64))
    mean = np.asarray(total) / (len(probes) * math.prod(probes.shapes[0][1:]))
    return np.clip(mean, low, high), np.asarray(low), np.asarray(high)


def _reach(direction: np.ndarray, below: np.ndarray, above: np.ndarray) -> float:
    """The largest multiple of a direction that stays within a range below and above 0."""
    room = np.where(direction > 0, above, below)[direction != 0]
    return float((room / np.abs(direction[direction != 0])).min())
