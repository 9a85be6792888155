"""A grating without an end."""

from grammars.kernels import AXIS, PHASE, turned
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def cosine(
    k,
    *,
    angle=AXIS,
    wavelength=real(2.0, 64.0, step=0.5, default=8.0),
    phase=PHASE,
) -> Weights:
    """cos(2πu/wavelength + phase), with u in the direction `angle`, without an end; a kernel by
    position.

    Long waves are the slow changes of light over a window: the first of a cosine transform (Ahmed,
    Natarajan and Rao 1974).
    """

    def weights(np, y, x):
        u, _ = turned(np, y, x, angle, 0.0, 0.0)
        return np.cos(2 * np.pi * u / wavelength + np.deg2rad(phase))

    return k.table(weights)
