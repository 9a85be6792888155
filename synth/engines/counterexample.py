"""The counterexample engine: the coarsest numbers on a few inputs that are proved within ε.

For some of a unit's inputs, those that move it most and those that tell most, coefficients are
sought on grids from coarse to fine (`oracles.coefficients`), and then fitted to the probes on the
same inputs: the true worst point of a fit that is not proved becomes a training point of the next.
So programs of few bits are near their unit on data and within ε everywhere.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from grammars.grammar import Grammar
from grammars.program import Node
from oracles.claims import Affine, Proved
from oracles.coefficients import CoefficientSearch
from oracles.monotone import is_monotone
from oracles.questions import FINER, Effort, Grid
from synth.affine import unit_bank, unit_box
from synth.coarsest import written
from synth.engine import UnitEvidence
from synth.engines.linear import LinearEngine
from synth.layers import Layer
from synth.metric import Metric, refit_metric
from synth.proofs import epsilon_of
from synth.pursuit import most_telling
from synth.rounding import round_compensated

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # terms of programs
EFFORT = Effort(points=12, steps=500_000, nodes=2)  # for one grid: there are many inputs to try
FINER_GRIDS = 3  # on which coefficients are fitted, beside the coarsest
ROUNDS = 8  # of fits with one counterexample more
SHARE = 0.125  # that a counterexample counts beside all probes


class CounterexampleEngine:
    """Sums of a few inputs under the unit's own head, proved within ε."""

    name = "counterexample"
    tier = 1  # dear: each choice of inputs is a search
    settings = ("max_error",)

    def __init__(self, max_error: float = 0.25) -> None:
        self.max_error = max_error

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Few inputs first; on each choice of them the coarsest numbers, then fitted ones."""
        return islice(_all(evidence, self.max_error), budget)

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """The same inputs, grid and head, with numbers for the replaced sources."""
        return LinearEngine().refit(program, evidence)

    @staticmethod
    def unable(grammar: Grammar, layers: Sequence[Layer]) -> str | None:
        """Where no unit has a head that never falls, points say nothing linear."""
        able = (_is_able(layer, c) for layer in layers for c in range(layer.units))
        return None if any(able) else "no unit is affine under a head that never falls"


ENGINE = CounterexampleEngine


def _is_able(layer: Layer, channel: int) -> bool:
    return layer.affine and is_monotone(unit_bank(layer, [channel])[0].head)


def _all(evidence: UnitEvidence, max_error: float) -> Iterator[Node]:
    layer, channel = evidence.layer, evidence.channel
    if not _is_able(layer.layer, channel) or not layer.ranges.span[channel]:
        return  # of constant units the engine of constants says all
    unit, box = unit_bank(layer.layer, [channel])[0], unit_box(layer.ranges, channel)
    search = CoefficientSearch(
        unit, box, epsilon_of(layer.ranges, channel, max_error), effort=EFFORT
    )
    for taps in _choices(evidence, search):
        for program in _on(evidence, search, taps):
            if np.float32(program.bias) == program.bias:  # it runs in float32
                yield written(layer.layer, channel, program)


def _choices(evidence: UnitEvidence, search: CoefficientSearch) -> Iterator[list[int]]:
    """Inputs of programs, those choices left out that can have none."""
    least, fan = search.least_terms(), len(search.taps)
    moving = sorted(search.taps, key=lambda tap: -search.reach.moves[tap])
    for size in sorted({*SIZES, min(least, SIZES[-1])}):
        if max(least, 1) <= size <= fan:
            telling = most_telling(evidence.layer, evidence.channel, size).tolist()
            found = [sorted(moving[:size]), telling]
            for taps in found[: 1 + (found[0] != telling)]:
                if search.least_terms(taps) <= len(taps):
                    yield taps


def _on(evidence: UnitEvidence, search: CoefficientSearch, taps: list[int]) -> Iterator[Affine]:
    """The coarsest program of some inputs, and those fitted on its grid and finer ones."""
    found = search.coarsest(taps=taps).found
    if found is None:
        return
    yield found.program
    channel, patches = evidence.channel, evidence.layer.patches
    metric = refit_metric(evidence.layer, channel, patches, np.array(taps))
    for power in range(found.grid.power, found.grid.power + FINER_GRIDS + 1):
        fitted = _fitted(search, metric, taps, Grid(power))
        if fitted is not None:
            yield fitted


def _fitted(
    search: CoefficientSearch, metric: Metric, taps: list[int], grid: Grid
) -> Affine | None:
    """The numbers that lose least on probes and on the counterexamples to those before."""
    unit, weights = search.unit, np.zeros_like(search.unit.weights)
    for _ in range(ROUNDS):
        numbers = round_compensated(metric, grid.step, bias_step=grid.step * 2.0**-FINER)
        weights[taps] = numbers[:-1]
        program = Affine(weights, float(numbers[-1]), unit.head)
        verdict = search.verdict(program)
        if isinstance(verdict, Proved):
            return program
        seen = search.worst(program, verdict)
        metric = _with_point(metric, np.append(seen.point[taps], 1.0), float(seen.value))
    return None


def _with_point(metric: Metric, point: np.ndarray, value: float) -> Metric:
    """A metric that counts the error at one point [x, 1] more, where the unit has this value."""
    weight = SHARE * float(np.trace(metric.gram)) / float(point @ point)
    gram = metric.gram + weight * np.outer(point, point)
    right = metric.gram @ metric.target + weight * value * point
    return Metric(gram, np.linalg.solve(gram, right))
