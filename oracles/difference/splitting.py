"""One bound over a whole box of inputs, by splitting it where its bound is too large.

Boxes are bounded in batches, those in need of it are halved across one side, and the halves wait in
turn, the latest first. All of the given box is covered at every moment, by boxes that are bounded
and boxes that wait; nothing is claimed before none waits.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from oracles.difference.rounding import UNIT

TOGETHER = 64  # boxes that are bounded at once


@dataclass(frozen=True, eq=False)
class Bounded:
    """Of B boxes: `bound` (B,) and what each side (B, n) has to do with it, a side to be halved
    first having most."""

    bound: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Covered:
    """`bound` holds over the whole box; it is infinite, and some boxes `left`, if time was up.

    `boxes` were bounded. `share` of the volume is within the epsilon that was asked for.
    """

    bound: float
    boxes: int
    left: int
    share: float


def covered(
    bounds: Callable[[Tensor, Tensor], Bounded],
    lower: Tensor,
    upper: Tensor,
    *,
    epsilon: float,
    seconds: float = math.inf,
    together: int = TOGETHER,
) -> Covered:
    """Halve the box (n,) until every part is bounded by `epsilon`, or `seconds` are over.

    `bounds` takes lower and upper (B, n) of boxes. A box that no float lies inside of is not halved
    again: where its bound is above `epsilon`, the search ends and says so.
    """
    until = time.monotonic() + seconds
    waiting = [(lower, upper, 1.0)]
    worst, done, share = 0.0, 0, 0.0
    while waiting and time.monotonic() < until:
        batch, waiting = waiting[-together:], waiting[:-together]
        low = torch.stack([box[0] for box in batch])
        high = torch.stack([box[1] for box in batch])
        found = bounds(low, high)
        done += len(batch)
        within = found.bound <= epsilon  # false for what is no number
        for place, (box_low, box_high, volume) in enumerate(batch):
            if within[place]:
                worst, share = max(worst, float(found.bound[place])), share + volume
                continue
            halves = _halved(box_low, box_high, found.weight[place])
            if halves is None:
                return Covered(math.inf, done, len(waiting) + 1, share)
            waiting += [(*half, volume / 2) for half in halves]
    return Covered(math.inf if waiting else worst, done, len(waiting), share)


def _halved(
    lower: Tensor, upper: Tensor, weight: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None:
    """Both halves of a box across the side of most weight that can be halved; None if none can."""
    middle = (lower + upper) / 2
    inside = (lower < middle) & (middle < upper)
    if not inside.any():
        return None
    told = weight.nan_to_num(nan=0.0) + UNIT * (upper - lower)  # width tells where nothing else
    side = int(torch.where(inside, told, -1.0).argmax())
    below, above = upper.clone(), lower.clone()
    below[side] = above[side] = middle[side]
    return (lower, below), (above, upper)
