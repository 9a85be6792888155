"""A group's question put to Z3: is there an input at which the two differ by more than epsilon?

Numbers of 24 bits make Z3 ten times slower than those of eight, so it is asked of networks in few
bits first, about what is left of epsilon when all that they may have moved is taken off; in the end
of the networks themselves, every number the fraction that its float denotes. The hulls of the ReLUs
are told as well, which it would have to find by cases. Z3 gives up after so many steps of its own
resource counter, the same on every machine.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from oracles.claims import Proved, Refuted, Unknown, Verdict, below
from oracles.groups.question import Group, Question, question_of
from oracles.groups.shortening import shortened
from oracles.groups.sums import Sum
from oracles.z3_terms import real_value

STEPS = 20_000_000  # of z3's resource counter for one question: some seconds
UNSTABLE = 12  # ReLUs up to which z3 is worth asking
LADDER = (7, 10, 14)  # bits of a network
SHARE = Fraction(1, 4)  # of epsilon, which shortening may take at most


def smt_group(group: Group, epsilon: Fraction, *, steps: int = STEPS) -> Verdict:
    """Ask Z3 whether ``|first − second| <= epsilon``: `Proved("solver", epsilon)`, `Refuted` with a
    replayed point, or `Unknown` after so many `steps` for a sign in one number of bits."""
    for near, left in _shorter(group, epsilon):
        point = _exceeding(question_of(near), left, steps)
        if isinstance(point, Unknown):
            return point
        if point is None:
            return Proved("solver", epsilon)
        difference = group.gap(np.clip(point, group.box.lower, group.box.upper))
        if difference > epsilon:
            return Refuted(np.clip(point, group.box.lower, group.box.upper), below(difference))
    return Unknown("z3 finds epsilon exceeded, but at no point that replays in floats")


def _shorter(group: Group, epsilon: Fraction) -> Iterator[tuple[Group, Fraction]]:
    """The group in fewer bits with what is left of epsilon, short ones first, and then itself."""
    for bits in LADDER:
        near, moved = shortened(group, bits)
        if moved <= SHARE * epsilon:
            yield near, epsilon - moved
    yield group, epsilon


def _exceeding(question: Question, epsilon: Fraction, steps: int) -> np.ndarray | Unknown | None:
    """A point at which the objective is beyond epsilon in either sign; None where there is none."""
    inquiry = _Inquiry(question, steps)
    for objective in (question.objective, question.objective.times(-1)):
        found = inquiry.exceeding(objective, epsilon)
        if found is not None:
            return found
    return None


class _Inquiry:
    """The variables and ReLUs of a question in a solver of their own, so that steps are counted
    alike whatever ran before."""

    def __init__(self, question: Question, steps: int) -> None:
        self.question, self.steps = question, steps
        self.context = z3.Context()
        self.solver = z3.SolverFor("QF_LRA", ctx=self.context)
        ends = list(zip(question.lower, question.upper, strict=True))
        self.variables = [z3.Real(f"v{i}", self.context) for i in range(len(ends))]
        for variable, (low, high) in zip(self.variables, ends, strict=True):
            self.solver.add(variable >= self._real(low), variable <= self._real(high))
        for relu in question.relus:
            pre, post = self._term(relu.pre), self._term(relu.post)
            self.solver.add(z3.Or(z3.And(post == pre, pre >= 0), z3.And(post == 0, pre <= 0)))
        for row in question.rows:
            self.solver.add(self._term(row) <= 0)

    def exceeding(self, objective: Sum, epsilon: Fraction) -> np.ndarray | Unknown | None:
        """Inputs (n,) at which an objective is above epsilon; None where there are none."""
        self.solver.set("rlimit", self.steps)
        self.solver.push()
        self.solver.add(self._term(objective) > self._real(epsilon))
        status = self.solver.check()
        reason = self.solver.reason_unknown() if status == z3.unknown else ""
        model = self.solver.model() if status == z3.sat else None
        self.solver.pop()
        if status == z3.unknown:
            return Unknown(f"z3 gave up within {self.steps} steps: {reason}")
        if model is None:
            return None
        values: list[Any] = [
            model.eval(v, model_completion=True) for v in self.variables[: self.question.inputs]
        ]
        return np.array([float(value.as_fraction()) for value in values])

    def _term(self, row: Sum) -> Any:
        parts = [self._real(f) * self.variables[i] for i, f in row.terms.items()]
        return z3.Sum([*parts, self._real(row.constant)])

    def _real(self, value: Fraction) -> Any:
        return real_value(value, self.context)
