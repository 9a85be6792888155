"""Integers that meet linear conditions: the question that counterexample-guided synthesis repeats.

A program's coefficients are integers times a step, the bias's last. A condition at a point of the
domain is a row: an interval for the sum of their multiples. Z3 decides rows in exact arithmetic.
HiGHS (a MILP solver; Huangfu and Hall 2018) decides more of them, in floats: what it finds is
checked by others, and that there is nothing rests on its word.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any, Literal, Protocol

import numpy as np
import z3
from scipy.optimize import Bounds, LinearConstraint, milp

from oracles.claims import Unknown

Solver = Literal["z3", "highs"]
Limits = tuple[int | None, int | None]
"""The least and the largest of an integer; None where there is none."""

UNKNOWNS = 16  # integers, the bias's included, up to which Z3 is asked
KNAPSACK_BITS = 20  # of the moves of taps: rounded so that less is forbidden, never more
INFEASIBLE = 2  # what `milp` calls it


@dataclass(frozen=True)
class Row:
    """low <= Σ integers[i] · m[i] <= high; None where there is no such end."""

    integers: tuple[int, ...]
    low: int | None
    high: int | None

    def holds(self, numbers: Sequence[int]) -> bool:
        total = sum(a * b for a, b in zip(self.integers, numbers, strict=True))
        return (self.low is None or self.low <= total) and (self.high is None or total <= self.high)


@dataclass(frozen=True)
class Space:
    """The programs that are asked for: `limits` of the integers of each tap.

    At most `terms` of them are not zero. Those that are zero have `moves` (one a tap) that add up
    to `dropped` at most, if that is not None: every good program is so, and it is told because
    solvers do not see it.
    """

    limits: tuple[Limits, ...]
    terms: int
    moves: tuple[Fraction, ...]
    dropped: Fraction | None

    @property
    def taps(self) -> int:
        return len(self.limits)

    @property
    def chooses(self) -> bool:
        """Whether a program has to leave out some taps."""
        return self.terms < self.taps

    @property
    def is_empty(self) -> bool:
        """Whether some tap has no integer at all."""
        return any(None not in (a, b) and a > b for a, b in self.limits)  # type: ignore[operator]


class Master(Protocol):
    """Rows that are added one by one, and integers that meet them all."""

    solver: Solver

    def add(self, row: Row) -> None: ...

    def ask(self) -> list[int] | Unknown | None:
        """Integers of the taps and the bias; None where there are none, Unknown where the effort is
        used up."""
        ...


def solver_for(taps: int) -> Solver:
    """The solver for questions of so many taps."""
    return "z3" if taps < UNKNOWNS else "highs"


def master_of(space: Space, *, steps: int, nodes: int) -> Master:
    """The master for a question of this size."""
    use_z3 = solver_for(space.taps) == "z3"
    return Z3Master(space, steps) if use_z3 else HighsMaster(space, nodes)


class Z3Master:
    """Z3 over exact integers; `steps` of its resource counter for all questions together."""

    solver: Solver = "z3"

    def __init__(self, space: Space, steps: int) -> None:
        context = z3.Context()  # its own, so that steps are counted alike whatever ran before
        self.steps = steps
        self._solver = z3.SimpleSolver(ctx=context)
        self.numbers = [z3.Int(f"m{i}", context) for i in range(space.taps + 1)]
        taps: Sequence[Any] = self.numbers[:-1]
        for number, (low, high) in zip(taps, space.limits, strict=True):
            self._solver.add(*_between(number, low, high))
        if space.chooses:
            self._solver.add(z3.AtMost(*(number != 0 for number in taps), space.terms))
            if space.dropped is not None:
                moves, most = _knapsack(space.moves, space.dropped)
                zeros = [(n == 0, move) for n, move in zip(taps, moves, strict=True) if move]
                self._solver.add(*([z3.PbLe(zeros, most)] if zeros else []))

    def add(self, row: Row) -> None:
        pairs = zip(row.integers, self.numbers, strict=True)
        total = z3.Sum([factor * number for factor, number in pairs if factor])
        self._solver.add(*_between(total, row.low, row.high))

    def ask(self) -> list[int] | Unknown | None:
        if self.steps <= 0:
            return Unknown("z3 gave up within its steps")
        self._solver.set("rlimit", self.steps)
        before, status = self._counted(), self._solver.check()
        self.steps -= self._counted() - before
        if status == z3.unsat:
            return None
        if status != z3.sat:
            return Unknown(f"z3 gave up within its steps: {self._solver.reason_unknown()}")
        model = self._solver.model()
        values: list[Any] = [model.eval(n, model_completion=True) for n in self.numbers]
        return [value.as_long() for value in values]

    def _counted(self) -> int:
        """Steps of this solver so far."""
        return sum(n for name, n in self._solver.statistics() if name == "rlimit count")


class HighsMaster:
    """HiGHS on the same rows in floats; `nodes` of branch and bound a question."""

    solver: Solver = "highs"

    def __init__(self, space: Space, nodes: int) -> None:
        self.space, self.nodes = space, nodes
        self.rows: list[tuple[np.ndarray, float, float]] = []

    def add(self, row: Row) -> None:
        scale = max(map(abs, row.integers))
        factors = np.array([factor / scale for factor in row.integers])
        self.rows.append((factors, _over(row.low, scale, -np.inf), _over(row.high, scale, np.inf)))

    def ask(self) -> list[int] | Unknown | None:
        space = self.space
        if space.is_empty:
            return None
        if space.chooses and any(None in limits for limits in space.limits):
            return Unknown("no points bound the coefficients of some taps, as HiGHS needs it")
        bounds, constraints = self._posed()
        found = milp(
            np.zeros(len(bounds.lb)),
            integrality=np.ones(len(bounds.lb)),
            bounds=bounds,
            constraints=constraints,
            options={"node_limit": self.nodes},
        )
        if found.x is not None:
            return [round(v) for v in found.x[: space.taps + 1]]
        if found.status == INFEASIBLE:
            return None
        return Unknown(f"HiGHS gave up within {self.nodes} nodes")

    def _posed(self) -> tuple[Bounds, list[LinearConstraint]]:
        """Bounds of all integers, and the rows; behind the program's own, one a tap that says
        whether it is read, if that is to be chosen."""
        space, width = self.space, self.space.taps + 1
        low = [-np.inf if a is None else float(a) for a, _ in space.limits]
        high = [np.inf if b is None else float(b) for _, b in space.limits]
        chosen = space.taps if space.chooses else 0
        ends: list[Any] = [[*low, -np.inf, *[0.0] * chosen], [*high, np.inf, *[1.0] * chosen]]
        matrix = np.zeros((len(self.rows), width + chosen))
        matrix[:, :width] = [factors for factors, _, _ in self.rows]
        least, most = (np.array([row[i] for row in self.rows]) for i in (1, 2))
        rows = LinearConstraint(matrix, least, most)  # type: ignore[arg-type]
        choice = self._choice(np.array(low), np.array(high)) if chosen else []
        return Bounds(*ends), [rows, *choice]

    def _choice(self, low: np.ndarray, high: np.ndarray) -> list[LinearConstraint]:
        """A tap that is not read has 0; so many are read at most, and they move enough."""
        space, taps = self.space, self.space.taps
        own, read = np.eye(taps, 2 * taps + 1), np.eye(taps, 2 * taps + 1, taps + 1)
        low, high = np.minimum(low, 0), np.maximum(high, 0)
        found = [
            LinearConstraint(own - high[:, None] * read, -np.inf, 0),
            LinearConstraint(own - low[:, None] * read, 0, np.inf),
            LinearConstraint(read.sum(0)[None], -np.inf, space.terms),
        ]
        if space.dropped is not None:
            moves, most = _knapsack(space.moves, space.dropped)
            shares = np.array(moves) / 2**KNAPSACK_BITS
            least = shares.sum() - most / 2**KNAPSACK_BITS
            found.append(LinearConstraint((shares @ read)[None], least, np.inf))
        return found


def _between(value: Any, low: int | None, high: int | None) -> list[Any]:
    ends = [] if low is None else [value >= low]
    return ends if high is None else [*ends, value <= high]


def _over(end: int | None, scale: int, otherwise: float) -> float:
    return otherwise if end is None else end / scale


def _knapsack(moves: Sequence[Fraction], dropped: Fraction) -> tuple[list[int], int]:
    """Moves in integers, and how much of them may be dropped: no more is forbidden than is."""
    unit = max(*moves, dropped) / 2**KNAPSACK_BITS or Fraction(1)
    return [floor(move / unit) for move in moves], ceil(dropped / unit)
