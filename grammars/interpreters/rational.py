"""Programs in exact rational arithmetic."""

from fractions import Fraction

from grammars.evaluation import Algebra


class RationalAlgebra(Algebra):
    """Values are fractions; transcendentals have no meaning here."""

    name = "rational"

    def const(self, value: float) -> Fraction:
        return Fraction(value)

    def add(self, a: Fraction, b: Fraction) -> Fraction:
        return a + b

    def mul(self, a: Fraction, b: Fraction) -> Fraction:
        return a * b

    def max(self, a: Fraction, b: Fraction) -> Fraction:
        return max(a, b)

    def min(self, a: Fraction, b: Fraction) -> Fraction:
        return min(a, b)

    def select(self, condition: Fraction, positive: Fraction, otherwise: Fraction) -> Fraction:
        return positive if condition > 0 else otherwise
