"""Programs from readable components: a few taps to mend what they leave, and short constants."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from grammars.program import Node
from synth.engine import UnitEvidence, with_head
from synth.kernels.problem import Problem
from synth.kernels.rounding import Readable
from synth.kernels.slots import Slot, Slots
from synth.metric import Metric
from synth.rounding import FLOAT32_BITS, round_each

PRECISIONS = (3, 4, 5, 6, 8)  # constants err by about 2^-j of the unit's own size
RIDGE = 1e-9  # of a constant's own square: two components may have become the same


@dataclass(frozen=True, eq=False)
class Written:
    """A program for a unit, its weights (F,) and bias, and its loss in the metric of the fit."""

    program: Node
    weights: np.ndarray
    bias: float
    loss: float


@dataclass(frozen=True, eq=False)
class Draft:
    """Places for constants that are to be fitted."""

    evidence: UnitEvidence
    metric: Metric
    problem: Problem
    slots: Slots

    @staticmethod
    def of(evidence: UnitEvidence, metric: Metric, problem: Problem, readable: Readable) -> "Draft":
        """The draft of a chain of one row whose parameters are on their grids."""
        slots = Slots.of(readable, problem, evidence.scope)
        return Draft(evidence, metric, problem, slots)

    def mended(self, counts: Iterable[int]) -> Iterator["Draft"]:
        """The draft with so many taps beside, those that take most of what is left."""
        draft, taken = self, 0
        for count in counts:
            for _ in range(count - taken):
                draft = draft._with_best_tap()
            taken = count
            yield draft

    def written(self, precision: int) -> Written | None:
        """The program whose constants err by about 2^-precision of the unit; None where there is
        nothing to write."""
        whole = float(np.linalg.norm(self.problem.goal))
        sizes = np.append(np.linalg.norm(self._seen, axis=0), np.sqrt(self.metric.gram[-1, -1]))
        if not whole or not (sizes > 0).all():
            return None
        steps = np.exp2(np.floor(np.log2(whole / sizes)) - precision)
        constants = round_each(self._reduced, np.maximum(steps, held(self._reduced.target)))
        weights = self.slots.columns @ constants[:-1]
        program = with_head(self.evidence.head, self.slots.program(constants))
        loss = self.metric.loss(np.append(weights, constants[-1]))
        return Written(program, weights, float(constants[-1]), loss)

    @cached_property
    def _seen(self) -> np.ndarray:
        """(F, n) the columns in the root of the metric."""
        return self.problem.root @ self.slots.columns

    @cached_property
    def _reduced(self) -> Metric:
        """The metric of the constants."""
        size, number = self.slots.columns.shape
        basis = np.zeros((size + 1, number + 1))
        basis[:-1, :-1], basis[-1, -1] = self.slots.columns, 1.0
        inner = basis.T @ self.metric.gram @ basis
        inner[np.diag_indices_from(inner)] *= 1 + RIDGE
        right = basis.T @ (self.metric.gram @ self.metric.target)
        return Metric(inner, np.linalg.solve(inner, right))

    def _with_best_tap(self) -> "Draft":
        left = self.problem.without(self._seen)
        columns = left.root
        squares = (columns**2).sum(0)
        able = squares > RIDGE * squares.max()
        gains = np.divide((left.goal @ columns) ** 2, squares, out=0 * squares, where=able)
        best = int(np.argmax(gains))
        place = Slot(self.evidence.scope.taps[best])
        slots = self.slots.beside(place, np.eye(1, len(squares), best)[0])
        return replace(self, slots=slots)


def held(constants: np.ndarray) -> np.ndarray:
    """The finest grids on which a float32 holds such constants."""
    sizes = np.maximum(np.abs(constants), np.finfo(np.float32).tiny)
    return np.exp2(np.floor(np.log2(sizes)) - FLOAT32_BITS + 2)
