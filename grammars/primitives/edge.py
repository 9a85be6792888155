"""A step between dark and light."""

from grammars.kernels import ANGLE, PLACE, turned
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def edge(
    k,
    *,
    angle=ANGLE,
    width=real(0.25, 8.0, step=0.125, default=1.0),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """−1 on one side of (dy, dx) and 1 on the other, towards `angle`, with a ramp `width` pixels
    wide between and no end; a kernel by position.

    The step edge of Marr and Hildreth (1980).
    """
    return k.table(
        lambda np, y, x: np.clip(turned(np, y, x, angle, dy, dx)[0] * 2 / width, -1.0, 1.0)
    )
