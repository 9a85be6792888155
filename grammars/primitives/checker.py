"""A checkerboard."""

from grammars.kernels import PLACE, turned
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
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
