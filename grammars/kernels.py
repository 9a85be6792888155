"""Kernels: tables of weights that a formula of the position gives.

A kernel primitive is such a formula, and its meaning is the table: values at whole positions about
the centre, rounded to multiples of 2⁻¹⁰. So exact oracles need no formula, and every algebra reads
the same numbers. Tables are cut to `RADIUS`, and `conv` cuts them to the window of a layer.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from grammars.primitive import real

ANGLE = real(0.0, 355.0, step=5.0, default=0.0, period=360.0)  # of what has a direction
AXIS = real(0.0, 175.0, step=5.0, default=0.0, period=180.0)  # half a turn negates a phase
PHASE = real(0.0, 345.0, step=15.0, default=0.0, period=360.0)
PLACE = real(-6.0, 6.0, step=0.125, default=0.0)

RADIUS = 8  # positions from the centre in each direction
BITS = 10  # of a weight behind the point

Table = Mapping[tuple[int, int], float]
"""The weights of a kernel that are not zero, by (dy, dx), rows down and columns right."""

Formula = Callable[[Any, Any, Any], Any]
"""Weights, elementwise, from numpy and the positions down and right of the centre: it is given,
because grammars are read by commands that are quick as long as they do not import it."""


def table(formula: Formula) -> Table:
    """The kernel of a formula. Raises ValueError where its values are not finite."""
    import numpy as np

    down, right = _positions()
    weights = np.broadcast_to(formula(np, down, right), down.shape)
    if not np.isfinite(weights).all():
        raise ValueError("a kernel's weights are finite numbers")
    rounded = np.ldexp(np.rint(np.ldexp(weights, BITS)), -BITS)
    places = zip(down.astype(int).flat, right.astype(int).flat, rounded.flat, strict=True)
    return {(int(y), int(x)): float(w) for y, x, w in places if w}


def turned(np: Any, down: Any, right: Any, angle: float, dy: float, dx: float) -> tuple[Any, Any]:
    """Coordinates (u, v) about (dy, dx): u points in the direction `angle`, v a quarter turn on.

    Angles are in degrees as people see them: 0 is right, 90 is up.
    """
    radians = np.deg2rad(angle)
    up, right = dy - down, right - dx
    u = right * np.cos(radians) + up * np.sin(radians)
    return u, up * np.cos(radians) - right * np.sin(radians)


def inside(np: Any, distance: Any) -> Any:
    """1 inside of a border and 0 outside, a ramp of one pixel between: how much of a pixel at that
    distance outside of the border lies in."""
    return np.clip(0.5 - distance, 0.0, 1.0)


@lru_cache(maxsize=1)
def _positions() -> tuple[Any, Any]:
    import numpy as np

    steps = np.arange(-RADIUS, RADIUS + 1, dtype=np.float64)
    down, right = np.meshgrid(steps, steps, indexing="ij")
    return down, right
