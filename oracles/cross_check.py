"""The same claims again, by Z3 and by another road than the closed form.

Unit and program see the box only through the pair (a, d): the pre-activation of the unit, and by
how much that of the program lies below it. Over a box the pairs fill a zonotope in the plane, with
one generator a column. Z3 is asked for a pair where the heads differ by more than epsilon, in each
sign, at first in the box around the zonotope. A pair that lies beyond a side of the zonotope is cut
off: by that side's normal in few bits if that will do, moved out so far that the whole zonotope,
exactly, lies behind it. If no pair is left, none is in the zonotope either. A pair beyond no side
is replayed exactly at the box's own point.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from oracles.claims import (
    Affine,
    Box,
    Pairing,
    Proved,
    Refuted,
    Unknown,
    Verdict,
    below,
    dyadics,
    gap_at,
    pair_heads,
    power_of_two,
)
from oracles.zonotope import Normal, Pair, Zonotope

LADDER = (12, 24, None)  # bits of a normal; None is exact
DEPTH = Fraction(1, 2)  # of what the side itself cuts off: a normal of few bits has to cut as much
MARGINS = Fraction(1, 2**20), Fraction(1, 2**40)  # of d's range, by which an answer should clear
STEPS = 5_000_000  # of z3's resource counter: seconds at most, and the same on every machine


@dataclass(frozen=True)
class _Pairs:
    """(a, d·lift) = z·scale for the points z of a zonotope, exactly.

    `lift`, a power of two, makes d about as long as a: a difference is small beside its unit.
    """

    zonotope: Zonotope
    scale: Fraction
    lift: int


def smt_check(
    unit: Affine, program: Affine, box: Box, epsilon: Fraction, *, steps: int = STEPS
) -> Verdict:
    """Ask Z3 whether ``|unit − program| <= epsilon`` on a box (n,), for one pair.

    `Proved("solver", epsilon)`, `Refuted` with a replayed counterexample, or `Unknown`: heads
    that no bound joins, Lipschitz heads whose bound is not tight, or more than `steps` in all.
    """
    pairing = pair_heads(unit.head, program.head)
    if isinstance(pairing, Unknown):
        return pairing
    pairs, open_ = _pairs(unit, program, box), False
    inquiry = _Inquiry(pairs, pairing, steps)
    for sign in (1, -1):
        for found in inquiry.exceeding(sign, epsilon / Fraction(pairing.factor)):
            if isinstance(found, Unknown):
                return found
            point = _point(box, pairs.zonotope.shares(found))
            difference = gap_at(unit, program, point)
            if difference > epsilon:
                return Refuted(point, below(difference))
            open_ = True
    if not open_:
        return Proved("solver", epsilon)
    why = "it lies within rounding" if pairing.tight else "the bound of this head is not tight"
    return Unknown(f"z3 finds epsilon exceeded, but at no point that replays: {why}")


def _pairs(unit: Affine, program: Affine, box: Box) -> _Pairs:
    both = dyadics(np.concatenate([unit.weights, program.weights]))
    lower, upper, box_exponent = box.exact
    size = unit.weights.size
    scale = power_of_two(both.exponent + box_exponent - 1)
    generators, a, d = [], 0, 0
    pairs = zip(both.integers[:size], both.integers[size:], lower, upper, strict=True)
    for w, q, low, high in pairs:
        generators.append((w * (high - low), (w - q) * (high - low)))
        a += w * (high + low)
        d += (w - q) * (high + low)
    center = (
        a + Fraction(unit.bias) / scale,
        d + (Fraction(unit.bias) - Fraction(program.bias)) / scale,
    )
    lengths = sum(abs(a) for a, _ in generators), sum(abs(d) for _, d in generators)
    shift = max(0, lengths[0].bit_length() - lengths[1].bit_length()) if lengths[1] else 0
    lifted = Zonotope([(a, d << shift) for a, d in generators], (center[0], center[1] * 2**shift))
    return _Pairs(lifted, scale, 1 << shift)


class _Inquiry:
    """The pairs of one claim put to a solver, behind the sides that were needed so far."""

    def __init__(self, pairs: _Pairs, pairing: Pairing, steps: int) -> None:
        self.pairs, self.steps = pairs, steps
        context = z3.Context()  # its own, so that steps are counted alike whatever ran before
        self.solver = z3.SimpleSolver(ctx=context)
        self.pair = z3.Real("a", context), z3.Real("d", context)
        a, d = self.pair[0] * pairs.lift, self.pair[1]
        self.gap = _head(pairing.unit, a) - _head(pairing.program, a - d)
        for normal in pairs.zonotope.frame:
            self._cut(normal)

    def exceeding(self, sign: int, epsilon: Fraction) -> Iterator[Pair | Unknown]:
        """Nothing if sign·gap exceeds epsilon nowhere; else pairs, first those that clear it."""
        wanted, zonotope = epsilon * self.pairs.lift / self.pairs.scale, self.pairs.zonotope
        found = self._inside(sign, wanted)
        if isinstance(found, tuple):
            reach = zonotope.reach((0, 1))
            clearer = (self._inside(sign, wanted + margin * reach) for margin in MARGINS)
            yield from (pair for pair in clearer if pair is not None)
        if found is not None:
            yield found

    def _inside(self, sign: int, wanted: Fraction) -> Pair | Unknown | None:
        """A pair of a gap above `wanted` that lies beyond no side; None if there is none."""
        while True:
            found = self._asked(sign, wanted)
            if not isinstance(found, tuple) or not self._separated(found):
                return found

    def _asked(self, sign: int, wanted: Fraction) -> Pair | Unknown | None:
        """A pair of a gap above `wanted` behind all sides that the solver has."""
        if self.steps <= 0:
            return Unknown("z3 gave up within its steps")
        self.solver.set("rlimit", self.steps)
        self.solver.push()
        self.solver.add(sign * self.gap > self._real(wanted))
        before, status = self._counted(), self.solver.check()
        self.steps -= self._counted() - before
        model = self.solver.model() if status == z3.sat else None
        reason = self.solver.reason_unknown() if status == z3.unknown else ""
        self.solver.pop()
        if status == z3.unknown:
            return Unknown(f"z3 gave up within its steps: {reason}")
        return None if model is None else (_value(model, self.pair[0]), _value(model, self.pair[1]))

    def _separated(self, pair: Pair) -> bool:
        """Cut off a pair that lies beyond a side, by a normal as short as will do."""
        side = self.pairs.zonotope.side(pair)
        depth = self._depth(side, pair)
        for normal in (_shortened(side, bits) for bits in LADDER if depth > 0):
            if self._depth(normal, pair) >= DEPTH * depth:
                self._cut(normal)
                return True
        return False

    def _depth(self, normal: Normal, pair: Pair) -> Fraction:
        """How far a pair lies beyond the zonotope along a normal, whatever its length."""
        return self.pairs.zonotope.beyond(normal, pair) / sum(map(abs, normal))

    def _cut(self, normal: Normal) -> None:
        """Tell the solver of a side, and of the one opposite."""
        zonotope, (x, y) = self.pairs.zonotope, (self._real(Fraction(part)) for part in normal)
        reach, along = zonotope.reach(normal), x * self.pair[0] + y * self.pair[1]
        middle = normal[0] * zonotope.center[0] + normal[1] * zonotope.center[1]
        self.solver.add(along <= self._real(middle + reach), along >= self._real(middle - reach))

    def _counted(self) -> int:
        """Steps of this solver so far."""
        return sum(n for name, n in self.solver.statistics() if name == "rlimit count")

    def _real(self, value: Fraction) -> Any:
        return z3.RealVal(str(value), self.solver.ctx)


def _shortened(normal: Normal, bits: int | None) -> Normal:
    """A normal of about the same direction, in so many bits."""
    x, y = normal
    shift = max(abs(x), abs(y)).bit_length() - (bits or 0)
    if bits is None or shift <= 0:
        return normal
    rounded = ((abs(part) + (1 << (shift - 1))) >> shift for part in normal)
    x, y = (near if part > 0 else -near for near, part in zip(rounded, normal, strict=True))
    return x, y


def _head(slopes: tuple[float, float], value: Any) -> Any:
    low, high = (z3.RealVal(str(Fraction(slope)), value.ctx) for slope in slopes)
    return high * value if slopes[0] == slopes[1] else z3.If(value >= 0, high * value, low * value)


def _value(model: z3.ModelRef, variable: z3.ArithRef) -> Fraction:
    value: Any = model.eval(variable, model_completion=True)
    return Fraction(value.numerator_as_long(), value.denominator_as_long())


def _point(box: Box, shares: np.ndarray) -> np.ndarray:
    """The point of the box that lies, in each column, at the t (n,) in [-1, 1] of its generator."""
    half = box.upper / 2 - box.lower / 2
    point = np.where(shares > 0, box.upper - (1 - shares) * half, box.lower + (1 + shares) * half)
    return np.clip(point, box.lower, box.upper)
