"""Linear relaxations of a group's question, their bounds re-derived in exact arithmetic.

Whatever multipliers m >= 0 a solver gives to rows that are at most 0,

    max objective  <=  max over the variables' box of objective − Σ m·row,

so the duals of a linear program, rounded to short dyadics, are a certificate of its bound and need
be neither feasible nor optimal (Neumaier and Shcherbina 2004). HiGHS finds them in floats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from oracles.groups.hulls import SLOPE_BITS, Rows, hulls
from oracles.groups.question import Question
from oracles.groups.ranges import Narrowing, Ranges
from oracles.groups.sums import Sum, Whole

BITS = 24  # of the largest multiplier
MOST = 28  # of a multiplier and a constant's bits: their product is exact in floats
PENALTY = 2.0**14  # in objectives, for breaking rows by one

Phases = Mapping[int, bool]
"""By number, ReLUs whose pre-activation is held at or above zero (True), or at or below."""


@dataclass(frozen=True, eq=False)
class Part:
    """The part of the box in which some ReLUs have a known phase, and the ranges of all there."""

    phases: Phases
    ranges: Ranges


@dataclass(frozen=True, eq=False)
class Relaxed:
    """An exact upper `bound` of the objective, the `point` that the relaxation thinks best, and
    what may be `lost` by each ReLU there (relus,)."""

    bound: Fraction
    point: np.ndarray
    lost: np.ndarray


class Relaxation:
    """The hulls of every ReLU and pair of a question, as one linear program."""

    def __init__(self, question: Question) -> None:
        self.question, bends = question, question.bends
        ends = question.lower, question.upper
        self._narrowing = Narrowing(bends, question.inputs, *ends)
        sums = [question.objective, *(b.post for b in bends), *(b.pre for b in bends)]
        self._exact = Whole(sums, *ends)

    @property
    def whole(self) -> Part:
        """All of the box."""
        return Part({}, self._narrowing.whole)

    def held(self, part: Part, number: int, on: bool) -> Part:
        """The part of a part in which one more ReLU is in a phase."""
        ranges = self._narrowing.held(part.ranges, number, on)
        return Part({**part.phases, number: on}, ranges)

    def bound(self, sign: int, part: Part) -> Relaxed:
        """Bound the objective, or its negative, from above in a part."""
        low, high = self._narrowing.low_and_high(part.ranges)
        for number, on in part.phases.items():
            end, cut = (low, np.maximum) if on else (high, np.minimum)
            end[number] = cut(end[number], 0.0)
        rows = hulls(self.question.unstable, low, high).and_phases(part.phases)
        multipliers, point = self._solved(sign, rows)
        return Relaxed(
            self._checked(sign, rows, multipliers), point, self._lost(sign, point, part.phases)
        )

    def _checked(self, sign: int, rows: Rows, multipliers: np.ndarray) -> Fraction:
        """The bound that multipliers (rows,) give, exactly.

        Multipliers and factors are integers of so few bits over a power of two that their products
        are exact in int64, and those with constants in floats.
        """
        whole, shift = _short(multipliers)
        factors = np.ldexp(rows.factors[:, :2], SLOPE_BITS).astype(np.int64) * whole[:, None]
        sums = np.zeros((len(self.question.bends), 2), dtype=np.int64)
        np.subtract.at(sums, rows.numbers, factors)
        own = sign << (SLOPE_BITS + shift)
        most = self._exact.largest([own, *sums[:, 0].tolist(), *sums[:, 1].tolist()])
        constants = sum(Fraction(c) for c in (rows.factors[:, 2] * whole).tolist() if c)
        return (most / 2**SLOPE_BITS - constants) / Fraction(2) ** shift

    def _solved(self, sign: int, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """The multipliers (rows,) and the best point (variables,) of a linear program.

        One more variable lets all rows be broken at a price, so that phases that exclude each other
        have multipliers too, whose bound is then far below all others.
        """
        (posts, c), (pres, b) = self._floats
        f, g, constants = rows.factors.T
        numbers, costs = rows.numbers, sign * self._costs
        matrix = f[:, None] * posts[numbers] + g[:, None] * pres[numbers]
        penalty = PENALTY * max(1.0, float(np.abs(costs).max(initial=0.0)))
        found = linprog(
            -np.append(costs, -penalty),
            A_ub=np.column_stack([matrix, np.full(numbers.size, -1.0)]),
            b_ub=-(f * c[numbers] + g * b[numbers] + constants),
            bounds=[*self._ends, (0.0, None)],
            method="highs",
        )
        if found.x is None:  # no multipliers: then the box alone bounds the objective
            return np.zeros(numbers.size), np.array([low for low, _ in self._ends])
        return -found.ineqlin.marginals, found.x[:-1]

    def _lost(self, sign: int, point: np.ndarray, phases: Phases) -> np.ndarray:
        """How much the objective may gain by each ReLU that is above what it should be, less what
        the other of its pair takes back; 0 in a known phase."""
        (posts, c), (pres, b) = self._floats
        above = posts @ point + c - np.maximum(pres @ point + b, 0.0)
        most = [relu.most if sign > 0 else -relu.least for relu in self.question.relus]
        lost = above[: len(most)] * most
        for members in [[*pair.members] for pair in self.question.pairs if pair.members]:
            lost[members] = np.minimum(lost[members], lost[members].sum())
        lost[list(phases)] = 0.0
        return lost

    @cached_property
    def _floats(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        width = len(self.question.lower)
        bends = self.question.bends
        sides = [bend.post for bend in bends], [bend.pre for bend in bends]
        posts, pres = (matrix_of(side, width) for side in sides)
        return (posts[0].toarray(), posts[1]), (pres[0].toarray(), pres[1])

    @cached_property
    def _costs(self) -> np.ndarray:
        return dense(self.question.objective, len(self.question.lower))

    @cached_property
    def _ends(self) -> list[tuple[float, float]]:
        pairs = zip(self.question.lower, self.question.upper, strict=True)
        return [(float(low), float(high)) for low, high in pairs]


def matrix_of(rows: Sequence[Sum], width: int) -> tuple[csr_matrix, np.ndarray]:
    """Sums as the rows of a sparse matrix (rows, width) and constants (rows,), in floats."""
    places = [(r, i) for r, row in enumerate(rows) for i in row.terms]
    values = [float(factor) for row in rows for factor in row.terms.values()]
    matrix = csr_matrix((values, np.array(places, dtype=int).reshape(-1, 2).T), (len(rows), width))
    return matrix, np.array([float(row.constant) for row in rows])


def dense(row: Sum, width: int) -> np.ndarray:
    """The factors (width,) of a sum in floats."""
    factors = np.zeros(width)
    factors[list(row.terms)] = [float(factor) for factor in row.terms.values()]
    return factors


def _short(multipliers: np.ndarray) -> tuple[np.ndarray, int]:
    """Multipliers (rows,) as integers over 2**shift, of few bits and none below zero."""
    multipliers = np.nan_to_num(multipliers)
    shift = max(-SLOPE_BITS, BITS - int(np.frexp(multipliers.max(initial=0.0))[1]))
    whole = np.rint(np.ldexp(multipliers, shift))
    return np.clip(whole, 0, 2**MOST).astype(np.int64), shift
