"""Blue against yellow."""

from grammars.colours import BGR, axis
from grammars.primitive import Atom, Bank, primitive


@primitive(tags=("colour",))
def blue_yellow(k, image: Bank, *, bgr=BGR) -> Atom:
    """blue − (red + green) / 2 of an image of three channels; the shape of one.

    One of the two opponent axes of colour (Hering 1878; Krauskopf, Williams and Heeley 1982).
    """
    return axis(k, image, (-0.5, -0.5, 1.0), bgr)
