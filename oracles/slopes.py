"""What a skeleton does to its rows, read from the bodies alone: slopes and Lipschitz constants.

`slopes` finds that relu is (0, 1), a leaky rectifier (slope, 1) and the absolute value (−1, 1), for
a user's primitives as for the core's; the closed form needs no more. `lipschitz` serves heads that
bend smoothly or saturate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from grammars.evaluation import Algebra, Unsupported, evaluate
from grammars.hoist import ROWS
from grammars.interpreters.affine import TapKey
from grammars.primitive import Primitive, Transcendental
from grammars.program import Node


@dataclass(frozen=True)
class Ray:
    """The function a ↦ left · a for a ≤ 0 and right · a for a ≥ 0; or `constant`, and no slopes."""

    left: Fraction = Fraction(0)
    right: Fraction = Fraction(0)
    constant: Fraction = Fraction(0)

    @property
    def is_constant(self) -> bool:
        return not self.left and not self.right


@dataclass(frozen=True)
class Bounded:
    """A value that changes by at most `rate` per unit of change; `constant` if it is known."""

    rate: Fraction
    constant: Fraction | None = None


def slopes(skeleton: Node, primitives: Mapping[str, Primitive]) -> tuple[Fraction, Fraction] | None:
    """(left, right) of a skeleton over row 0 that is positively homogeneous; None for any other.

    The skeleton is a ↦ left · a for a ≤ 0 and right · a for a ≥ 0, exactly.
    """
    try:
        ray: Ray = evaluate(skeleton, HomogeneousAlgebra(), primitives)
    except Unsupported:
        return None
    return None if ray.constant else (ray.left, ray.right)


def lipschitz(skeleton: Node, primitives: Mapping[str, Primitive]) -> Fraction | None:
    """An L with |f(r) − f(r′)| ≤ L · max |rᵢ − r′ᵢ| over the rows r of a skeleton; None for a jump.

    An upper bound: branches and sums are bounded apart.
    """
    bent = slopes(skeleton, primitives)
    if bent is not None:
        return max(map(abs, bent))
    try:
        return evaluate(skeleton, LipschitzAlgebra(), primitives).rate
    except Unsupported:
        return None


class HomogeneousAlgebra(Algebra):
    """Values are `Ray`s over row 0; raises Unsupported where the result is not homogeneous."""

    name = "homogeneous"

    def __init__(self) -> None:
        super().__init__(lambda *key: _row(key, Ray(Fraction(1), Fraction(1))))

    def const(self, value: float) -> Ray:
        return Ray(constant=Fraction(value))

    def add(self, a: Ray, b: Ray) -> Ray:
        _homogeneous(a, b)
        return Ray(a.left + b.left, a.right + b.right, a.constant + b.constant)

    def mul(self, a: Ray, b: Ray) -> Ray:
        if not a.is_constant:
            a, b = b, a
        if not a.is_constant:
            raise Unsupported("a product of two values is not homogeneous")
        return Ray(a.constant * b.left, a.constant * b.right, a.constant * b.constant)

    def max(self, a: Ray, b: Ray) -> Ray:
        _homogeneous(a, b)  # left of zero the larger slope gives the smaller value
        left, right = min(a.left, b.left), max(a.right, b.right)
        return Ray(left, right, max(a.constant, b.constant))

    def min(self, a: Ray, b: Ray) -> Ray:
        _homogeneous(a, b)
        left, right = max(a.left, b.left), min(a.right, b.right)
        return Ray(left, right, min(a.constant, b.constant))

    def select(self, condition: Ray, positive: Ray, otherwise: Ray) -> Ray:
        if condition.is_constant:
            return positive if condition.constant > 0 else otherwise
        if positive.constant or otherwise.constant:
            raise Unsupported("a choice between constants jumps")
        left = positive.left if condition.left < 0 else otherwise.left
        right = positive.right if condition.right > 0 else otherwise.right
        return Ray(left, right)


class LipschitzAlgebra(Algebra):
    """Values are `Bounded`; raises Unsupported for jumps and for products of values."""

    name = "lipschitz"

    def __init__(self) -> None:
        super().__init__(lambda *key: _row(key, Bounded(Fraction(1)), several=True))

    def const(self, value: float) -> Bounded:
        return Bounded(Fraction(0), Fraction(value))

    def add(self, a: Bounded, b: Bounded) -> Bounded:
        if a.constant is not None and b.constant is not None:
            return Bounded(Fraction(0), a.constant + b.constant)
        return Bounded(a.rate + b.rate)

    def mul(self, a: Bounded, b: Bounded) -> Bounded:
        if a.constant is None:
            a, b = b, a
        if a.constant is None:
            raise Unsupported("a product of two values has no Lipschitz constant")
        product = None if b.constant is None else a.constant * b.constant
        return Bounded(abs(a.constant) * b.rate, product)

    def max(self, a: Bounded, b: Bounded) -> Bounded:
        if a.constant is not None and b.constant is not None:
            return Bounded(Fraction(0), max(a.constant, b.constant))
        return Bounded(max(a.rate, b.rate))

    def min(self, a: Bounded, b: Bounded) -> Bounded:
        if a.constant is not None and b.constant is not None:
            return Bounded(Fraction(0), min(a.constant, b.constant))
        return Bounded(max(a.rate, b.rate))

    def select(self, condition: Bounded, positive: Bounded, otherwise: Bounded) -> Bounded:
        if condition.constant is not None:
            return positive if condition.constant > 0 else otherwise
        if positive.constant is None or positive.constant != otherwise.constant:
            raise Unsupported("a choice between two values may jump")
        return positive

    def call(self, function: Transcendental, x: Bounded) -> Bounded:
        return Bounded(function.lipschitz * x.rate)


def _row(key: TapKey, value: Any, *, several: bool = False) -> Any:
    bank, channel, dy, dx = key
    if bank != ROWS or dy or dx or (channel and not several):
        raise Unsupported(f"{key} is not row 0: hoist the program first")
    return value


def _homogeneous(a: Ray, b: Ray) -> None:
    if (a.constant and not b.is_constant) or (b.constant and not a.is_constant):
        raise Unsupported("a constant beside a value is not homogeneous")
