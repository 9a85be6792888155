"""A wedge of light."""

from grammars.kernels import ANGLE, PLACE, turned
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def corner(
    k,
    *,
    angle=ANGLE,
    opening=real(30.0, 330.0, step=15.0, default=90.0),
    width=real(0.25, 8.0, step=0.125, default=1.0),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """1 in a wedge that opens from (dy, dx) towards `angle`, −1 outside, with a ramp of `width`
    pixels at its two edges and no end; a kernel by position.

    An opening of 90 degrees is the corner of a square (Harris and Stephens 1988 detect it).
    """

    def weights(np, y, x):
        half = opening / 2
        left = turned(np, y, x, angle + half - 90, dy, dx)[0]
        right = turned(np, y, x, angle - half + 90, dy, dx)[0]
        nearer = np.where(opening <= 180, np.minimum(left, right), np.maximum(left, right))
        return np.clip(nearer * 2 / width, -1.0, 1.0)

    return k.table(weights)
