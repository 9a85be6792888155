"""A spot in a ring."""

from grammars.kernels import PLACE, inside
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def centre_surround(
    k,
    *,
    radius=real(0.5, 5.0, step=0.125, default=1.0),
    outer=real(1.0, 8.0, step=0.125, default=2.0),
    surround=real(0.0, 2.0, step=0.125, default=1.0),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """1 within `radius` of (dy, dx), and −surround in the ring from there to `outer`, with borders
    of one pixel; a kernel by position.

    The receptive fields of retinal ganglion cells, with sharp borders (Kuffler 1953).
    """

    def weights(np, y, x):
        distance = np.hypot(y - dy, x - dx)
        centre = inside(np, distance - radius)
        return centre - surround * np.maximum(inside(np, distance - outer) - centre, 0.0)

    return k.table(weights)
