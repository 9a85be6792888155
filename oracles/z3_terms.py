"""Programs as Z3 terms of linear real arithmetic, exactly.

Constants are the fractions that the floats denote. A product of two values and a transcendental
have no linear term: they raise Unsupported, and a verdict that needs them is `Unknown`.
"""

from fractions import Fraction
from typing import Any

import z3

from grammars.evaluation import Algebra, Reader, Unsupported
from grammars.interpreters.affine import TapKey

Term = Any  # z3.ArithRef; z3's own annotations name every class of expression there is


class Z3Algebra(Algebra):
    """Values are real terms; `variables` holds the variable of every tap that was read.

    A tap is a variable, unless `read` says otherwise.
    """

    name = "z3"

    def __init__(self, read: Reader | None = None, *, context: z3.Context | None = None) -> None:
        super().__init__(read or self.variable)
        self.context = context
        self.variables: dict[TapKey, Term] = {}

    def variable(self, bank: str, channel: int, dy: int, dx: int) -> Term:
        """The variable of a tap, made when it is first read."""
        key = (bank, channel, dy, dx)
        if key not in self.variables:
            self.variables[key] = z3.Real(f"{bank}[{channel}, {dy}, {dx}]", self.context)
        return self.variables[key]

    def const(self, value: float) -> Term:
        return real_value(Fraction(value), self.context)

    def add(self, a: Term, b: Term) -> Term:
        return a + b

    def mul(self, a: Term, b: Term) -> Term:
        if not (_is_number(a) or _is_number(b)):
            raise Unsupported(
                f"{self.name} terms are linear: one factor of a product is a constant"
            )
        return a * b

    def max(self, a: Term, b: Term) -> Term:
        return z3.If(a >= b, a, b)

    def min(self, a: Term, b: Term) -> Term:
        return z3.If(a <= b, a, b)

    def select(self, condition: Term, positive: Term, otherwise: Term) -> Term:
        return z3.If(condition > 0, positive, otherwise)


def real_value(value: Fraction, context: z3.Context | None = None) -> Term:
    """A fraction as a Z3 numeral, exactly."""
    return z3.RealVal(f"{value.numerator}/{value.denominator}", context)


def value_at(term: Term, algebra: Z3Algebra, point: dict[TapKey, Fraction]) -> Fraction:
    """The exact value of a term where the taps have these values.

    Raises KeyError for a tap of the term without value and ValueError if no number is left.
    """
    pairs = [
        (variable, real_value(point[key], algebra.context))
        for key, variable in algebra.variables.items()
    ]
    number: Term = z3.simplify(z3.substitute(term, *pairs))
    if not z3.is_rational_value(number):
        raise ValueError(f"the term is no number at {point}: {number}")
    return number.as_fraction()


def _is_number(term: Term) -> bool:
    return z3.is_rational_value(term) or z3.is_rational_value(z3.simplify(term))
