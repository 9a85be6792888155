"""Red against green."""

from grammars.colours import BGR, axis
from grammars.primitive import Atom, Bank, primitive


@primitive(tags=("colour",))
def red_green(k, image: Bank, *, bgr=BGR) -> Atom:
    """red − green of an image of three channels; the shape of one.

    One of the two opponent axes of colour (Hering 1878; Krauskopf, Williams and Heeley 1982).
    """
    return axis(k, image, (1.0, -1.0, 0.0), bgr)
