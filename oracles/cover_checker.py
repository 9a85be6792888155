"""Check the certificates of heads that bend: `python -m oracles.cover_checker RUN_FOLDER`.

Standard library only, exact arithmetic; checker.py reads texts and numbers, and is all else that
this needs. A unit and its program are h(a) and k(b) of affine maps a and b. One cover is of
h(a) − k(b), one of k(b) − h(a). In each of its cells of values of a, b lies on one side of a line
in a, so that k(b) is at least k of the line where k is monotone; or k(b) is at least k's least
value. That leaves a function of a: between two numbers without a kink it lies at most K·width²/8
above the larger of its values there, where K bounds its second derivative. The bound must be the
claimed one, but for 2^-60 where a smooth head is enclosed.
"""

import math
import sys
from collections import namedtuple
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from oracles.checker import Layer, Report, check, fraction, need, number, print_and_exit

ZERO, ONE, THREE = Fraction(0), Fraction(1), Fraction(3)
NEAR, SLACK = Fraction(1, 2**80), Fraction(1, 2**60)
DENSITY = Fraction("0.39894228040143267793994605993439")  # 1/√(2π), of the normal one at 0

# Kinks of h; bounds of its second and third derivative between them; up to where it falls, and from
# where on it rises; no more than its least value. A head that never falls has none of these three.
Bend = namedtuple("Bend", ["kinks", "second", "third", "falls", "rises", "least"])
RISING = -math.inf, -math.inf, None
BENDS = {
    "identity": Bend((), ZERO, ZERO, *RISING),
    "hardsigmoid": Bend((-THREE, THREE), ZERO, None, *RISING),
    "hardswish": Bend((-THREE, THREE), ONE / 3, None, -1.5, -1.5, Fraction("-0.375")),
    "sigmoid": Bend((), Fraction("0.0963"), Fraction("0.125"), *RISING),  # 1/(6√3) and 1/8
    "tanh": Bend((), Fraction("0.7699"), Fraction("2"), *RISING),  # 4/(3√3) and 2
    "silu": Bend(  # 1/2, and 0.30818 at ±1.04
        *((), Fraction("0.5"), Fraction("0.3083")),
        *(Fraction("-1.2784645428"), Fraction("-1.2784645427"), Fraction("-0.2784645428")),
    ),
    "gelu": Bend(  # 2φ(0) = 0.79788, and 0.77877 at ±0.79
        *((), Fraction("0.798"), Fraction("0.779")),
        *(Fraction("-0.7517915247"), Fraction("-0.7517915246"), Fraction("-0.1699712075")),
    ),
}
SLOPES = {"identity": ONE, "relu": ZERO, "abs": -ONE}  # of x below zero; above it is one
SMOOTH = "sigmoid", "tanh", "silu", "gelu"


def bend(op, params):
    """How a head bends."""
    if op in BENDS:
        return BENDS[op]
    if op == "clip":
        return Bend((params["low"], params["high"]), ZERO, None, *RISING)
    falls = params.get("slope", SLOPES.get(op)) < 0
    return Bend((ZERO,), ZERO, None, *((ZERO, ZERO, ZERO) if falls else RISING))


def series(z, odd):
    """Σ zⁿ / Π (k + odd/2), k = 1 … n: from below, and by less than 2^-110·exp(z).

    For odd = 0 it is exp(z). In 128 bits behind the point each term is off by less than one unit
    of the last place, and what follows from that adds up to no more than exp(z) units a term.
    """
    one = 2**128
    twice, term, total, k = math.floor(2 * z * one), one, one, 0
    while term:
        k += 2
        term = term * twice // ((k + odd) * one)
        total += term
    return Fraction(total, one)


def share(op, x):
    """1/(1 + exp(−x)), of 2·x for tanh, or the normal distribution's Φ(x) for gelu: to 2^-90."""
    x = Fraction(math.floor(x * 2**96) * (2 if op == "tanh" else 1), 2**96)
    z = x * x / 2 if op == "gelu" else abs(x)
    if z > 72:  # exp(-72) < 2^-103
        return Fraction(x > 0)
    grown = series(z, 0)
    if op == "gelu":  # Φ(x) = 1/2 + φ(x)·(x + x³/3 + x⁵/(3·5) + …)
        return ONE / 2 + DENSITY * x * series(z, 1) / grown
    return (grown if x > 0 else ONE) / (ONE + grown)


def value(head, x, side):
    """A head (op, params) at x: exactly, or off to this side, by less than 2·NEAR, if smooth."""
    op, params = head
    if op in SMOOTH:
        part = share(op, x)
        found = {"sigmoid": part, "tanh": 2 * part - 1}.get(op, x * part)
        return found + side * NEAR
    if op in ("hardsigmoid", "hardswish"):
        part = min(max(x + 3, ZERO), 2 * THREE) / 6
        return part if op == "hardsigmoid" else x * part
    if op == "clip":
        return min(max(x, params["low"]), params["high"])
    return x if x > 0 else params.get("slope", SLOPES.get(op)) * x


class Cell:
    """h(a) − k(b) for a from start to end, and b on a side of the line slope·a + offset.

    Side 1 is above the line, −1 below it; with side 0 nothing is known of b.
    """

    def __init__(self, h, k, ends, side, slope, offset):
        self.h, self.k, self.ends, self.side = h, k, ends, side
        self.slope, self.offset = slope, offset
        self.bends, self.same = (bend(*h), bend(*k)), h == k and side != 0

    def line(self, a):
        return self.slope * a + self.offset

    def apart(self, a):
        """At least h(a) − k(b)."""
        if self.same and self.line(a) == a:
            return ZERO
        if self.side == 0:
            return value(self.h, a, 1) - self.bends[1].least
        return value(self.h, a, 1) - value(self.k, self.line(a), -1)

    def curvature(self):
        """At least the second derivative's size: of equal heads, by how little the two differ."""
        outer, inner, square = *self.bends, self.slope**2 * abs(self.side)
        most = outer.second + square * inner.second
        if not self.same or outer.third is None:
            return most
        distance = max(abs(a - self.line(a)) for a in self.ends)
        return min(most, abs(1 - square) * outer.second + square * outer.third * distance)

    def bound(self):
        (start, end), inner = self.ends, self.bends[1]
        least, most = sorted(map(self.line, self.ends))
        fits = {1: least >= inner.rises, 0: inner.least is not None, -1: most <= inner.falls}
        need(start <= end, f"a cell ends at {float(end)}, before it starts at {float(start)}")
        need(fits[self.side], f"side {self.side} says nothing where {self.k[0]} turns")
        others = inner.kinks if self.side and self.slope else ()
        meets = [(kink - self.offset) / self.slope for kink in others]
        inside = {a for a in (*self.bends[0].kinks, *meets) if start < a < end}
        stops = [(a, self.apart(a)) for a in (start, *sorted(inside), end)]
        curvature = self.curvature()
        return max(
            max(first, last) + curvature * (high - low) ** 2 / 8
            for (low, first), (high, last) in pairwise(stops)
        )


class Covered(Layer):
    """A layer of which certificates with covers are judged too."""

    def bound(self, unit, program, certificate):
        """A bound of |unit − program| over the box; each is ((op, params, …), affine map)."""
        if "covers" not in certificate:
            return super().bound(unit, program, certificate)
        need("multipliers" not in certificate, "it has covers and multipliers")
        ways = zip(((unit, program), (program, unit)), certificate["covers"], strict=True)
        found = max(ZERO, *(self.covered(*way, cover) for way, cover in ways))
        claimed = fraction(certificate["bound"])
        return claimed if 0 <= claimed - found <= SLACK else found

    def covered(self, outer, inner, cover):
        """A bound of outer − inner."""
        ((*h, _), a), ((*k, _), b) = outer, inner
        end, bounds = number(cover["start"]), []
        least, most = -self.largest(-ONE, a, ZERO, b), self.largest(ONE, a, ZERO, b)
        need(end <= least, f"cells start at {float(end)}, above {float(least)}")
        for numbers in cover["cells"]:
            start, (end, side, slope) = end, map(number, numbers)
            reach = self.largest(side * slope, a, side, b)
            bounds.append(Cell(h, k, (start, end), side, slope, -side * reach).bound())
        need(end >= most, f"cells end at {float(end)}, below {float(most)}")
        return max(bounds)


def check_all(folder: Path) -> Report:
    """Check all certificates of a folder, with covers or without."""
    return check(folder, Covered)


if __name__ == "__main__":
    print_and_exit(check_all(Path(sys.argv[1])))
