"""Programs at a few points, in exact fractions, where unknown functions are drawn at random.

Programs that are equal differ at no point, because nothing is rounded; others agree at all of them
only by accident. A transcendental function has no exact values: a *random interpretation* takes
its place (Gulwani and Necula, POPL 2003), of the same declared range and parity, with another value
for every argument and point. What holds for all such functions holds for the true one; what holds
for the true one alone, such as sin² + cos² = 1, is refuted.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import inf
from random import Random
from typing import Any

from grammars.interpreters.rational import RationalAlgebra
from grammars.primitive import Transcendental
from grammars.program import Node, Value

POINTS = 11
SIZES = (0, -3, 3, 12, 44)  # inputs are about these powers of two

Params = tuple[tuple[str, Value], ...]
Values = tuple[Fraction, ...]
"""The values of a program at all points."""


class PointAlgebra(RationalAlgebra):
    """The exact interpreter at one point; it reads no taps, and draws transcendentals there."""

    def __init__(self, point: int) -> None:
        super().__init__(_no_tap)
        self.point = point

    def const(self, value: float) -> Fraction:
        return _fraction(value)

    def linear(self, weights: Sequence[float], values: Sequence[Fraction], bias: float) -> Fraction:
        terms = [(w.as_integer_ratio(), v) for w, v in zip(weights, values, strict=True)]
        parts = [(n * v.numerator, d * v.denominator) for (n, d), v in terms]
        parts.append(bias.as_integer_ratio())
        common = max(d for _, d in parts)  # all are powers of two
        return Fraction(sum(n * (common // d) for n, d in parts), common)

    def call(self, function: Transcendental, x: Fraction) -> Fraction:
        return _drawn(function, self.point, x)


def applied(body: Callable[..., Fraction], params: Params, args: Sequence[Values]) -> Values:
    """The values of a body of arguments that have `args` for theirs."""
    rows = list(zip(*args, strict=True)) if args else [()] * POINTS
    named = dict(params)
    algebras = _algebras(len(rows))
    return tuple(body(k, *row, **named) for k, row in zip(algebras, rows, strict=True))


@lru_cache(maxsize=1 << 12)  # programs share their taps
def input_values(node: Node, points: int = POINTS) -> Values:
    """The values of an input: zero, and numbers of many sizes and both signs, with zeros and ones
    among them."""
    random = Random(f"{node.op} {node.args!r} {node.params!r}")
    signs = [random.choice((-1, 1)) for _ in SIZES]
    turns = (divmod(k, len(SIZES)) for k in range(points - 1))
    return Fraction(0), *(signs[i] * (-1) ** turn * _size(random, SIZES[i]) for turn, i in turns)


def _size(random: Random, size: int) -> Fraction:
    if random.random() < 0.1:
        return Fraction(random.randint(0, 1))
    odd = 2 * random.getrandbits(15) + 1
    return odd * Fraction(2) ** (size - random.randint(13, 16))


def _drawn(function: Transcendental, point: int, x: Fraction) -> Fraction:
    """The value at x of a function that is like another in what is declared of it."""
    if function.parity and x < 0:
        return function.parity * _drawn(function, point, -x)
    if function.parity < 0 and not x:
        return x
    low, high = function.low, function.high
    digits = hash((_seed(function.name), point, x.numerator, x.denominator))  # of numbers: no salt
    share = {0: Fraction(0), 1: Fraction(1)}.get(digits % 8)  # an end of the range
    share = Fraction(digits % (1 << 32), 1 << 32) if share is None else share
    if inf not in (-low, high):
        return _fraction(low) + _fraction(high - low) * share
    reach = share * (1 << (digits >> 32) % 24)
    if low == -inf:
        return _fraction(high) - reach if high < inf else reach * (-1) ** (digits >> 40)
    return _fraction(low) + reach


@lru_cache(maxsize=2)
def _algebras(count: int) -> tuple[PointAlgebra, ...]:
    return tuple(map(PointAlgebra, range(count)))


@lru_cache(maxsize=1 << 12)  # programs share their constants
def _fraction(value: float) -> Fraction:
    return Fraction(value)


@lru_cache(maxsize=1 << 8)
def _seed(name: str) -> int:
    return Random(name).getrandbits(60)


def _no_tap(*_: Any) -> Fraction:
    raise KeyError("at points, what a program reads is given by `input_values`")
