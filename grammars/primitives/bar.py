"""A bar of light."""

from grammars.kernels import AXIS, PLACE, inside, turned
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def bar(
    k,
    *,
    angle=AXIS,
    width=real(0.5, 8.0, step=0.125, default=1.0),
    length=real(1.0, 17.0, step=0.125, default=5.0),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """1 in a rectangle about (dy, dx) that is `length` long in the direction `angle` and `width`
    wide, with borders of one pixel; a kernel by position.

    The stimulus of Hubel and Wiesel (1962).
    """

    def weights(np, y, x):
        u, v = turned(np, y, x, angle, dy, dx)
        return inside(np, np.abs(u) - length / 2) * inside(np, np.abs(v) - width / 2)

    return k.table(weights)
