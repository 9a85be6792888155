"""An even patch."""

from grammars.kernels import PLACE, inside
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def patch(
    k,
    *,
    height=real(1.0, 17.0, step=0.125, default=17.0),
    width=real(1.0, 17.0, step=0.125, default=17.0),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """1 in an upright rectangle of height and width about (dy, dx), with borders of one pixel; a
    kernel by position.

    At its largest it is the mean of a window, but for a factor: the box filter (Viola and Jones
    2001 add few of them up).
    """
    return k.table(
        lambda np, y, x: (
            inside(np, np.abs(y - dy) - height / 2) * inside(np, np.abs(x - dx) - width / 2)
        )
    )
