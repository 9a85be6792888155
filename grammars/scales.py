"""Columns of numbers as integers: the places of a grid, or multiples of a power of two.

Integers are written by an Exp-Golomb code of an order that suits the whole column, by how far they
are from its middle.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import Protocol

from grammars.codes import TYPICAL_EXPONENT, common_exponent, read_integer, write_integer
from grammars.primitive import Real
from grammars.stream import BitReader, BitWriter, zigzag

ORDER = 4  # of a code before any column is known
MIDDLE = 4  # the order of middles
LONGEST = 32  # bits of an integer; numbers that need more are written one by one


@dataclass(frozen=True)
class Whole:
    """Numbers as integers times 2^exponent."""

    exponent: int
    integers: tuple[int, ...]

    def __add__(self, other: "Whole") -> "Whole":
        return self._with(other, 1)

    def __sub__(self, other: "Whole") -> "Whole":
        return self._with(other, -1)

    def _with(self, other: "Whole", sign: int) -> "Whole":
        least = min(self.exponent, other.exponent)
        ours, theirs = self.exponent - least, other.exponent - least
        pairs = zip(self.integers, other.integers, strict=True)
        return Whole(least, tuple((a << ours) + sign * (b << theirs) for a, b in pairs))

    @property
    def is_short(self) -> bool:
        return max(map(abs, self.integers)).bit_length() <= LONGEST

    @cached_property
    def code(self) -> tuple[int, int]:
        """The middle and the order by which the integers are short; the middle is often zero."""
        middles = (0, sorted(self.integers)[len(self.integers) // 2])
        naturals = {m: [zigzag(i - m) for i in self.integers] for m in middles}
        pairs = [(m, order) for m, own in naturals.items() for order in _orders(own)]
        return min(pairs, key=lambda pair: _bits(naturals[pair[0]], *pair))


class Scale(Protocol):
    """What turns numbers into integers, and back."""

    @property
    def start(self) -> int:
        """The exponent that is expected at first."""
        ...

    def whole(self, values: Sequence[float]) -> Whole | None:
        """None for numbers that are not on it."""
        ...

    def near(self, whole: Whole) -> Whole:
        """The same numbers by the smallest integers."""
        ...

    def values(self, whole: Whole) -> list[float]:
        """The numbers; the inverse of `whole`."""
        ...


@dataclass(frozen=True)
class Dyadic:
    """Multiples of a power of two, which each column has for itself."""

    start: int = TYPICAL_EXPONENT

    def whole(self, values: Sequence[float]) -> Whole | None:
        exponent, integers = common_exponent(values)
        return Whole(exponent, tuple(integers))

    def near(self, whole: Whole) -> Whole:
        return whole

    def values(self, whole: Whole) -> list[float]:
        return [math.ldexp(i, whole.exponent) for i in whole.integers]


@dataclass(frozen=True)
class Grid:
    """The points of a parameter's grid, counted from its default; a column may use every second
    one alone, or every fourth."""

    spec: Real
    start: int = 0

    def whole(self, values: Sequence[float]) -> Whole | None:
        places, middle = list(map(self.spec.index, values)), self._middle
        if any(place is None for place in places):
            return None
        return self.near(Whole(0, tuple(p - middle for p in places if p is not None)))

    def near(self, whole: Whole) -> Whole:
        places, size = [i << whole.exponent for i in whole.integers], self.spec.size
        if self.spec.period is not None:
            places = [(p + size // 2) % size - size // 2 for p in places]
        every = reduce(or_, places)
        zeros = (every & -every).bit_length() - 1 if every else 0
        return Whole(zeros, tuple(p >> zeros for p in places))

    def values(self, whole: Whole) -> list[float]:
        places = ((i << whole.exponent) + self._middle for i in whole.integers)
        turning, size = self.spec.period is not None, self.spec.size
        return [self.spec.value(p % size if turning else p) for p in places]

    @property
    def _middle(self) -> int:
        return self.spec.index(self.spec.default)  # type: ignore[return-value]  # it is on its grid


Habit = tuple[int, int]
"""The exponent and the order of the last column of a scale, which the next one's may be near."""


def write_whole(out: BitWriter, whole: Whole, habit: Habit) -> None:
    """The exponent, the order, the middle if it is not zero, and the integers from there."""
    middle, order = whole.code
    write_integer(out, whole.exponent - habit[0], 0)
    write_integer(out, order - habit[1], 0)
    out.bits(int(middle != 0), 1)
    if middle:
        write_integer(out, middle, MIDDLE)
    for integer in whole.integers:
        write_integer(out, integer - middle, order)


def read_whole(source: BitReader, count: int, habit: Habit) -> Whole:
    exponent = habit[0] + read_integer(source, 0)
    order = habit[1] + read_integer(source, 0)
    middle = read_integer(source, MIDDLE) if source.bits(1) else 0
    return Whole(exponent, tuple(middle + read_integer(source, order) for _ in range(count)))


def _orders(naturals: Sequence[int]) -> range:
    """Those near the size of the mean."""
    most = (sum(naturals) // len(naturals)).bit_length()
    return range(max(most - 2, 0), most + 1)


def _bits(naturals: Sequence[int], middle: int, order: int) -> int:
    """What naturals take by a code of some order, and their middle."""
    lengths = (2 * ((n >> order) + 1).bit_length() - 1 + order for n in naturals)
    return sum(lengths) + bool(middle) * (MIDDLE + zigzag(middle).bit_length())
