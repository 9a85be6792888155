"""Exact sums Σ factor·variable + constant, variables numbered and in a box."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm

ZERO, ONE = Fraction(0), Fraction(1)


@dataclass(frozen=True, eq=False)
class Sum:
    """An affine function of variables: `terms` holds factors that are not zero, by number."""

    terms: Mapping[int, Fraction] = field(default_factory=dict)
    constant: Fraction = ZERO

    def plus(self, other: "Sum", factor: Fraction | int = 1) -> "Sum":
        """This and `factor` times another."""
        return total([(Fraction(1), self), (Fraction(factor), other)])

    def times(self, factor: Fraction | int) -> "Sum":
        return total([(Fraction(factor), self)])

    def shifted(self, constant: Fraction) -> "Sum":
        return Sum(self.terms, self.constant + constant)

    def value(self, point: Sequence[Fraction]) -> Fraction:
        """The value where variable i is point[i]."""
        return sum((f * point[i] for i, f in self.terms.items()), self.constant)

    def largest(self, lower: Sequence[Fraction], upper: Sequence[Fraction]) -> Fraction:
        """The largest value over a box."""
        ends = (f * (upper[i] if f > 0 else lower[i]) for i, f in self.terms.items())
        return sum(ends, self.constant)

    def range(
        self, lower: Sequence[Fraction], upper: Sequence[Fraction]
    ) -> tuple[Fraction, Fraction]:
        """The least and the largest value over a box."""
        return -self.times(-1).largest(lower, upper), self.largest(lower, upper)


def total(parts: Iterable[tuple[Fraction, Sum]]) -> Sum:
    """Σ factor · sum."""
    terms: dict[int, Fraction] = {}
    constant = ZERO
    for factor, part in parts:
        constant += factor * part.constant
        for i, own in part.terms.items():
            terms[i] = terms.get(i, ZERO) + factor * own
    return Sum({i: f for i, f in terms.items() if f}, constant)


class Whole:
    """Sums and a box as integers over common denominators: fractions take twenty times as long."""

    def __init__(
        self, sums: Sequence[Sum], lower: Sequence[Fraction], upper: Sequence[Fraction]
    ) -> None:
        width = len(lower)
        rows = [[*row.terms.items(), (width, row.constant)] for row in sums]
        self._scale, self._rows = _whole(rows)
        self._unit, (lows, highs) = _whole([[*enumerate(end)] for end in (lower, upper)])
        self._ends = [(low, high) for (_, low), (_, high) in zip(lows, highs, strict=True)]

    def largest(self, factors: Sequence[int]) -> Fraction:
        """The largest Σ factor · sum over the box."""
        rest = [0] * (len(self._ends) + 1)
        for factor, row in zip(factors, self._rows, strict=True):
            if factor:
                for i, own in row:
                    rest[i] += factor * own
        pairs = zip(rest[:-1], self._ends, strict=True)
        most = sum(f * (high if f > 0 else low) for f, (low, high) in pairs)
        return Fraction(most + rest[-1] * self._unit, self._scale * self._unit)


def _whole(
    rows: Sequence[Sequence[tuple[int, Fraction]]],
) -> tuple[int, list[list[tuple[int, int]]]]:
    """A common denominator, and numerators over it."""
    scale = lcm(*(f.denominator for row in rows for _, f in row))
    return scale, [[(i, int(f * scale)) for i, f in row] for row in rows]
