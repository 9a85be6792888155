"""Other domains than a box: zonotopes, balls, and inputs that were replaced.

**Zonotope** x = centre + generators · t, |tᵢ| <= 1: a unit of x is a unit of t over a box, with the
weights generatorsᵀ·w. These are rounded to floats, and what that may change, times the heads'
Lipschitz constants, is added to the bound.

**Ball** of norm 2: the closed form with h(v) = v·centre + r·|v|. Any multiplier gives a bound; the
best is known in floats, and the bound is rechecked in exact arithmetic with roots rounded up.

**In situ**: a program that reads replaced inputs x + e, |eᵢ| <= dᵢ, beside a unit that reads x, is
a pair over the joint box of (x, e). So the bounds of one layer are the errors of the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np

from oracles.claims import (
    Affine,
    AffineBank,
    Box,
    Proved,
    Refuted,
    Unknown,
    Verdict,
    below,
    dyadics,
    gap_at,
    pair_heads,
    power_of_two,
    preactivation,
)
from oracles.prove import prove_layer

ROOT_BITS = 64  # of a square root behind the leading one
WITHIN = 1 - 2.0**-40  # of a radius: rounding leads no point out
SHORT = 2**30  # multipliers are multiples of its inverse


@dataclass(frozen=True, eq=False)
class Zonotope:
    """All centre + generators · t with |tᵢ| <= 1: centre (n,), generators (n, m)."""

    centre: np.ndarray
    generators: np.ndarray

    @property
    def box(self) -> Box:
        """That of t."""
        ones = np.ones(self.generators.shape[1])
        return Box(-ones, ones)

    def pulled(self, affine: Affine) -> tuple[Affine, Fraction]:
        """A unit as one of t in floats, and how far its map is from the exact one at most."""
        weights, off = [], Fraction(0)
        plain = Affine(affine.weights, 0.0, affine.head)
        for generator in self.generators.T:
            exact = preactivation(plain, generator)
            weights.append(float(exact))
            off += abs(exact - Fraction(weights[-1]))
        middle = preactivation(affine, self.centre)
        return Affine(np.array(weights), float(middle), affine.head), off + abs(
            middle - Fraction(float(middle))
        )

    def decide(self, unit: Affine, program: Affine, epsilon: Fraction) -> Verdict:
        """``sup over the zonotope |unit − program| <= epsilon``; heads that jump stay Unknown."""
        (own, off), (its, its_off) = self.pulled(unit), self.pulled(program)
        if any(np.isinf(one.head.lipschitz) for one in (unit, program)):
            return Unknown(f"{unit.head.op} and {program.head.op}: a jump over a zonotope")
        slack = off * Fraction(unit.head.lipschitz) + its_off * Fraction(program.head.lipschitz)
        if slack > epsilon:
            return Unknown(f"weights of t need rounding by {below(slack):.3g}, above epsilon")
        (verdict,) = prove_layer(_bank(own), _bank(its), self.box, [epsilon - slack])
        match verdict:
            case Unknown():
                return verdict
            case Proved(bound=bound):
                return Proved("enclosed", bound + slack)
        t = verdict.counterexample
        reached = gap_at(own, its, t) - slack
        if reached > epsilon:
            return Refuted(self.centre + self.generators @ t, below(reached))
        return Unknown("lies within the rounding of the weights of t")


@dataclass(frozen=True, eq=False)
class Ball:
    """All x with |x − centre| <= radius in norm 2: centre (n,)."""

    centre: np.ndarray
    radius: float

    def __post_init__(self) -> None:
        if not 0 <= self.radius < np.inf:
            raise ValueError(f"radius is {self.radius}; expected a finite number >= 0")

    def decide(self, unit: Affine, program: Affine, epsilon: Fraction) -> Verdict:
        """``sup over the ball |unit − program| <= epsilon``, for heads that `pair_heads` joins."""
        pairing = pair_heads(unit.head, program.head)
        if isinstance(pairing, Unknown):
            return pairing
        sides = (unit, pairing.unit), (program, pairing.program)
        bounds = [self._bound(*pair) for pair in _problems(sides)]
        bound = Fraction(pairing.factor) * max(b for b, _ in bounds)
        if bound <= epsilon:
            return Proved("enclosed", max(bound, Fraction(0)))
        gaps = [(gap_at(unit, program, point), point) for _, points in bounds for point in points]
        reached, point = max(gaps, key=lambda pair: pair[0])
        if reached > epsilon:
            return Refuted(point, below(reached))
        gap = f"{below(reached):.9g} <= sup <= {below(bound):.9g}, epsilon {below(epsilon):.9g}"
        return Unknown(f"lies within rounding, or this head's bound is not tight: {gap}")

    def _bound(
        self, scale: float, outer: Affine, inner: Affine, span: tuple[float, float]
    ) -> tuple[Fraction, list[np.ndarray]]:
        """min over λ of h(s·w − λ·q) + s·b − λ·c, exactly for one λ, and points to try."""
        multiplier = self._multiplier(scale, outer, inner, span)
        factors = (Fraction(scale), outer), (-multiplier, inner)
        middle = sum((f * preactivation(one, self.centre) for f, one in factors), Fraction(0))
        root = _root_above(_square(factors))
        direction = scale * outer.weights - float(multiplier) * inner.weights
        steps = self._to(direction), self._across(scale * outer.weights, inner)
        return middle + Fraction(self.radius) * root, [self._inside(step) for step in steps]

    def _to(self, direction: np.ndarray) -> np.ndarray:
        """The step from the centre to just before the sphere."""
        size = float(np.linalg.norm(direction))
        return direction * (self.radius / size * WITHIN) if size else 0 * direction

    def _across(self, w: np.ndarray, inner: Affine) -> np.ndarray:
        """The step to the largest w·x where the inner side vanishes, as it does at a λ that is no
        end of its interval."""
        q = inner.weights
        square = max(float(q @ q), np.finfo(float).tiny)
        down = -float(q @ self.centre + inner.bias) / square * q
        beside = w - float(w @ q) / square * q
        beside[np.abs(beside) < 2.0**-40 * np.abs(w).max()] = 0.0  # of one direction but for noise
        rest = self._to(beside)
        left = max(self.radius**2 - float(down @ down), 0.0)
        return (down + rest * (np.sqrt(left) / (self.radius or 1.0))) * WITHIN

    def _multiplier(
        self, scale: float, outer: Affine, inner: Affine, span: tuple[float, float]
    ) -> Fraction:
        """Where r·|s·w − λ·q| − λ·k is least: k is the other side's value at the centre."""
        w, q = scale * outer.weights, inner.weights
        k = float(inner.weights @ self.centre + inner.bias) / (self.radius or 1e-300)
        along, square = float(w @ q), float(q @ q)
        if k * k >= square:
            best = np.copysign(np.inf, k)
        else:
            rest = max(float(w @ w) - along * along / square, 0.0)
            best = along / square + k * np.sqrt(rest / (square * (square - k * k)))
        return Fraction(round(float(np.clip(best, *span)) * SHORT), SHORT)

    def _inside(self, step: np.ndarray) -> np.ndarray:
        """The centre and a step from it, halved until it is surely inside."""
        reach = Fraction(self.radius) ** 2
        while True:
            point = self.centre + step
            pairs = zip(point.tolist(), self.centre.tolist(), strict=True)
            if sum((Fraction(p) - Fraction(c)) ** 2 for p, c in pairs) <= reach:
                return point
            step = step / 2


def in_situ(
    units: AffineBank, programs: AffineBank, box: Box, errors: np.ndarray
) -> tuple[AffineBank, AffineBank, Box]:
    """Units of x and programs of x + e over the joint box of (x, e), |eᵢ| <= errors[i] (n,).

    x lies in `box` (n,). Columns that are not replaced (error 0) stand once. Raises ValueError for
    an error below zero or not finite.
    """
    if not (errors >= 0).all() or not np.isfinite(errors).all():
        raise ValueError("errors of inputs are finite numbers >= 0")
    moved = errors > 0
    none = np.zeros((len(units), int(moved.sum())))
    own = AffineBank(np.hstack([units.weights, none]), units.biases, units.heads)
    both = np.hstack([programs.weights, programs.weights[:, moved]])
    joint = Box(np.append(box.lower, -errors[moved]), np.append(box.upper, errors[moved]))
    return own, AffineBank(both, programs.biases, programs.heads), joint


def _bank(affine: Affine) -> AffineBank:
    return AffineBank(affine.weights[None], np.array([affine.bias]), (affine.head,))


def _problems(
    sides: Sequence[tuple[Affine, tuple[float, float]]],
) -> list[tuple[float, Affine, Affine, tuple[float, float]]]:
    """The four problems of closed_form.py."""
    (unit, slopes), (program, its) = sides
    forth = [(s, unit, program, its) for s in slopes]
    return [*forth, *((s, program, unit, slopes) for s in its)]


def _square(factors: Sequence[tuple[Fraction, Affine]]) -> Fraction:
    """|Σ factor · weights|², exactly."""
    parts = [(f, dyadics(one.weights)) for f, one in factors]
    scaled = [(f * power_of_two(d.exponent), d.integers) for f, d in parts]
    columns = zip(*(integers for _, integers in scaled), strict=True)
    zero = Fraction(0)
    sums = (sum((f * w for (f, _), w in zip(scaled, c, strict=True)), zero) for c in columns)
    return sum((total * total for total in sums), zero)


def _root_above(value: Fraction) -> Fraction:
    """A number not below the square root, and near to it."""
    shift = max(0, ROOT_BITS + (value.denominator.bit_length() - value.numerator.bit_length()) // 2)
    scaled = value * (1 << (2 * shift))
    floor = isqrt(scaled.numerator // scaled.denominator)
    exact = Fraction(floor) ** 2 == scaled
    return Fraction(floor + (not exact), 1 << shift)
