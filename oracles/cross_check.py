"""The same claims again, by Z3 and by another road than the closed form.

Unit and program see the box only through the pair (a, d): the pre-activation of the unit, and by
how much that of the program lies below it. Over a box the pairs fill a zonotope in the plane, with
one generator a column. Z3 is slow with 24-bit mantissas, so the zonotope is *enclosed*: the
direction of each generator is rounded to a few bits, generators that then agree are added up, and
all that rounding moved is one error in a and one in d. Z3 is asked for a pair in the enclosure
where the heads differ by more than epsilon, in each sign. None in the enclosure means none at all.
A pair that exists is replayed exactly at the box's own point; if it is no true counterexample, the
bits are doubled, and in the end the question is asked without rounding.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import gcd
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

LADDER = (6, 12, 24, None)  # bits of a direction; None is exact
GUARD_BITS = 8  # how much finer lengths are kept than directions
MARGINS = Fraction(1, 2**20), Fraction(1, 2**40)  # by which an answer should clear epsilon
STEPS = 5_000_000  # of z3's resource counter: seconds at most, and the same on every machine


@dataclass(frozen=True)
class _Zonotope:
    """(a, d·lift) = (center + Σ tᵢ·generatorsᵢ)·scale over |tᵢ| <= 1, exactly.

    `lift`, a power of two, makes d about as long as a: a difference is small beside its unit.
    """

    generators: list[tuple[int, int]]
    center: tuple[Fraction, Fraction]
    scale: Fraction
    lift: int


@dataclass(frozen=True)
class _Group:
    """Generators of one direction, added up: their length, and (column, sign) of each."""

    length: int
    members: list[tuple[int, int]]


@dataclass(frozen=True)
class _Question:
    """Over |tᵢ| <= 1, Σ tᵢ·lengthᵢ·directionᵢ/one + center ± errors, and epsilon·lift."""

    groups: dict[tuple[int, int], _Group]
    one: int
    center: tuple[Fraction, Fraction]
    errors: tuple[Fraction, Fraction]
    epsilon: Fraction
    lift: int


def smt_check(
    unit: Affine, program: Affine, box: Box, epsilon: Fraction, *, steps: int = STEPS
) -> Verdict:
    """Ask Z3 whether ``|unit − program| <= epsilon`` on a box (n,), for one pair.

    `Proved("solver", epsilon)`, `Refuted` with a replayed counterexample, or `Unknown`: heads
    that no bound joins, Lipschitz heads whose bound is not tight, or more than `steps` a query.
    """
    pairing = pair_heads(unit.head, program.head)
    if isinstance(pairing, Unknown):
        return pairing
    zonotope, signs = _zonotope(unit, program, box), [1, -1]
    context = z3.Context()  # its own, so that steps are counted alike whatever ran before
    for bits in LADDER:
        question = _pose(zonotope, epsilon / Fraction(pairing.factor), bits)
        inquiry = _Inquiry.of(question, pairing, context, steps)
        answers = {sign: inquiry.answer(sign) for sign in signs}
        for found in answers.values():
            if isinstance(found, Unknown):
                return found
            if found is None:
                continue
            point = _point(box, question.groups, found)
            difference = gap_at(unit, program, point)
            if difference > epsilon:
                return Refuted(point, below(difference))
        signs = [sign for sign, found in answers.items() if found is not None]
        if not signs:
            return Proved("solver", epsilon)
    why = "it lies within rounding" if pairing.tight else "the bound of this head is not tight"
    return Unknown(f"z3 finds epsilon exceeded, but at no point that replays: {why}")


def _zonotope(unit: Affine, program: Affine, box: Box) -> _Zonotope:
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
    lifted = [(a, d << shift) for a, d in generators]
    return _Zonotope(lifted, (center[0], center[1] * (1 << shift)), scale, 1 << shift)


def _pose(zonotope: _Zonotope, epsilon: Fraction, bits: int | None) -> _Question:
    """The question over the zonotope itself (no bits), or over an enclosure in short numbers."""
    groups, errors = _group(zonotope.generators, bits)
    center, lift, epsilon = zonotope.center, zonotope.lift, epsilon * zonotope.lift / zonotope.scale
    if bits is None:
        return _Question(groups, 1, center, (Fraction(0), Fraction(0)), epsilon, lift)
    total = sum(group.length for group in groups.values())
    grid = 1 << max(0, total.bit_length() - bits - GUARD_BITS)
    rounded = {
        key: _Group(-(-group.length // grid), group.members) for key, group in groups.items()
    }
    middle = Fraction(round(center[0] / grid)), Fraction(round(center[1] / grid))
    # rounded up, and one more for the rounding of the center
    outer = Fraction(-(-errors[0] // grid) + 1), Fraction(-(-errors[1] // grid) + 1)
    return _Question(rounded, 1 << bits, middle, outer, Fraction(epsilon // grid), lift)


def _group(
    generators: list[tuple[int, int]], bits: int | None
) -> tuple[dict[tuple[int, int], _Group], tuple[Fraction, Fraction]]:
    """Add up generators of one rounded direction; and how far the rounding moves a and d in all."""
    lengths: dict[tuple[int, int], int] = {}
    members: dict[tuple[int, int], list[tuple[int, int]]] = {}
    moved = [0, 0]
    for column, (a, d) in enumerate(generators):
        if (a, d) == (0, 0):
            continue
        key, length, sign, errors = _direction(a, d, bits)
        lengths[key] = lengths.get(key, 0) + length
        members.setdefault(key, []).append((column, sign))
        moved = [moved[0] + errors[0], moved[1] + errors[1]]
    one = 1 << (bits or 0)
    groups = {key: _Group(length, members[key]) for key, length in lengths.items()}
    return groups, (Fraction(moved[0], one), Fraction(moved[1], one))


def _direction(
    a: int, d: int, bits: int | None
) -> tuple[tuple[int, int], int, int, tuple[int, int]]:
    """Direction, length, sign, moved: (a, d) = (sign·length·direction ± moved)/2^bits."""
    leads = 16 * abs(a) >= abs(d)
    sign = 1 if (a if leads else d) > 0 else -1
    a, d = sign * a, sign * d
    if bits is None:
        common = gcd(a, d)
        return (a // common, d // common), common, sign, (0, 0)
    length, other = (a, d) if leads else (d, a)
    near = ((other << (bits + 1)) + length) // (2 * length)
    moved = abs((other << bits) - near * length)
    if leads:
        return (1 << bits, near), length, sign, (0, moved)
    return (near, 1 << bits), length, sign, (moved, 0)


@dataclass(frozen=True)
class _Inquiry:
    """A question put to a solver, but for the sign of the difference."""

    question: _Question
    solver: z3.Solver
    gap: Any

    @classmethod
    def of(
        cls, question: _Question, pairing: Pairing, context: z3.Context, steps: int
    ) -> "_Inquiry":
        solver = z3.SimpleSolver(ctx=context)
        solver.set("rlimit", steps)
        solver.from_string(_script(question))
        a, d = z3.Real("a", context) * question.lift, z3.Real("d", context)
        gap = _head(pairing.unit, a) - _head(pairing.program, a - d)
        return cls(question, solver, gap)

    def answer(self, sign: int) -> list[Fraction] | Unknown | None:
        """For each direction its t in [-1, 1]; None if there is no answer at all."""
        self.solver.push()
        self._demand(sign, self.question.epsilon)
        status = self.solver.check()
        reason = self.solver.reason_unknown() if status == z3.unknown else ""
        model = self._clearer(sign) if status == z3.sat else None
        self.solver.pop()
        if status == z3.unknown:
            return Unknown(f"z3 gave up within its steps: {reason}")
        return None if model is None else self._shares(model)

    def _demand(self, sign: int, epsilon: Fraction) -> None:
        wanted = z3.RealVal(str(epsilon * self.question.one), self.solver.ctx)
        self.solver.add(sign * self.gap > wanted)

    def _clearer(self, sign: int) -> z3.ModelRef:
        """The model the solver has, or a better: one that needs no error and clears epsilon."""
        model, question = self.solver.model(), self.question
        rounding = [4 * question.lift * sum(question.errors)] if any(question.errors) else []
        self.solver.add(*(z3.Real(f"error_{axis}", self.solver.ctx) == 0 for axis in "ad"))
        for more in (*rounding, *(question.epsilon * margin for margin in MARGINS)):
            self.solver.push()
            self._demand(sign, question.epsilon + more)
            status = self.solver.check()
            model = self.solver.model() if status == z3.sat else model
            self.solver.pop()
            if status == z3.sat:
                break
        return model

    def _shares(self, model: z3.ModelRef) -> list[Fraction]:
        values = {known.name(): model[known] for known in model.decls()}
        lengths = [group.length for group in self.question.groups.values()]
        found = [_fraction(values.get(f"z{index}")) for index in range(len(lengths))]
        return [value / max(length, 1) for value, length in zip(found, lengths, strict=True)]


def _script(question: _Question) -> str:
    """The zonotope in SMT-LIB, a and d times `one`: parsed faster than z3's Python objects."""
    groups, one = question.groups, question.one
    lines = [f"(declare-const z{index} Real)" for index in range(len(groups))]
    lines += [_between(f"z{index}", group.length) for index, group in enumerate(groups.values())]
    for axis, name in enumerate("ad"):
        terms = [
            f"(* {_real(key[axis])} z{index})" for index, key in enumerate(groups) if key[axis]
        ]
        terms += [f"error_{name}", _real(question.center[axis] * one)]
        lines += [f"(declare-const {name} Real)", f"(declare-const error_{name} Real)"]
        lines += [_between(f"error_{name}", question.errors[axis] * one)]
        lines += [f"(assert (= {name} (+ {' '.join(terms)})))"]
    return "\n".join(lines)


def _between(name: str, limit: Fraction | int) -> str:
    return f"(assert (and (<= {_real(-limit)} {name}) (<= {name} {_real(limit)})))"


def _real(value: Fraction | int) -> str:
    size = f"(/ {abs(value.numerator)}.0 {value.denominator}.0)"
    return f"(- {size})" if value < 0 else size


def _head(slopes: tuple[float, float], value: Any) -> Any:
    low, high = (z3.RealVal(str(Fraction(slope)), value.ctx) for slope in slopes)
    return high * value if slopes[0] == slopes[1] else z3.If(value >= 0, high * value, low * value)


def _fraction(value: object) -> Fraction:
    """A number of a model; the model leaves out those that do not matter."""
    if not isinstance(value, z3.RatNumRef):
        return Fraction(0)
    return Fraction(value.numerator_as_long(), value.denominator_as_long())


def _point(box: Box, groups: dict[tuple[int, int], _Group], shares: list[Fraction]) -> np.ndarray:
    """The point of the box, in floats, where each generator has the t of its direction."""
    point = (box.lower / 2 + box.upper / 2).copy()
    for group, t in zip(groups.values(), shares, strict=True):
        for column, sign in group.members:
            low, high = Fraction(box.lower[column]), Fraction(box.upper[column])
            point[column] = float(low + (1 + sign * t) / 2 * (high - low))
    return np.clip(point, box.lower, box.upper)
