"""Bounds of programs of straight pieces: sums and maxima of ReLUs, pools, thresholds, clips.

A difference of two such programs is, on each piece, max p − max n of affine forms where guards
g >= 0 hold (pieces.py). Its supremum over a box is the largest, over the forms p, of a linear
program, whose dual is

    min over shares λ of the n, adding up to 1, and prices μ >= 0 of the guards of
    h(p − Σ λ·n + Σ μ·g)

with h the maximum over the box. *Any* λ and μ give an upper bound: HiGHS finds them in floats
(Huangfu and Hall 2018), and the bound is recomputed from them in exact arithmetic. Where guards
leave nothing, prices alone show it: h(Σ μ·g) < 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.optimize import linprog

from oracles.claims import Box, Proved, Refuted, Unknown, Verdict, below
from oracles.closed_form import largest
from oracles.pieces import Form, PieceAlgebra, Pieces, apart
from oracles.unit_difference import Difference

SHARE_BITS = 30  # of a multiplier
INSIDE = 2.0**-20  # of a guard's range: where a worst point should lie inside it
PROBLEMS = 512  # linear programs of one pair, at most


@dataclass(frozen=True)
class _Problem:
    """One form p, the forms n of which the largest is taken away, and guards."""

    top: Form
    bottoms: tuple[Form, ...]
    guards: tuple[Form, ...]


@dataclass(frozen=True, eq=False)
class _Solved:
    """An exact bound (None: the guards leave nothing) and where floats reach it."""

    bound: Fraction | None
    point: np.ndarray


def prove_straight(difference: Difference, box: Box, epsilon: Fraction) -> Verdict:
    """Decide ``sup over a box (n,) |first − second| <= epsilon``.

    Raises Unsupported for programs that are not of straight pieces, or of too many.
    """
    problems = [_Problem(top, p.bottoms, p.guards) for p in _both(difference) for top in p.tops]
    if len(problems) > PROBLEMS:
        return Unknown(f"{len(problems)} linear programs; at most {PROBLEMS} are solved for a pair")
    programs = [_LinearProgram(difference, box, problem) for problem in problems]
    highest: _Solved | None = None
    for program in sorted(programs, key=lambda p: -p.quick):
        solved = program.solved(highest.bound if highest else None)
        if solved.bound is not None and (not highest or solved.bound > (highest.bound or 0)):
            highest, worst = solved, program
    if highest is None or highest.bound is None:
        return Unknown("no piece of the programs holds anywhere")
    if highest.bound <= epsilon:
        return Proved("enclosed", max(highest.bound, Fraction(0)))
    return _refuted(difference, epsilon, highest, worst)


def _refuted(
    difference: Difference, epsilon: Fraction, highest: _Solved, program: "_LinearProgram"
) -> Verdict:
    """A replayed counterexample, at the worst point or a hair inside the piece."""
    reached = 0.0
    for point in (highest.point, program.inside()):
        reached = max(reached, gap := difference.apart(point))
        if Fraction(gap) > epsilon:
            return Refuted(point, gap)
    bound = below(highest.bound or epsilon)
    return Unknown(f"{reached:.9g} <= sup <= {bound:.9g}, epsilon {below(epsilon):.9g}")


def _both(difference: Difference) -> Pieces:
    """The pieces of first − second and of second − first."""
    rows = len(difference.rows)
    row = PieceAlgebra(_nothing, rows=rows).row
    first, second = difference.values(
        lambda read: PieceAlgebra(read, rows=rows), [row(i) for i in range(rows)]
    )
    return (*apart(first, second), *apart(second, first))


def _nothing(*key: object) -> None:
    """Rows are read by number."""


class _LinearProgram:
    """max z with z <= (p − n)·x for all n, over the points x of a box behind guards."""

    def __init__(self, difference: Difference, box: Box, problem: _Problem) -> None:
        self.difference, self.box, self.problem = difference, box, problem
        apart = [tuple(p - n for p, n in zip(problem.top, b, strict=True)) for b in problem.bottoms]
        self._exact = [*apart, *problem.guards]
        self._weights, self._biases = _over_columns(difference, self._exact)

    @property
    def _tops(self) -> int:
        return len(self.problem.bottoms)

    @property
    def _reach(self) -> np.ndarray:
        """The largest value of each form over the box, in floats."""
        sides = self._weights * self.box.lower, self._weights * self.box.upper
        return np.maximum(*sides).sum(1) + self._biases

    @property
    def quick(self) -> float:
        """A bound by the best n alone."""
        return float(self._reach[: self._tops].min())

    def solved(self, least: Fraction | None) -> _Solved:
        """The bound; by one n alone if that is not above what is known already."""
        if least is not None and self.quick < least:
            bound = self._bound(self._alone(), [])
            if bound <= least:
                return _Solved(bound, self.box.lower)
        found = self._solve(0.0)
        if found.x is None:
            return _Solved(
                None if self._empty() else self._bound(self._alone(), []), self.box.lower
            )
        duals = np.maximum(-found.ineqlin.marginals, 0)
        shares, prices = _shares(duals[: self._tops]), _dyadic(duals[self._tops :])
        return _Solved(self._bound(shares, prices), self._point(found.x))

    def inside(self) -> np.ndarray:
        """The worst point a hair inside the guards."""
        found = self._solve(INSIDE)
        return self.box.lower if found.x is None else self._point(found.x)

    def _solve(self, inside: float):
        """min −z; `inside` is the share of each guard's reach that it has to keep."""
        tops, rows = self._tops, len(self._biases)
        height = np.concatenate([np.ones(tops), np.zeros(rows - tops)])
        least = np.concatenate([np.zeros(tops), inside * np.abs(self._reach[tops:])])
        return linprog(
            np.append(np.zeros(self._weights.shape[1]), -1.0),
            A_ub=np.hstack([-self._weights, height[:, None]]),
            b_ub=self._biases - least,
            bounds=[*zip(self.box.lower, self.box.upper, strict=True), (None, None)],
            method="highs",
        )

    def _point(self, x: np.ndarray) -> np.ndarray:
        return np.clip(x[:-1], self.box.lower, self.box.upper)

    def _alone(self) -> list[Fraction]:
        best = int(self._reach[: self._tops].argmin())
        return [Fraction(place == best) for place in range(self._tops)]

    def _empty(self) -> bool:
        """Whether prices of the guards show that no point is behind them all."""
        guards = self.problem.guards
        alone = _LinearProgram(self.difference, self.box, _Problem(*_against(guards), ()))
        found = alone.solved(None).bound
        return found is not None and found < 0

    def _bound(self, shares: Sequence[Fraction], prices: Sequence[Fraction]) -> Fraction:
        """h(Σ shares·(p − n) + Σ prices·g), exactly."""
        factors = [*shares, *prices]
        pairs = [(f, form) for f, form in zip(factors, self._exact, strict=False) if f]
        columns = zip(*(form for _, form in pairs), strict=True)
        *rows, constant = (
            sum((f * x for (f, _), x in zip(pairs, column, strict=True)), Fraction(0))
            for column in columns
        )
        maps = self.difference.maps
        terms = [(factor, part) for factor, part in zip(rows, maps, strict=True) if factor]
        return constant + (largest(terms, self.box) if terms else Fraction(0))


def _against(guards: Sequence[Form]) -> tuple[Form, tuple[Form, ...]]:
    """min g as a form without value less the largest of −g."""
    zero = tuple(Fraction(0) for _ in guards[0])
    return zero, tuple(tuple(-x for x in guard) for guard in guards)


def _over_columns(difference: Difference, forms: Sequence[Form]) -> tuple[np.ndarray, np.ndarray]:
    """Weights (m, n) and biases (m,) of forms over the rows."""
    weights, biases = difference.floats
    factors = np.array([[float(x) for x in form] for form in forms])
    return factors[:, :-1] @ weights, factors[:, :-1] @ biases + factors[:, -1]


def _dyadic(values: np.ndarray) -> list[Fraction]:
    return [Fraction(round(value * 2**SHARE_BITS), 2**SHARE_BITS) for value in values.tolist()]


def _shares(values: np.ndarray) -> list[Fraction]:
    """Numbers near the values, none below zero, that add up to one exactly."""
    near = _dyadic(values)
    near[int(values.argmax())] += not any(near)
    total = sum(near, Fraction(0))
    return [share / total for share in near]
