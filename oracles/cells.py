"""Bounds for two heads of any form, in cells: sup of h(a) − k(a') for a = w·x + b, a' = q·x + c.

The two see x only through the pair (a, a'), which fills a convex part of the plane. Lines
lie below it and above it: over a *cell* of values of a, one of them says how small a' can be, or
how large. Where k rises, k(a') is then at least k of the line below, where it falls of the line
above, and it is never below its least value. What is left is a function of a alone,

    g(a) = h(a) − k(multiplier · a ∓ H),

smooth but for kinks. Between two numbers without a kink it lies at most K·width²/8 above the larger
of its values there, if |g''| <= K: by the bounds of the second derivatives of h and k, or of equal
heads by how little they differ, |g''| <= |1 − m²|·C + m²·T·|a − a'| with the bound T of the third.

Any cells that cover all a bound the difference. `covered_bound` rechecks them, with heads enclosed
in balls and all else in exact arithmetic; floats find the cells (`bent.py`). They are the
certificate, which cover_checker.py checks with enclosures of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import ceil

from oracles.claims import SMOOTH, Affine, Box, HeadForm
from oracles.closed_form import ExactMap, largest
from oracles.covers import Cell, Cover
from oracles.heads import Bend, bend_of, enclosed

GRID = 64  # bits behind the point to which the bound of a smooth head is rounded up
CARE = Fraction(1, 2**77)  # the checker's enclosures of two smooth heads are not wider together


@dataclass(frozen=True)
class Side:
    """A unit or a program: its head and its affine map in exact numbers."""

    head: HeadForm
    map: ExactMap

    @classmethod
    def of(cls, affine: Affine) -> "Side":
        return cls(affine.head, ExactMap.of(affine))

    @cached_property
    def bend(self) -> Bend:
        return bend_of(self.head)


def covered_bound(outer: Side, inner: Side, box: Box, cover: Cover) -> Fraction:
    """A bound of sup over the box of outer − inner, from cells over all values of outer's map.

    Raises ValueError if the cells leave out some, or a line is used on the wrong side of a turn.
    """
    last = cover.cells[-1].end
    least = -largest([(Fraction(-1), outer.map)], box)
    if not cover.start <= least or last < largest([(Fraction(1), outer.map)], box):
        raise ValueError(f"cells from {cover.start} to {last} do not cover all pre-activations")
    lines = _Lines(outer, inner, box)
    starts = [cover.start, *(cell.end for cell in cover.cells)]
    found = [
        _cell_bound(outer, inner, lines.line(cell), Fraction(start), Fraction(cell.end))
        for start, cell in zip(starts, cover.cells, strict=False)
    ]
    bound = max(found)
    if not {outer.head.op, inner.head.op} & {*SMOOTH}:
        return bound
    return Fraction(ceil(bound * (1 << GRID)), 1 << GRID)


@dataclass(frozen=True)
class _Line:
    """a' lies above slope·a + offset for `side` 1, below for −1; 0: nothing is known of it."""

    side: int
    slope: Fraction
    offset: Fraction

    def at(self, a: Fraction) -> Fraction:
        return self.slope * a + self.offset

    def meets(self, value: Fraction) -> Iterator[Fraction]:
        """Where the line has a value, if at one place."""
        if self.slope:
            yield (value - self.offset) / self.slope


class _Lines:
    """The lines of one pair, each computed once."""

    def __init__(self, outer: Side, inner: Side, box: Box) -> None:
        self._parts, self._known = (outer.map, inner.map, box), {}

    def line(self, cell: Cell) -> _Line:
        key = cell.side, cell.multiplier
        if key not in self._known:
            self._known[key] = self._found(*key)
        return self._known[key]

    def _found(self, side: int, slope: Fraction) -> _Line:
        if not side:
            return _Line(0, Fraction(0), Fraction(0))
        outer, inner, box = self._parts
        reach = largest([(side * slope, outer), (Fraction(-side), inner)], box)
        return _Line(side, slope, -side * reach)


def _cell_bound(outer: Side, inner: Side, line: _Line, start: Fraction, end: Fraction) -> Fraction:
    """The bound over one cell."""
    if start > end:
        raise ValueError(f"a cell ends at {float(end)}, before it starts at {float(start)}")
    _side_must_fit(inner.bend, line, start, end)
    kinks = list(outer.bend.kinks)
    for kink in inner.bend.kinks if line.side else ():
        kinks += line.meets(kink)
    stops = [start, *sorted(kink for kink in kinks if start < kink < end), end]
    curvature = _curvature(outer, inner, line, start, end)
    return max(
        max(_apart(outer, inner, line, at, (low + high) / 2) for at in (low, high))
        + curvature * (high - low) ** 2 / 8
        for low, high in pairwise(stops)
    )


def _side_must_fit(bend: Bend, line: _Line, start: Fraction, end: Fraction) -> None:
    if not line.side:
        fits = bend.turn is not None
    elif bend.turn is None:
        fits = line.side > 0
    else:
        turn = bend.turn[line.side > 0]
        fits = all(line.side * (line.at(a) - turn) >= 0 for a in (start, end))
    if not fits:
        raise ValueError(f"a line of side {line.side} says nothing where the head turns")


def _apart(outer: Side, inner: Side, line: _Line, at: Fraction, inside: Fraction) -> Fraction:
    """An upper bound of g at one number, from the side of `inside`."""
    if line.side and outer.bend.third is not None and line.at(at) == at and _alike(outer, inner):
        return Fraction(0)
    above = enclosed(outer.head, at, inside)[1]
    above += CARE if {outer.head.op, inner.head.op} & {*SMOOTH} else 0
    if not line.side:
        return above - inner.bend.least
    return above - enclosed(inner.head, line.at(at), line.at(inside))[0]


def _curvature(outer: Side, inner: Side, line: _Line, start: Fraction, end: Fraction) -> Fraction:
    """A bound of |g''| between the kinks of a cell."""
    first, second, square = outer.bend.curvature, inner.bend.curvature, line.slope**2
    apart = first + (square * second if line.side else 0)
    third = outer.bend.third
    if third is None or not line.side or not _alike(outer, inner):
        return apart
    distance = max(abs(a - line.at(a)) for a in (start, end))
    return min(apart, abs(1 - square) * first + square * third * distance)


def _alike(outer: Side, inner: Side) -> bool:
    return (outer.head.op, outer.head.params) == (inner.head.op, inner.head.params)
