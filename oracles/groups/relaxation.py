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
from scipy.sparse import csr_matrix, hstack, vstack

from oracles.groups.question import Question
from oracles.groups.sums import Sum, total

BITS = 24  # of the largest multiplier
PENALTY = 2.0**14  # in objectives, for breaking the rows of a phase by one

Phases = Mapping[int, bool]
"""By number, ReLUs whose pre-activation is held at or above zero (True), or at or below."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """An exact upper `bound` of the objective, the `point` that the relaxation thinks best, and
    what may be `lost` by each ReLU there (relus,)."""

    bound: Fraction
    point: np.ndarray
    lost: np.ndarray


class Relaxation:
    """The hull of every ReLU, and the rows of a question, as one linear program."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.rows = [*(row for relu in question.relus for row in relu.rows), *question.rows]

    def bound(self, objective: Sum, phases: Phases) -> Relaxed:
        """Bound an objective from above where some ReLUs have a known phase."""
        held = [row for number, on in phases.items() for row in self._phase(number, on)]
        multipliers, point = self._solved(objective, held)
        pairs = zip(_short(multipliers), (*self.rows, *held), strict=True)
        rest = total([(Fraction(1), objective), *((-m, row) for m, row in pairs if m)])
        bound = rest.largest(self.question.lower, self.question.upper)
        return Relaxed(bound, point, self._lost(point, phases))

    def _phase(self, number: int, on: bool) -> list[Sum]:
        """What holds of a ReLU in one phase beside its hull."""
        relu = self.question.relus[number]
        if on:
            return [relu.post.plus(relu.pre, -1), relu.pre.times(-1)]
        return [relu.post, relu.pre]

    def _solved(self, objective: Sum, held: Sequence[Sum]) -> tuple[np.ndarray, np.ndarray]:
        """The multipliers (rows,) and the best point (variables,) of a linear program.

        One more variable lets the rows of phases be broken at a price, so that phases that exclude
        each other have multipliers too, whose bound is then far below all others.
        """
        width, (matrix, constants) = len(self.question.lower), self._matrix
        more, more_constants = matrix_of(held, width)
        breaks = np.repeat([0.0, -1.0], [len(self.rows), len(held)])[:, None]
        costs = dense(objective, width)
        penalty = PENALTY * max(1.0, float(np.abs(costs).max(initial=0.0)))
        found = linprog(
            -np.append(costs, -penalty),
            A_ub=hstack([vstack([matrix, more]), csr_matrix(breaks)]).tocsr(),
            b_ub=-np.concatenate([constants, more_constants]),
            bounds=[*self._ends, (0.0, None)],
            method="highs",
        )
        if found.x is None:  # no multipliers: then the box alone bounds the objective
            return np.zeros(len(breaks)), np.array([low for low, _ in self._ends])
        return -found.ineqlin.marginals, found.x[:-1]

    def _lost(self, point: np.ndarray, phases: Phases) -> np.ndarray:
        """How far each ReLU is from what it should be, times its weight; 0 in a known phase."""
        (before, b), (after, c) = self._relus
        broken = np.abs(after @ point + c - np.maximum(before @ point + b, 0.0))
        lost = broken * [relu.weight for relu in self.question.relus]
        lost[list(phases)] = 0.0
        return lost

    @cached_property
    def _matrix(self) -> tuple[csr_matrix, np.ndarray]:
        return matrix_of(self.rows, len(self.question.lower))

    @cached_property
    def _relus(self) -> tuple[tuple[csr_matrix, np.ndarray], tuple[csr_matrix, np.ndarray]]:
        relus, width = self.question.relus, len(self.question.lower)
        return matrix_of([r.pre for r in relus], width), matrix_of([r.post for r in relus], width)

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


def _short(multipliers: np.ndarray) -> list[Fraction]:
    """Multipliers in few bits, none below zero."""
    largest = float(multipliers.max(initial=0.0))
    shift = BITS - int(np.frexp(largest)[1])
    scale = Fraction(2) ** -shift
    return [max(0, round(m * 2.0**shift)) * scale for m in multipliers.tolist()]
