"""A grating under a gaussian."""

from grammars.kernels import AXIS, PHASE, PLACE, turned
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def gabor(
    k,
    *,
    angle=AXIS,
    wavelength=real(1.5, 16.0, step=0.125, default=4.0),
    sigma=real(0.5, 6.0, step=0.125, default=1.5),
    length=real(0.5, 6.0, step=0.125, default=1.5),
    phase=PHASE,
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """cos(2πu/wavelength + phase) · exp(−u²/2σ² − v²/2length²) about (dy, dx), with u in the
    direction `angle`, across the stripes, and v along them; a kernel by position.

    A phase of 0 is light in the middle, 90 dark at u > 0 (Daugman 1985; Jones and Palmer 1987).
    """

    def weights(np, y, x):
        u, v = turned(np, y, x, angle, dy, dx)
        envelope = np.exp(-((u / sigma) ** 2 + (v / length) ** 2) / 2)
        return np.cos(2 * np.pi * u / wavelength + np.deg2rad(phase)) * envelope

    return k.table(weights)
