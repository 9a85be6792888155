"""A blob with a soft surround."""

from grammars.kernels import PLACE
from grammars.primitive import Weights, primitive, real


@primitive(tags=("kernel",))
def difference_of_gaussians(
    k,
    *,
    sigma=real(0.25, 4.0, step=0.125, default=1.0),
    ratio=real(1.125, 4.0, step=0.125, default=1.625),
    surround=real(0.0, 2.0, step=0.125, default=1.0),
    dy=PLACE,
    dx=PLACE,
) -> Weights:
    """A gaussian of width σ, less `surround` times one of width ratio · σ and equal volume; a
    kernel by position.

    exp(−r²/2σ²) − surround/ratio² · exp(−r²/2(ratio·σ)²): with a surround of 1 it says nothing to
    even light. A ratio of 1.6 is near to the Laplacian of a gaussian (Marr and Hildreth 1980).
    """

    def weights(np, y, x):
        square = ((y - dy) ** 2 + (x - dx) ** 2) / (2 * sigma**2)
        return np.exp(-square) - surround / ratio**2 * np.exp(-square / ratio**2)

    return k.table(weights)
