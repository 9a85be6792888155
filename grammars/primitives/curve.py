"""An arc."""

from grammars.kernels import ANGLE, PLACE, turned
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def curve(
    k,
    *,
    angle=ANGLE,
    radius=real(1.0, 16.0, step=0.125, default=4.0),
    width=real(0.25, 3.0, step=0.125, default=0.75),
    span=real(30.0, 360.0, step=15.0, default=120.0),
    flank=real(0.0, 1.0, step=0.125, default=0.0),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """An arc of `radius` through (dy, dx), which bulges towards `angle` and spans so many degrees;
    a kernel by position.

    Across the arc, at d widths from it, the weight is (1 − flank · d²) · exp(−d²/2); beyond its
    ends it falls as exp(−d²/2) of the distance to them. The curve detectors of Cammarata et al.
    (2021) are such arcs.
    """

    def weights(np, y, x):
        u, v = turned(np, y, x, angle, dy, dx)
        out, turn = np.hypot(u + radius, v), np.arctan2(v, u + radius)
        across = (out - radius) / width
        beyond = np.maximum(np.abs(turn) - np.deg2rad(span) / 2, 0.0) * radius / width
        return (1 - flank * across**2) * np.exp(-(across**2 + beyond**2) / 2)

    return k.table(weights)
