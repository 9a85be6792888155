"""A blob."""

from grammars.kernels import PLACE
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def gaussian(
    k,
    *,
    sigma=real(0.25, 6.0, step=0.125, default=1.0),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """exp(−r² / 2σ²) at distance r from (dy, dx), in pixels; a kernel by position."""
    return k.table(lambda np, y, x: np.exp(-((y - dy) ** 2 + (x - dx) ** 2) / (2 * sigma**2)))
