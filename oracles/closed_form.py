"""The exact supremum of |unit − program| over a box, for heads made of two slopes.

Both are ``max(lo·a, hi·a)`` of an affine a, with lo <= hi: the unit of w·x + b, the program of
q·x + c. Since ``max(lo·a', hi·a')`` is the largest λ·a' with λ in [lo, hi],

    sup (unit − program) = max over s in {lo, hi of the unit} of
                           min over λ in [lo, hi of the program] of h(s·w − λ·q) + s·b − λ·c

by the minimax theorem (bilinear over compact convex sets), with h(v) = Σ max(l·v, u·v) the support
function of the box; the other direction exchanges the two. These are four problems a pair, in the
order (unit over program: s = lo, s = hi; program over unit: s = lo, s = hi). Each is convex and
piecewise linear in λ with breakpoints s·wᵢ/qᵢ, so its minimum is a weighted median: one sort,
O(n log n). Duplicate breakpoints need no merging, because their weights simply add up.

*Any* λ in its interval gives an upper bound: found here in floats, it is the certificate that
`exact_bound` rechecks in exact arithmetic. The float `values` alone prove nothing.

Heads that are not of this form but have a Lipschitz constant L, and are equal on both sides (clip,
sigmoid, tanh, gelu …), are bounded by L·sup |a − a'|: sound, not tight. See claims.pair_heads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import TypeVar

import numpy as np

from oracles.claims import (
    Affine,
    AffineBank,
    Box,
    Dyadics,
    Pairing,
    Unknown,
    dyadics,
    pair_heads,
    power_of_two,
)

CHUNK_ENTRIES = 1 << 18  # entries of one temporary: stays near the cache, bounds the memory
SHORT_BITS = 20


@dataclass(frozen=True, eq=False)
class Bounds:
    """Suprema in floats, for U pairs of the two-slope form.

    values (U,): the bound; problems (U, 4) its four parts; multipliers (U, 4) their λ;
    points (U, n): where the bound is attained, a vertex but for at most one coordinate.
    """

    values: np.ndarray
    problems: np.ndarray
    multipliers: np.ndarray
    points: np.ndarray


@dataclass(frozen=True, eq=False)
class _Problem:
    """min over λ in [lo, hi] of h(s·w − λ·q) + s·b − λ·c; w, q and the box (U, n), others (U,)."""

    scale: np.ndarray
    outer: np.ndarray
    outer_bias: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    inner: np.ndarray
    inner_bias: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def target(self) -> np.ndarray:
        return self.scale[:, None] * self.outer

    def value(self, multiplier: np.ndarray) -> np.ndarray:
        direction = self.target - multiplier[:, None] * self.inner
        support = np.maximum(direction * self.lower, direction * self.upper).sum(axis=1)
        return support + self.scale * self.outer_bias - multiplier * self.inner_bias


@dataclass(frozen=True, eq=False)
class _Minimum:
    """`multiplier` (U,) and the worst point in sorted columns.

    `order` (U, n) sorts the columns by breakpoint; in it the first `passed` (U,) lie below the
    multiplier, and where `balanced` (U,) the next one is at it and is free.
    """

    multiplier: np.ndarray
    order: np.ndarray
    passed: np.ndarray
    balanced: np.ndarray


_Part = TypeVar("_Part", _Problem, _Minimum)


def _minimise(problem: _Problem) -> _Minimum:
    """The weighted median: the slope in λ is Σ r|q|·sign(λ − breakpoint) − (c + q·middle)."""
    inner, (lo, hi) = problem.inner, (problem.lo, problem.hi)
    breakpoints = np.full(inner.shape, np.inf)  # no breakpoint where q = 0: last, without weight
    np.divide(problem.target, inner, out=breakpoints, where=inner != 0)
    order = np.argsort(breakpoints, axis=1)
    breakpoints = np.take_along_axis(breakpoints, order, axis=1)
    weights = np.abs(inner) * (problem.upper - problem.lower) / 2
    reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
    middle = problem.inner_bias + (inner * (problem.lower + problem.upper) / 2).sum(axis=1)
    needed = (reached[:, -1] + middle) / 2
    index = np.minimum((reached < needed[:, None]).sum(axis=1), inner.shape[1] - 1)
    free = np.take_along_axis(breakpoints, index[:, None], axis=1)[:, 0]
    free = np.where(needed <= 0, -np.inf, np.where(needed > reached[:, -1], np.inf, free))
    multiplier = np.clip(np.nan_to_num(free, nan=0.0), lo, hi)
    below = (breakpoints < hi[:, None]).sum(axis=1), (breakpoints <= lo[:, None]).sum(axis=1)
    passed = np.where(free > hi, below[0], np.where(free < lo, below[1], index))
    return _Minimum(multiplier, order, passed, (free >= lo) & (free <= hi))


def _worst_points(problem: _Problem, minimum: _Minimum) -> np.ndarray:
    """Points (U, n) that maximise at λ and, where λ is inside its interval, have q·x + c = 0."""
    order, passed = minimum.order, minimum.passed
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[1])[None, :], axis=1)
    inner = problem.inner
    sign = np.where(rank < passed[:, None], -inner, inner)
    sign = np.where(inner == 0, problem.target, sign)
    points = np.where(sign > 0, problem.upper, problem.lower)
    rows = np.flatnonzero(minimum.balanced)
    columns = order[rows, passed[rows]]
    points[rows, columns] = 0.0
    rest = (inner[rows] * points[rows]).sum(axis=1) + problem.inner_bias[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        balance = np.nan_to_num(-rest / inner[rows, columns])
    points[rows, columns] = np.clip(
        balance, problem.lower[rows, columns], problem.upper[rows, columns]
    )
    return points


def closed_form(
    unit: tuple[np.ndarray, np.ndarray, np.ndarray],
    program: tuple[np.ndarray, np.ndarray, np.ndarray],
    lower: np.ndarray,
    upper: np.ndarray,
) -> Bounds:
    """The bounds of U pairs, in floats.

    `unit` and `program` are (weights (U, n), biases (U,), slopes (U, 2)), where slopes are the lo
    and hi of a two-slope head; lower and upper are (n,) or (U, n). A leading axis of 1 broadcasts,
    so that one unit can be held against many candidates.
    """
    units = max(part.shape[0] for side in (unit, program) for part in side)
    size = unit[0].shape[1]
    step = max(1, CHUNK_ENTRIES // max(1, size))
    chunks = []
    for start in range(0, max(units, 1), step):
        count = min(step, units - start)
        rows = [_rows(part, start, count) for side in (unit, program) for part in side]
        box = [_rows(np.atleast_2d(side), start, count) for side in (lower, upper)]
        with np.errstate(over="ignore", invalid="ignore"):
            chunks.append(_closed_form(rows, box))
    return Bounds(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))


def _rows(part: np.ndarray, start: int, count: int) -> np.ndarray:
    part = np.asarray(part, dtype=np.float64)
    chosen = part if part.shape[0] == 1 else part[start : start + count]
    return np.broadcast_to(chosen, (count, *part.shape[1:]))


def _closed_form(rows: list[np.ndarray], box: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Values, problems, multipliers and points of one chunk."""
    posed = list(_pose(rows, box))
    minima = [_minimise(problem) for problem in posed]
    multipliers = np.stack([minimum.multiplier for minimum in minima], axis=1)
    values = [problem.value(m) for problem, m in zip(posed, multipliers.T, strict=True)]
    problems = np.stack(values, axis=1)
    worst = problems.argmax(axis=1)
    points = np.empty(rows[0].shape)
    for index, (problem, minimum) in enumerate(zip(posed, minima, strict=True)):
        chosen = np.flatnonzero(worst == index)
        points[chosen] = _worst_points(_select(problem, chosen), _select(minimum, chosen))
    return problems.max(axis=1), problems, multipliers, points


def _pose(rows: list[np.ndarray], box: list[np.ndarray]) -> Iterator[_Problem]:
    """The four problems, in the order of the certificate."""
    (w, b, s), (q, c, t) = rows[:3], rows[3:]
    for (outer, bias, slopes), (inner, other, span) in (
        ((w, b, s), (q, c, t)),
        ((q, c, t), (w, b, s)),
    ):
        for side in (0, 1):
            lo, hi = span[:, 0], span[:, 1]
            yield _Problem(slopes[:, side], outer, bias, lo, hi, inner, other, *box)


def _select(parts: _Part, chosen: np.ndarray) -> _Part:
    return type(parts)(**{name: values[chosen] for name, values in vars(parts).items()})


def bound_units(
    units: AffineBank, programs: AffineBank, box: Box
) -> tuple[Bounds, list[Pairing | Unknown]]:
    """The float bounds of U pairs with named heads, and how each pair of heads was bounded.

    `values` and `problems` include the Lipschitz factor. Where no bound joins two heads, the
    pairing says why and the row of the bounds means nothing.
    """
    pairings = [pair_heads(u, p) for u, p in zip(units.heads, programs.heads, strict=True)]
    usable = [p if isinstance(p, Pairing) else Pairing((1, 1), (1, 1), 1, False) for p in pairings]
    unit_slopes = np.array([p.unit for p in usable], dtype=np.float64).reshape(-1, 2)
    program_slopes = np.array([p.program for p in usable], dtype=np.float64).reshape(-1, 2)
    factors = np.array([p.factor for p in usable], dtype=np.float64)
    found = closed_form(
        (units.weights, units.biases, unit_slopes),
        (programs.weights, programs.biases, program_slopes),
        box.lower,
        box.upper,
    )
    scaled = found.values * factors, found.problems * factors[:, None]
    return Bounds(*scaled, found.multipliers, found.points), pairings


def snap(
    multipliers: Sequence[float], pairing: Pairing, *, bits: int | None = SHORT_BITS
) -> tuple[Fraction, ...]:
    """The four λ as short dyadics (multiples of 2^-bits) inside their intervals.

    ``bits=None`` keeps every bit of the floats: a tighter bound and a longer certificate.
    """
    spans = (pairing.program, pairing.program, pairing.unit, pairing.unit)
    snapped = []
    for value, (lo, hi) in zip(multipliers, spans, strict=True):
        exact = Fraction(float(value))
        short = exact if bits is None else Fraction(round(exact * 2**bits), 2**bits)
        snapped.append(min(max(short, Fraction(lo)), Fraction(hi)))
    return tuple(snapped)


def exact_bound(
    unit: Affine,
    program: Affine,
    box: Box,
    multipliers: Sequence[Fraction],
    pairing: Pairing | None = None,
) -> Fraction:
    """The bound of one pair in exact arithmetic, with the four given multipliers.

    Raises ValueError if a multiplier lies outside its interval, or no bound joins the heads.
    """
    joined = pairing or pair_heads(unit.head, program.head)
    if isinstance(joined, Unknown):
        raise ValueError(joined.reason)
    if len(multipliers) != 4:
        raise ValueError(f"{len(multipliers)} multipliers; expected 4, one a problem")
    sides = [
        (ExactMap.of(one), (Fraction(slopes[0]), Fraction(slopes[1])))
        for one, slopes in ((unit, joined.unit), (program, joined.program))
    ]
    values = []
    for ((outer, scales), (inner, span)), pair in zip(
        (sides, sides[::-1]), (multipliers[:2], multipliers[2:]), strict=True
    ):
        for scale, multiplier in zip(scales, pair, strict=True):
            if not span[0] <= multiplier <= span[1]:
                raise ValueError(f"multiplier {multiplier} is outside {span}; snap it first")
            values.append(largest([(scale, outer), (-multiplier, inner)], box))
    return Fraction(joined.factor) * max(values)


@dataclass(frozen=True)
class ExactMap:
    """An affine map over n columns in exact numbers."""

    weights: Dyadics
    bias: Fraction

    @classmethod
    def of(cls, affine: Affine) -> "ExactMap":
        """What a unit or a program has under its head."""
        return cls(dyadics(affine.weights), Fraction(affine.bias))


def largest(terms: Sequence[tuple[Fraction, ExactMap]], box: Box) -> Fraction:
    """The maximum over a box (n,) of Σ factor · map, exactly: integers over one denominator."""
    lower, upper, box_exponent = box.exact
    base = min(affine.weights.exponent for _, affine in terms)
    common = lcm(*(factor.denominator for factor, _ in terms))
    directions = [0] * len(lower)
    for factor, affine in terms:
        whole = factor.numerator * (common // factor.denominator)
        whole <<= affine.weights.exponent - base
        pairs = zip(directions, affine.weights.integers, strict=True)
        directions = [d + whole * w for d, w in pairs]
    columns = zip(directions, lower, upper, strict=True)
    total = sum([d * (high if d > 0 else low) for d, low, high in columns])
    support = Fraction(total, common) * power_of_two(base + box_exponent)
    return support + sum((factor * affine.bias for factor, affine in terms), Fraction(0))
