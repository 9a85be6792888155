"""A checkerboard."""

from typing import Any

from grammars.kernels import PLACE, turned
from grammars.primitive import Weights, primitive, real


def nearest(np, *, angle, size, dy, dx) -> dict[str, Any]:
    """The field nearest to the middle: all of them are alike, light or dark."""
    u, v = turned(np, 0.0, 0.0, angle, dy, dx)  # the middle, seen from here
    u, v = size * np.rint(u / size), size * np.rint(v / size)
    sine, cosine = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    return {"dy": dy - u * sine - v * cosine, "dx": dx + u * cosine - v * sine}


@primitive(tags=("kernel",), folded=nearest)
def checker(
    k,
    *,
    angle=real(0.0, 85.0, step=5.0, default=0.0, period=90.0),
    size=real(1.0, 8.0, step=0.125, default=2.0),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """cos(πu/size) · cos(πv/size) about (dy, dx), turned by `angle`, without an end: fields of
    `size` pixels, light in the middle; a kernel by position."""

    def weights(np, y, x):
        u, v = turned(np, y, x, angle, dy, dx)
        return np.cos(np.pi * u / size) * np.cos(np.pi * v / size)

    return k.table(weights)
