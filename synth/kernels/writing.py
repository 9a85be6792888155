"""Programs from readable components: a few taps to mend what they leave, and short constants."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from grammars.kernels import BITS
from grammars.program import Node, call, linear, tap
from synth.engine import UnitEvidence, with_head
from synth.kernels.fit import Problem
from synth.kernels.rounding import Readable
from synth.metric import Metric
from synth.rounding import FLOAT32_BITS, round_each

MENDED = (0, 1, 2, 4)  # taps beside the components
PRECISIONS = (2, 3, 4, 5, 6, 7)  # constants err by about 2^-j of the unit's own size


@dataclass(frozen=True)
class Slot:
    """What one constant multiplies: `source` under the kernel of a component, or by itself."""

    source: Node
    component: int | None = None


@dataclass(frozen=True, eq=False)
class Written:
    """A program for a unit, its weights (F,) and bias, and its loss in the metric of the fit."""

    program: Node
    weights: np.ndarray
    bias: float
    loss: float


@dataclass(frozen=True, eq=False)
class Draft:
    """Slots for constants, with the weights (F, n) that each stands for."""

    evidence: UnitEvidence
    metric: Metric
    problem: Problem
    kernels: tuple[Node, ...]
    slots: tuple[Slot, ...]
    columns: np.ndarray

    @staticmethod
    def of(evidence: UnitEvidence, metric: Metric, problem: Problem, readable: Readable) -> "Draft":
        """The draft of a chain of one row whose parameters are on their grids."""
        kernels, slots, columns = [], [], []
        bank = evidence.layer.layer.source
        for k, number in enumerate(readable.chain.forms[0]):
            form = problem.forms[number]
            values = readable.chain.values[0, k, : len(form.specs)]
            kernels.append(form.node(values))
            exact = np.array([form.snapped(values)], dtype=np.float64)
            weights = form.kernels(exact, problem.window)[0]
            weights = np.ldexp(np.rint(np.ldexp(weights, BITS)), -BITS)
            axis = readable.axes[k]
            for mix in readable.chain.mixes[0, k].T:
                if mix.any():
                    source = tap(bank, int(np.argmax(mix))) if axis is None else axis.source
                    slots.append(Slot(source, k))
                    columns.append(np.outer(mix, weights).ravel())
        return Draft(evidence, metric, problem, tuple(kernels), tuple(slots), np.array(columns).T)

    @cached_property
    def seen(self) -> np.ndarray:
        """(F, n) the columns in the root of the metric."""
        return _rooted(self.problem) @ self.columns

    def mended(self, counts: Iterable[int]) -> Iterator["Draft"]:
        """The draft with so many taps beside, those that take most of what is left."""
        draft, taken = self, 0
        for count in counts:
            for _ in range(count - taken):
                draft = draft._with_best_tap()
            taken = count
            yield draft

    def written(self, precision: int) -> Written | None:
        """The program whose constants err by about 2^-precision of the unit, None without any."""
        metric = self._reduced
        whole = float(np.linalg.norm(self.problem.goal))
        sizes = np.append(np.linalg.norm(self.seen, axis=0), np.sqrt(self.metric.gram[-1, -1]))
        if not whole or not (sizes > 0).all():
            return None
        steps = np.exp2(np.floor(np.log2(whole / sizes)) - precision)
        least = np.exp2(np.floor(np.log2(np.abs(metric.target) + 1e-300)) - FLOAT32_BITS + 2)
        constants = round_each(metric, np.maximum(steps, least))
        weights = self.columns @ constants[:-1]
        program = with_head(self.evidence.head, self._sum(constants))
        loss = self.metric.loss(np.append(weights, constants[-1]))
        return Written(program, weights, float(constants[-1]), loss)

    @cached_property
    def _reduced(self) -> Metric:
        """The metric of the constants."""
        basis = np.zeros((len(self.columns) + 1, len(self.slots) + 1))
        basis[:-1, :-1], basis[-1, -1] = self.columns, 1.0
        inner = basis.T @ self.metric.gram @ basis
        inner[np.diag_indices_from(inner)] *= 1 + 1e-9
        right = basis.T @ (self.metric.gram @ self.metric.target)
        return Metric(inner, np.linalg.solve(inner, right))

    def _with_best_tap(self) -> "Draft":
        left = self.problem.without(self.seen)
        columns = np.concatenate(list(left.blocks), axis=1)
        squares = (columns**2).sum(0)
        gains = np.where(squares > 1e-9 * squares.max(), (left.goal @ columns) ** 2, 0.0)
        best = int(np.argmax(gains / np.maximum(squares, np.finfo(float).tiny)))
        column = np.zeros((len(self.columns), 1))
        column[best] = 1.0
        slots = (*self.slots, Slot(self.evidence.scope.taps[best]))
        return replace(self, slots=slots, columns=np.hstack([self.columns, column]))

    def _sum(self, constants: np.ndarray) -> Node:
        terms: list[tuple[float, Node]] = []
        for k, kernel in enumerate(self.kernels):
            pairs = [
                (float(c), slot.source)
                for c, slot in zip(constants, self.slots, strict=False)
                if slot.component == k and c
            ]
            if len(pairs) == 1:
                terms.append((pairs[0][0], call_conv(kernel, pairs[0][1])))
            elif pairs:
                terms.append((1.0, call_conv(kernel, linear(pairs))))
        terms += [
            (float(c), slot.source)
            for c, slot in zip(constants, self.slots, strict=False)
            if slot.component is None
        ]
        return linear(terms, float(constants[-1]))


def call_conv(kernel: Node, source: Node) -> Node:
    return call("conv", kernel, source)


def _rooted(problem: Problem) -> np.ndarray:
    return np.concatenate(list(problem.blocks), axis=1)
