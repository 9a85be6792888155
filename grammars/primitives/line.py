"""A line between dark flanks."""

from grammars.kernels import AXIS, PLACE, inside, turned
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def line(
    k,
    *,
    angle=AXIS,
    width=real(0.5, 5.0, step=0.125, default=1.0),
    flank=real(0.0, 1.0, step=0.125, default=0.5),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """1 along a line through (dy, dx) in the direction `angle` that is `width` wide, and −flank in
    as wide a strip on either side, without an end; a kernel by position.

    With a flank of a half it says nothing to even light: the classical line detector (Canny 1986,
    section 6, has the smooth one).
    """

    def weights(np, y, x):
        _, v = turned(np, y, x, angle, dy, dx)
        middle = inside(np, np.abs(v) - width / 2)
        return middle - flank * np.maximum(inside(np, np.abs(v) - 1.5 * width) - middle, 0.0)

    return k.table(weights)
