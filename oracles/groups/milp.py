"""A group's question as a mixed-integer linear program: a Boolean for the phase of each ReLU.

HiGHS (Huangfu and Hall 2018) decides it in floats, within tolerances: its bound is widened by about
what they may hide, and is still on its word. What it finds is replayed exactly.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, hstack

from oracles.claims import Proved, Refuted, Unknown, Verdict, below
from oracles.groups.question import Group, Question, question_of
from oracles.groups.relaxation import dense, matrix_of
from oracles.groups.sums import Sum

NODES = 20_000  # of HiGHS' own branch and bound, for each sign
TOLERANCE = 1e-6  # by which HiGHS may break a row, or take a number to be whole
GAP = 1e-4  # of the bound, which HiGHS may leave open


@dataclass(frozen=True, eq=False)
class MilpBound:
    """``sup |first − second| <= upper`` on HiGHS' word, `lower` of it exactly at `point`.

    Without `done`, its nodes were used up before the two met.
    """

    lower: Fraction
    point: np.ndarray
    upper: Fraction
    done: bool


def milp_group(group: Group, epsilon: Fraction, *, nodes: int = NODES) -> Verdict:
    """Decide ``|first − second| <= epsilon``: `Proved("solver", bound)`, `Refuted` with a replayed
    point, or `Unknown` after so many `nodes`."""
    found = milp_bound(group, nodes=nodes)
    if found.lower > epsilon:
        return Refuted(found.point, below(found.lower))
    if found.upper <= epsilon:
        return Proved("solver", found.upper)
    ends = f"{below(found.lower):.6g} <= sup <= {below(found.upper):.6g}"
    why = "they are too near" if found.done else f"HiGHS gave up within {nodes} nodes"
    return Unknown(f"{why}: {ends}, epsilon {below(epsilon):.6g}")


def milp_bound(group: Group, *, nodes: int = NODES) -> MilpBound:
    """The largest difference of a group, in both signs."""
    # With rows of pairs HiGHS has ended below a difference that is reached: it gets none.
    question, box = replace(question_of(group), pairs=()), group.box
    program, found = _Program(question), []
    for sign in (1, -1):
        upper, point, done = program.largest(sign, nodes)
        inputs = (
            box.lower if point is None else np.clip(point[: question.inputs], box.lower, box.upper)
        )
        found.append(MilpBound(group.gap(inputs), inputs, upper, done))
    best = max(found, key=lambda one: one.lower)
    upper = max(best.lower, *(one.upper for one in found))
    return MilpBound(best.lower, best.point, upper, all(one.done for one in found))


class _Program:
    """The rows of a question; behind its variables a Boolean for each ReLU, 1 where it is open."""

    def __init__(self, question: Question) -> None:
        self.question, self.width = question, len(question.lower)
        held = _phase_rows(question)
        matrix, constants = matrix_of([*(row for row, _, _ in held), *question.rows], self.width)
        places = np.arange(len(held)), [number for _, number, _ in held]
        factors = [float(factor) for _, _, factor in held]
        booleans = csr_matrix((factors, places), (len(constants), len(question.relus)))
        self.rows = hstack([matrix, booleans]).tocsr()
        self.most = -constants

    def largest(self, sign: int, nodes: int) -> tuple[Fraction, np.ndarray | None, bool]:
        """HiGHS' upper bound of the objective or its negative, its best point, and whether it came
        to an end. Where the objective gains nothing by a ReLU, the hull alone holds it down."""
        count, objective = len(self.question.relus), self.question.objective.times(sign)
        gains = [(r.most if sign > 0 else -r.least) > 0 for r in self.question.relus]
        costs = np.append(dense(objective, self.width), np.zeros(count))
        lower, upper = (
            np.array([*map(float, ends), *[whole] * count])
            for ends, whole in ((self.question.lower, 0.0), (self.question.upper, 1.0))
        )
        found = milp(
            -costs,
            integrality=np.array([*[0] * self.width, *gains]),
            bounds=Bounds(lower, upper),  # type: ignore[arg-type]
            constraints=LinearConstraint(self.rows, -np.inf, self.most),  # type: ignore[arg-type]
            options={"node_limit": nodes, "mip_rel_gap": GAP},
        )
        own = objective.largest(self.question.lower, self.question.upper)
        if found.mip_dual_bound is None or not np.isfinite(found.mip_dual_bound):
            return own, found.x, False
        weights = 1.0 + sum(
            max(abs(relu.least), abs(relu.most)) * float(1 + relu.high - relu.low)
            for relu in self.question.relus
        )
        bound = Fraction(float(-found.mip_dual_bound) + TOLERANCE * weights) + objective.constant
        return min(own, bound), found.x, found.status == 0


def _phase_rows(question: Question) -> list[tuple[Sum, int, Fraction]]:
    """What a ReLU's phase says of it: row + factor·Boolean is at most 0."""
    found = []
    for number, relu in enumerate(question.relus):
        gap = relu.post.plus(relu.pre, -1)
        found += [(relu.post, number, -relu.high), (gap.shifted(relu.low), number, -relu.low)]
    return found
