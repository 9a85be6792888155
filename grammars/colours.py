"""Axes of colour: mixes of the three channels of an image."""

from collections.abc import Sequence
from typing import Any

from grammars.evaluation import Atom, mixed
from grammars.primitive import integer

BGR = integer(0, 1, default=0)  # 1: the bank has blue first and red last


def axis(k: Any, image: Sequence[Atom], weights: Sequence[float], bgr: int) -> Atom:
    """The mix of an image's channels by weights for red, green and blue.

    Raises ValueError for an image that has not three channels.
    """
    if len(image) != 3:
        raise ValueError(f"a colour axis is of banks of 3 channels, and this one has {len(image)}")
    order = image[::-1] if bgr else image
    return mixed(k, weights, order)
