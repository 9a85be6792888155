"""Covers: how the cells of cells.py are kept, as numbers of a certificate."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Cell:
    """A line that bounds what is taken away, while the other pre-activation a is at most `end`.

    H is the maximum over the domain of side·(multiplier·a − a'). With side 1, a' never lies below
    multiplier·a − H; with side −1, never above multiplier·a + H. Side 0 takes the head's least
    value and no line.
    """

    end: float
    side: int
    multiplier: Fraction


@dataclass(frozen=True)
class Cover:
    """Cells from `start` on, without gaps, over all pre-activations of one side."""

    start: float
    cells: tuple[Cell, ...]
