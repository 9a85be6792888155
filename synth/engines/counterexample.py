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
from oracles.claims import Affine
from oracles.coefficients import CoefficientSearch
from oracles.questions import Effort, Grid
from synth.affine import unit_bank, unit_box
from synth.coarsest import written
from synth.engine import UnitEvidence
from synth.engines.linear import LinearEngine
from synth.layers import Layer
from synth.mending import can_be_held, fitted_within
from synth.metric import refit_metric
from synth.proofs import epsilon_of
from synth.pursuit import most_telling

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # terms of programs
EFFORT = Effort(points=12, steps=500_000, nodes=2)  # for one grid: there are many inputs to try
FINER_GRIDS = 3  # on which coefficients are fitted, beside the coarsest


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
        able = (can_be_held(layer, c) for layer in layers for c in range(layer.units))
        return None if any(able) else "no unit is affine under a head that never falls"


ENGINE = CounterexampleEngine


def _all(evidence: UnitEvidence, max_error: float) -> Iterator[Node]:
    layer, channel = evidence.layer, evidence.channel
    if not can_be_held(layer.layer, channel) or not layer.ranges.span[channel]:
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
        fitted = fitted_within(search, metric, taps, Grid(power))
        if fitted is not None:
            yield fitted
