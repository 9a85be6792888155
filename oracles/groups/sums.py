"""Exact sums Σ factor·variable + constant, variables numbered and in a box."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

ZERO = Fraction(0)


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
