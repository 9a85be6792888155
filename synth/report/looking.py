"""What the page shows of units on held-out probes, where the job of a run can be opened again.

No program was chosen by held-out, and nothing is chosen by this.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synth.assembly import LayerChoice, bank_module
from synth.batches import Inputs
from synth.errors import InputError
from synth.layers import Layer
from synth.network import Network
from synth.report.pictures import patch, rounded, side_for
from synth.report.responses import Peaks, responses
from synth.stimuli.field import Field, field_of

if TYPE_CHECKING:
    from synth.job import Job

PROBES = 256  # of held-out, drawn once, that are looked at
SHOWN = 6  # of the largest activations, and as many of the largest differences
PICTURE_BYTES = 6_000_000  # that all pictures of a report take together, about

Row = dict[str, Any]


class Looking:
    """The responses of all layers that have programs, and what of the pictures they looked at."""

    def __init__(self, job: "Job", choices: Sequence[LayerChoice]) -> None:
        own = [c for c in choices if not c.is_opaque]
        modules = {c.layer.name: bank_module(c, job.grammar) for c in own}
        self._probes = _drawn(job.parts.held_out.inputs, job.config.run.seed)
        self._responses = responses(job.network, modules, self._probes, seed=job.config.run.seed)
        self._pictures = pictures_of(self._probes)
        self._windows: dict[str, Window] = {}
        if self._pictures is not None:
            layers = [c.layer for c in own]
            self._windows = dict(_windows(job.network, layers, self._probes))
            self._scale = float(self._pictures.min()), float(self._pictures.max())
            count = 2 * SHOWN * sum(la.units for la in layers if la.name in self._windows)
            self._side = side_for(count, self._pictures.shape[1], PICTURE_BYTES)

    def row(self, layer: str, channel: int) -> Row | None:
        """What the page says of one unit; None in a layer without programs."""
        found = self._responses.get(layer)
        if found is None:
            return None
        unit, program = found.points[:, :, channel].T
        row: Row = {"points": [[rounded(float(v)) for v in axis] for axis in (unit, program)]}
        for kind, peaks in (("active", found.active), ("apart", found.apart)):
            top = peaks.top(channel, SHOWN)
            row[kind] = [self._peak(layer, peaks, probe, channel) for probe in top]
        return row

    def _peak(self, layer: str, peaks: Peaks, probe: int, channel: int) -> Row:
        at = probe, channel
        place = int(peaks.row[at]), int(peaks.column[at])
        values = {k: rounded(float(getattr(peaks, k)[at])) for k in ("unit", "program")}
        row: Row = {"probe": int(self._probes.rows[probe]), "place": place, **values}
        return row | {"patch": self._patch(layer, probe, place)}

    def _patch(self, layer: str, probe: int, place: tuple[int, int]) -> Row | None:
        """The part of a picture that a place of a layer sees, cut off at the border."""
        window = self._windows.get(layer)
        if window is None or self._pictures is None:
            return None
        part = self._pictures[probe][:, *window.at(place)]
        return patch(part, *self._scale, self._side) if part.size else None


@dataclass(frozen=True)
class Window:
    """What a place of a layer sees of a picture: the first pixel of place (0, 0), how far the next
    place is, and the size, each in rows and columns."""

    first: tuple[int, int]
    step: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def of(cls, middle: Field, other: Field) -> "Window":
        """From two fields, the second one place down and right where there is one; the border may
        cut them off at one end."""
        steps, firsts = [], []
        for axis in (0, 1):
            (start, stop), (later, end) = (_ends(field, axis) for field in (middle, other))
            steps.append(max(later - start, end - stop, 0))
            firsts.append(start - steps[-1] * middle.place[axis])
        return cls((firsts[0], firsts[1]), (steps[0], steps[1]), middle.size)

    def at(self, place: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns of the picture that a place sees."""
        starts = [f + s * p for f, s, p in zip(self.first, self.step, place, strict=True)]
        pairs = zip(starts, self.size, strict=True)
        rows, columns = (slice(max(start, 0), max(start + size, 0)) for start, size in pairs)
        return rows, columns


def pictures_of(probes: Inputs) -> np.ndarray | None:
    """The probes (n, 1 or 3, H, W) of a network that reads pictures alone; else None."""
    if len(probes.shapes) != 1 or len(probes.shapes[0]) != 3 or probes.shapes[0][0] not in (1, 3):
        return None
    (batch,) = probes.batch()
    return batch.cpu().numpy() if min(batch.shape[2:]) > 1 else None


def _drawn(held_out: Inputs, seed: int) -> Inputs:
    places = np.random.default_rng(seed).permutation(len(held_out))[:PROBES]
    return held_out.take(np.sort(places))


def _windows(
    network: Network, layers: Sequence[Layer], probes: Inputs
) -> Iterator[tuple[str, Window]]:
    """Of those layers that have a place in the picture."""
    for layer in layers:
        last = [size - 1 for size in layer.out_shape[1:]]
        try:
            middle = field_of(network, layer, probes)
            beside = min(middle.place[0] + 1, last[0]), min(middle.place[1] + 1, last[1])
            yield layer.name, Window.of(middle, field_of(network, layer, probes, place=beside))
        except InputError:
            continue


def _ends(field: Field, axis: int) -> tuple[int, int]:
    """The first pixel of a field along an axis, and the one behind its last."""
    start = round(field.centre[axis] - (field.size[axis] - 1) / 2)
    return start, start + field.size[axis]
