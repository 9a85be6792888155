"""How light it is."""

from grammars.colours import BGR, axis
from grammars.primitive import Atom, Bank, primitive


@primitive(tags=("colour",))
def luminance(k, image: Bank, *, bgr=BGR) -> Atom:
    """0.3125 red + 0.5625 green + 0.125 blue of an image of three channels; the shape of one.

    The weights of Rec. 601 (luma, 0.299, 0.587 and 0.114) in sixteenths.
    """
    return axis(k, image, (0.3125, 0.5625, 0.125), bgr)
