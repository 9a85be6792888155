"""Edges and ridges at a scale."""

from grammars.kernels import ANGLE, PLACE, turned
from grammars.primitive import Weights, integer, primitive, real


@primitive(tags=("kernel",))
def gaussian_derivative(
    k,
    *,
    angle=ANGLE,
    sigma=real(0.25, 4.0, step=0.125, default=1.0),
    length=real(0.25, 6.0, step=0.125, default=1.5),
    order=integer(1, 2, default=1),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """The first or second derivative, towards `angle`, of a gaussian of width σ in that direction
    and `length` across; a kernel by position.

    With u the distance along the angle in widths: u · exp((1 − u²)/2), whose largest value is 1, or
    (1 − u²) · exp(−u²/2). Both with the sign of a unit that likes light at u > 0, or in the middle
    (Koenderink and van Doorn 1987; Freeman and Adelson 1991).
    """

    def weights(np, y, x):
        u, v = turned(np, y, x, angle, dy, dx)
        u, v = u / sigma, v / length
        rise = np.where(order < 1.5, u * np.exp(0.5), 1 - u**2)
        return rise * np.exp(-(u**2 + v**2) / 2)

    return k.table(weights)
