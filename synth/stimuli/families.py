"""Families of stimuli: which kernel primitive draws them, and at which parameters.

A stimulus has the shape of a kernel, so that the grammar's formulas draw it, with no second one
beside. Lengths are pixels of the input; angles are degrees as people see them, 0 right and 90 up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from grammars.grammar import load_grammar
from synth.kernels.forms import Form, Window

STEP = 5  # degrees between two angles
LENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
SIZES = 6  # that a family has, at most
DARK, LIGHT = -1.0, 1.0  # the sign of what stands on the background

Sweep = Mapping[str, Sequence[float]]

AXES, ANGLES = range(0, 180, STEP), range(0, 360, STEP)


@dataclass(frozen=True)
class Family:
    """One kind of stimulus, drawn by the kernel `primitive`.

    `axis` is the parameter that a tuning curve runs over. `sweep` gives the values of each graded
    parameter for a receptive field so many pixels wide: of the primitive, and of two more. `sign`
    is LIGHT or DARK, for what stands on the background; a family without it goes both ways, from −1
    to 1. `offset` moves the stimulus so many pixels in the direction `angle + across`.
    """

    name: str
    primitive: str
    axis: str
    sweep: Callable[[float], Sweep]
    across: float = 0.0

    def stimuli(self, side: float) -> "Stimuli":
        """Every combination of the values for a receptive field of `side` pixels."""
        sweep = self.sweep(side)
        rows = np.array(list(product(*sweep.values())), dtype=np.float64)
        return Stimuli(self, tuple(sweep), rows)


@dataclass(frozen=True, eq=False)
class Stimuli:
    """S stimuli of a family: `values` (S, p) of the graded parameters `names`."""

    family: Family
    names: tuple[str, ...]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> np.ndarray | None:
        """The values (S,) of one parameter; None where it is not graded."""
        return self.values[:, self.names.index(name)] if name in self.names else None

    def parameters(self, place: int) -> dict[str, float]:
        """What one stimulus is, by name."""
        return dict(zip(self.names, self.values[place].tolist(), strict=True))

    def take(self, places: np.ndarray | slice) -> "Stimuli":
        """Some of the stimuli."""
        return Stimuli(self.family, self.names, self.values[places])

    def patterns(self, shape: tuple[int, int], centre: tuple[float, float]) -> np.ndarray:
        """Pictures (S, H, W) float64 about `centre` (row, column), 0 where nothing is shown.

        They lie within −1 and 1. Borders are ramps of a pixel, so that nothing jumps as a parameter
        moves.
        """
        form = _forms()[self.family.primitive]
        drawn = form.kernels(self._arguments(form), _window(shape, centre))
        sign = self.column("sign")
        drawn = drawn if sign is None else sign[:, None] * drawn
        return np.clip(drawn, -1.0, 1.0).reshape(len(self), *shape)

    def _arguments(self, form: Form) -> np.ndarray:
        """(S, q) values of all parameters of the primitive; what is not graded is its default."""
        given = {name: self.values[:, i] for i, name in enumerate(self.names)}
        if "offset" in given:
            turn = np.deg2rad(given["angle"] + self.family.across)
            given |= {"dy": -given["offset"] * np.sin(turn), "dx": given["offset"] * np.cos(turn)}
        columns = (
            given.get(name, np.full(len(self), float(spec.default)))
            for name, spec in form.primitive.parameters
        )
        return np.stack(list(columns), axis=1)


def _gratings(side: float) -> Sweep:
    return {"angle": AXES, "wavelength": sizes(2.0, side), "phase": (0.0, 90.0, 180.0, 270.0)}


def _bars(side: float) -> Sweep:
    widths, length = sizes(1.0, side / 2), (2 * side,)  # it leaves the field at both ends
    rest = {"length": length, "offset": _offsets(side), "sign": (LIGHT, DARK)}
    return {"angle": AXES, "width": widths, **rest}


def _edges(side: float) -> Sweep:
    return {"angle": ANGLES, "offset": _offsets(side)}


def _curves(side: float) -> Sweep:
    width = max(0.75, side / 12)
    radii = sizes(max(side / 4, 4 * width), 2 * side)  # a tighter arc is a spot
    return {"angle": ANGLES, "radius": radii, "width": (width,), "sign": (LIGHT, DARK)}


def _spots(side: float) -> Sweep:
    places = tuple(side * share for share in (-0.375, -0.25, -0.125, 0.0, 0.125, 0.25, 0.375))
    return {"dx": places, "dy": places, "sigma": sizes(0.5, side / 4), "sign": (LIGHT, DARK)}


FAMILIES = (
    Family("grating", "cosine", "angle", _gratings),
    Family("bar", "bar", "angle", _bars, across=90.0),
    Family("edge", "edge", "angle", _edges),
    Family("curve", "curve", "angle", _curves),
    Family("spot", "gaussian", "dx", _spots),
)


def sizes(least: float, most: float) -> tuple[float, ...]:
    """Lengths in half octaves from the one below `least` up to `most`, or in wider steps: SIZES at
    most, and one at least."""
    start = max([size for size in LENGTHS if size <= least], default=LENGTHS[0])
    found = [size for size in LENGTHS if start <= size <= max(most, start)]
    places = np.linspace(0, len(found) - 1, min(len(found), SIZES)).round().astype(int)
    return tuple(found[place] for place in places)


def _offsets(side: float) -> tuple[float, ...]:
    return (-side / 4, 0.0, side / 4)


def _window(shape: tuple[int, int], centre: tuple[float, float]) -> Window:
    """All pixels of a picture as positions from its centre."""
    down, right = np.indices(shape, dtype=np.float64)
    return Window(down.ravel() - centre[0], right.ravel() - centre[1])


@lru_cache(maxsize=1)
def _forms() -> dict[str, Form]:
    """The grammar's kernels by name."""
    grammar = load_grammar(tags=("kernel",), installed=False)
    return {family.primitive: Form(grammar[family.primitive]) for family in FAMILIES}
