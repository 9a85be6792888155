"""What units and their programs say to probes: points to scatter, and where both are largest.

Programs are compared in the unit's place on the original sources.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from synth.batches import Batch, Inputs, batch_size
from synth.layers import Layer
from synth.network import Network

HELD = 2**24  # numbers of maps that a batch of probes may have


@dataclass(frozen=True, eq=False)
class Peaks:
    """Where U units are largest in something, for each of n probes, (n, U) each.

    `size` is what they are largest in there, `row` and `column` the place in their maps, `unit` and
    `program` what both say there.
    """

    size: np.ndarray
    row: np.ndarray
    column: np.ndarray
    unit: np.ndarray
    program: np.ndarray

    def top(self, channel: int, count: int) -> list[int]:
        """The probes of a unit's largest peaks, the largest first; none that is 0 or less."""
        size = self.size[:, channel]
        order = np.argsort(-size, kind="stable")[:count]
        return [int(i) for i in order if size[i] > 0]


@dataclass(frozen=True, eq=False)
class Responses:
    """Of one layer: `points` (n, 2, U) of unit and program at a place drawn for each probe, and the
    peaks of activation and of the difference between the two."""

    points: np.ndarray
    active: Peaks
    apart: Peaks


def responses(
    network: Network, modules: Mapping[str, nn.Module], probes: Inputs, *, seed: int
) -> dict[str, Responses]:
    """The responses of the layers of `modules`, which compute their programs from their sources."""
    layers = [network.layer(name) for name in modules]
    generator = np.random.default_rng(seed)
    found: dict[str, list[Responses]] = {name: [] for name in modules}
    for part in probes.cut(batch_size(_numbers(layers), held=HELD)):
        for name, unit, program in _maps(network, modules, layers, part.batch()):
            found[name].append(_looked(unit, program, generator))
    return {name: _joined(parts) for name, parts in found.items()}


def _numbers(layers: Sequence[Layer]) -> int:
    """Numbers of maps that are held for a probe."""
    return sum(int(np.prod(la.in_shape)) + 2 * int(np.prod(la.out_shape)) for la in layers)


def _maps(
    network: Network, modules: Mapping[str, nn.Module], layers: Sequence[Layer], batch: Batch
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each layer's maps (n, U, h, w) in the network, and those of its programs."""
    maps = network.record(batch, {bank for la in layers for bank in (la.name, la.source)})
    for layer in layers:
        with torch.no_grad():
            program = modules[layer.name](maps[layer.source])
        yield layer.name, _array(maps[layer.name]), _array(program)


def _array(maps: Tensor) -> np.ndarray:
    return maps.cpu().double().numpy()


def _looked(unit: np.ndarray, program: np.ndarray, generator: np.random.Generator) -> Responses:
    """Of maps (n, U, h, w) of a batch."""
    count, _, height, width = unit.shape
    drawn = generator.integers(height * width, size=count)
    first, second = (maps.reshape(*maps.shape[:2], -1) for maps in (unit, program))
    points = np.stack([maps[np.arange(count), :, drawn] for maps in (first, second)], axis=1)
    active, apart = (_peaks(s, first, second, width) for s in (first, np.abs(first - second)))
    return Responses(points, active, apart)


def _peaks(size: np.ndarray, unit: np.ndarray, program: np.ndarray, width: int) -> Peaks:
    """Of (n, U, places) each."""
    best = size.argmax(2)
    at = best[:, :, None]
    values = (np.take_along_axis(maps, at, 2)[:, :, 0] for maps in (size, unit, program))
    largest, *both = values
    return Peaks(largest, best // width, best % width, *both)


def _joined(parts: Sequence[Responses]) -> Responses:
    points = np.concatenate([p.points for p in parts])
    active, apart = [p.active for p in parts], [p.apart for p in parts]
    return Responses(points, _joined_peaks(active), _joined_peaks(apart))


def _joined_peaks(parts: Sequence[Peaks]) -> Peaks:
    names = [f.name for f in fields(Peaks)]
    return Peaks(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
