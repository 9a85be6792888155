"""What is claimed of a unit and its program, and what an oracle may answer.

A unit and its program are affine maps with a head: ``head(w·x + b)`` and ``head'(q·x + c)`` for x
in a box X. A claim says ``sup over X of |unit − program| <= epsilon``. An oracle answers with a
verdict: `Proved`, `Refuted` or `Unknown`, and never with a bare bool.

All numbers are floats, and a float is the exact dyadic number that it denotes (m·2^e).
"""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal, NoReturn

import numpy as np

from grammars.codes import common_exponent
from oracles.covers import Cover

# Bounds the error of a smooth head at a in float64, and of the difference of two (a few 2^-53);
# times 1 + |a| for those that grow with a.
SMOOTH_ERROR = Fraction(1, 2**45)


@dataclass(frozen=True)
class Dyadics:
    """Floats as exact numbers: entry i is ``integers[i] * 2**exponent``."""

    integers: list[int]
    exponent: int


def dyadics(values: np.ndarray) -> Dyadics:
    """Finite floats (n,) as integers over one common power of two, as short as they can be."""
    exponent, integers = common_exponent(values)
    return Dyadics(integers, exponent)


def power_of_two(exponent: int) -> Fraction:
    """2**exponent, exactly, for a negative exponent too."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def _frozen(values: np.ndarray, place: str) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        where = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"{place}{where} is {array[tuple(where)]}; expected a finite number")
    array.setflags(write=False)
    return array


def below(value: Fraction) -> float:
    """A float next to a number >= 0 and not above it."""
    near = float(min(value, Fraction(sys.float_info.max)))
    return near if Fraction(near) <= value else math.nextafter(near, 0.0)


def above(value: Fraction) -> float:
    """A float next to a number >= 0 and not below it."""
    near = below(value)
    return near if Fraction(near) == value else math.nextafter(near, math.inf)


@dataclass(frozen=True, eq=False)
class Box:
    """The points x with lower <= x <= upper: float64 (n,), or (U, n) for one box a unit.

    Raises ValueError for shapes that differ, numbers that are not finite, and lower > upper.
    """

    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self) -> None:
        lower, upper = _frozen(self.lower, "lower"), _frozen(self.upper, "upper")
        if lower.shape != upper.shape or lower.ndim not in (1, 2):
            raise ValueError(
                f"box of shapes {lower.shape}, {upper.shape}; expected both (n,) or (U, n)"
            )
        if (lower > upper).any():
            at = tuple(np.argwhere(lower > upper)[0].tolist())
            raise ValueError(
                f"lower{list(at)} = {lower[at]} is above upper {upper[at]}; swap them?"
            )
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    def of_unit(self, unit: int) -> "Box":
        """The box (n,) of one unit."""
        return self if self.lower.ndim == 1 else Box(self.lower[unit], self.upper[unit])

    @cached_property
    def exact(self) -> tuple[list[int], list[int], int]:
        """Integers of lower and of upper (both of a box (n,)) and their common exponent."""
        both = dyadics(np.concatenate([self.lower, self.upper]))
        size = self.lower.size
        return both.integers[:size], both.integers[size:], both.exponent


@dataclass(frozen=True)
class HeadForm:
    """A head as the bounds see it.

    With `two_slope` it is exactly ``a -> max(slopes[0]·a, slopes[1]·a)``; else it has the given
    Lipschitz constant, which is infinite where it jumps, and its slopes are those of the identity.
    """

    op: str
    params: tuple[tuple[str, float], ...]
    slopes: tuple[float, float]
    lipschitz: float
    two_slope: bool


_PLAIN = {"identity": (1.0, 1.0), "relu": (0.0, 1.0), "abs": (-1.0, 1.0)}
# Lipschitz constants, dyadic and rounded up: the slopes of gelu and silu stay below 1.1290 (at the
# square root of two) and 1.0999 (at 2.3994), those of hardsigmoid are 1/6 and those of hardswish
# end at 3/2.
_LIPSCHITZ = {
    **{"sigmoid": 0.25, "tanh": 1.0, "gelu": 145 / 128, "silu": 141 / 128},
    **{"hardsigmoid": 171 / 1024, "hardswish": 1.5},
}
_BOUNDED, _GROWING = ("sigmoid", "tanh"), ("gelu", "silu")
SMOOTH = _BOUNDED + _GROWING
JUMPS = ("step", "sign")
_PARAMETERS = {"leaky_relu": ("slope",), "prelu": ("slope",), "clip": ("high", "low")}
SUPPORTED_HEADS = (*_PLAIN, *_LIPSCHITZ, *JUMPS, *_PARAMETERS)


def head_form(op: str, params: Mapping[str, float] | Iterable[tuple[str, float]] = ()) -> HeadForm:
    """The form of a head by name; `params` are ``slope`` or ``low`` and ``high``.

    Raises ValueError for an unknown head, and for parameters that are missing, unknown, not finite.
    """
    named = {name: float(value) for name, value in dict(params).items()}
    pairs = tuple(sorted(named.items()))
    if op not in SUPPORTED_HEADS:
        raise ValueError(f"head {op!r} has no bound; expected one of {', '.join(SUPPORTED_HEADS)}")
    expected = _PARAMETERS.get(op, ())
    if tuple(sorted(named)) != expected or not all(map(math.isfinite, named.values())):
        raise ValueError(f"head {op!r} got {named}; expected finite values of {list(expected)}")
    if op in _PLAIN:
        lo, hi = _PLAIN[op]
        return HeadForm(op, pairs, (lo, hi), max(-lo, hi), True)
    if "slope" in named:
        return _leaky(op, pairs, named["slope"])
    if op == "clip" and named["low"] > named["high"]:
        raise ValueError(f"clip has low {named['low']} above high {named['high']}; swap them?")
    steepest = math.inf if op in JUMPS else _LIPSCHITZ.get(op, 1.0)
    return HeadForm(op, pairs, (1.0, 1.0), steepest, False)


def _leaky(op: str, pairs: tuple[tuple[str, float], ...], slope: float) -> HeadForm:
    """max(slope·a, a) while slope <= 1; a steeper one is concave and only monotone Lipschitz."""
    if slope > 1:
        return HeadForm(op, pairs, (1.0, 1.0), slope, False)
    return HeadForm(op, pairs, (slope, 1.0), max(1.0, -slope), True)


@dataclass(frozen=True, eq=False)
class Affine:
    """One unit or program ``head(weights·x + bias)``: weights float64 (n,)."""

    weights: np.ndarray
    bias: float
    head: HeadForm

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _frozen(self.weights, "weights"))
        object.__setattr__(self, "bias", float(_frozen(np.array(self.bias), "bias")))


@dataclass(frozen=True, eq=False)
class AffineBank:
    """U units or programs over the same n inputs: weights (U, n), biases (U,), one head each."""

    weights: np.ndarray
    biases: np.ndarray
    heads: tuple[HeadForm, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _frozen(self.weights, "weights"))
        object.__setattr__(self, "biases", _frozen(self.biases, "biases"))
        units, shapes = len(self.heads), (self.weights.shape, self.biases.shape)
        inputs = self.weights.shape[-1] if self.weights.ndim else 0
        if shapes != ((units, inputs), (units,)) or inputs == 0:
            raise ValueError(f"bank of shapes {shapes}; expected ({units}, n), ({units},), n >= 1")

    def __len__(self) -> int:
        return len(self.heads)

    def __getitem__(self, unit: int) -> Affine:
        return Affine(self.weights[unit], float(self.biases[unit]), self.heads[unit])


@dataclass(frozen=True)
class Claim:
    """``sup |unit − program| <= epsilon`` over the named domain, in the named semantics."""

    epsilon: Fraction
    domain: str
    semantics: Literal["real"] = "real"

    def __post_init__(self) -> None:
        if self.epsilon < 0:
            raise ValueError(f"epsilon is {self.epsilon}; expected a number >= 0")


class _NoTruthValue:
    """A verdict has three values: asking for a truth value would hide one of them."""

    def __bool__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} has no truth value; use isinstance or match")


@dataclass(frozen=True)
class Certificate:
    """What it takes to recheck a bound: one multiplier for each of the four problems of
    closed_form.py, or a cover of unit − program and one of program − unit, for cells.py."""

    multipliers: tuple[Fraction, ...] = ()
    covers: tuple[Cover, ...] = ()


@dataclass(frozen=True)
class Proved(_NoTruthValue):
    """The claim holds and `bound` <= epsilon bounds the difference.

    `checked`: by exact or ball arithmetic, with a certificate; `enclosed`: without one; `tried`:
    every point of a finite domain was evaluated in exact arithmetic; `solver`: on the word of a
    solver.
    """

    trust: Literal["checked", "enclosed", "tried", "solver"]
    bound: Fraction
    certificate: Certificate | None = None


@dataclass(frozen=True, eq=False)
class Refuted(_NoTruthValue):
    """At `counterexample` (n,) the two differ by at least `difference`, which is above epsilon."""

    counterexample: np.ndarray
    difference: float


@dataclass(frozen=True)
class Unknown(_NoTruthValue):
    """Neither was shown, and why."""

    reason: str


Verdict = Proved | Refuted | Unknown


@dataclass(frozen=True)
class Pairing:
    """How two heads are bounded together.

    ``|head(a) − head'(a')| <= factor·|max(unit·a) − max(program·a')|``, with equality if `tight`.
    """

    unit: tuple[float, float]
    program: tuple[float, float]
    factor: float
    tight: bool


def pair_heads(unit: HeadForm, program: HeadForm) -> Pairing | Unknown:
    """Two two-slope heads are bounded exactly; two equal others by their Lipschitz constant."""
    if unit.two_slope and program.two_slope:
        return Pairing(unit.slopes, program.slopes, 1.0, True)
    if math.isinf(unit.lipschitz):
        return Unknown(
            f"{unit.op} jumps: no bound over a box says how far apart two of them are, "
            "and a claim over all inputs takes inputs of few values"
        )
    if (unit.op, unit.params) == (program.op, program.params):
        return Pairing((1.0, 1.0), (1.0, 1.0), unit.lipschitz, False)
    heads = f"{unit.op}{dict(unit.params)} and {program.op}{dict(program.params)}"
    return Unknown(f"no bound joins the heads {heads}; give the program the head of its unit")


def evaluate(affine: Affine, point: np.ndarray) -> Fraction:
    """The value at a point (n,): exact, but for half of `head_error` where the head is smooth."""
    return apply_head(affine.head, preactivation(affine, point))


def preactivation(affine: Affine, point: np.ndarray) -> Fraction:
    """``weights·point + bias``, exactly."""
    weights, values = dyadics(affine.weights), dyadics(point)
    total = sum(w * x for w, x in zip(weights.integers, values.integers, strict=True))
    return total * power_of_two(weights.exponent + values.exponent) + Fraction(affine.bias)


def apply_head(head: HeadForm, value: Fraction) -> Fraction:
    """The head of an exact number: exact, but for half of `head_error` where it is smooth."""
    params = {name: Fraction(number) for name, number in head.params}
    if head.op == "clip":
        return min(max(value, params["low"]), params["high"])
    if head.op in JUMPS:
        return Fraction((value > 0) - (head.op == "sign" and value < 0))
    if head.op in ("hardsigmoid", "hardswish"):
        inside = min(max(value + 3, Fraction(0)), Fraction(6)) / 6
        return inside if head.op == "hardsigmoid" else value * inside
    if head.op in _GROWING and value > 700:
        return value  # to 1e-300
    if head.op in SMOOTH:
        return Fraction(_smooth(head.op, float(min(max(value, Fraction(-700)), Fraction(700)))))
    if "slope" in params:
        return value if value > 0 else params["slope"] * value
    return max(Fraction(head.slopes[0]) * value, Fraction(head.slopes[1]) * value)


def _smooth(op: str, a: float) -> float:
    """A smooth head of |a| <= 700; beyond it is straight to 1e-300."""
    if op == "tanh":
        return math.tanh(a)
    if op == "gelu":
        return 0.5 * a * math.erfc(-a / math.sqrt(2))
    return (a if op == "silu" else 1) / (1 + math.exp(-a))


def head_error(head: HeadForm, value: Fraction) -> Fraction:
    """Twice a bound of the error of `apply_head` at a value: zero but for smooth heads."""
    if head.op in _GROWING:
        return SMOOTH_ERROR * (1 + abs(value))
    return SMOOTH_ERROR if head.op in _BOUNDED else Fraction(0)


def gap_at(unit: Affine, program: Affine, point: np.ndarray) -> Fraction:
    """A certified lower bound of ``|unit − program|`` at a point (n,): replays a counterexample.

    It is the exact difference, less the error of a smooth head.
    """
    sides = [(one.head, preactivation(one, point)) for one in (unit, program)]
    here, there = (apply_head(head, value) for head, value in sides)
    error = max(head_error(head, value) for head, value in sides)
    return max(Fraction(0), abs(here - there) - error)
