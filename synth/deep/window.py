"""Which window of an earlier bank a layer reads through all that lies between.

What a place depends on is traced, not derived: rows and columns of the bank are spoilt one at a
time, and what moves behind them is seen. So any operation may lie between.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from synth.layers import Geometry, Shape

SCALES = (1.0, 1.0, 30.0)  # of the numbers in three banks; the first is spoilt with NaN


def window_of(
    through: Callable[[Tensor], Tensor], shape: Shape, places: tuple[int, int]
) -> Geometry:
    """The least window, stride and padding under which every place of the maps (N, U, *places)
    reads all that it depends on in maps (N, *shape), float64.

    Near the border the window may hang over, where a program reads zeros.
    """
    rows, columns = (_axis(_touched(through, shape, axis), places[axis]) for axis in (0, 1))
    window, stride, padding = zip(rows, columns, strict=True)
    return Geometry(window, stride, padding=padding)


def _touched(through: Callable[[Tensor], Tensor], shape: Shape, axis: int) -> np.ndarray:
    """(H, h) which rows depend on which of the bank; with `axis` 1, which columns.

    NaN passes everything but comparisons; other numbers pass those, but no unit that is at rest.
    """
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor(SCALES, dtype=torch.float64)[:, None, None, None]
    maps = scales * torch.randn(len(SCALES), *shape, generator=generator, dtype=torch.float64)
    rest, found = through(maps), []
    for place in range(shape[axis + 1]):
        other = maps.clone()
        cells = other.select(axis + 2, place)
        cells.copy_(cells.flip(0) * SCALES[-1] + 1.0)
        cells[0] = torch.nan
        moved = (through(other) != rest).any(1).any(0)
        found.append(moved.any(1 - axis))
    return torch.stack(found).numpy()


def _axis(touched: np.ndarray, places: int) -> tuple[int, int, int]:
    """Window, stride and padding of one axis: the least window, then the least padding."""
    return min(_covers(touched, places), key=lambda found: (found[0], found[2], found[1]))


def _covers(touched: np.ndarray, places: int) -> Iterator[tuple[int, int, int]]:
    """All windows, strides and paddings that make so many places and cover what they depend on."""
    size = len(touched)
    idle = ~touched.any(0)
    first = np.where(idle, size, touched.argmax(0))
    last = np.where(idle, -1, size - 1 - touched[::-1].argmax(0))
    for stride in range(1, size + 1):
        for padding in range(size):
            starts = stride * np.arange(places) - padding
            if (starts > first).any():
                continue
            most = size + 2 * padding - stride * (places - 1)  # or there are fewer places
            window = max(1, int((last - starts).max()) + 1, most - stride + 1)
            if window <= most:
                yield window, stride, padding
