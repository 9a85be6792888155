"""The kernel engine: a unit of a convolution as a short sum of kernels over mixes of channels.

Kernels, their colours and a few taps are found in the metric of the unit (`synth.kernels`): K = 1,
2, 3, … components, each length with what it costs and leaves; the front keeps what pays.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from grammars.coding import program_bits
from grammars.program import Node
from synth.engine import UnitEvidence
from synth.kernels.colours import axes_of
from synth.kernels.fit import Problem
from synth.kernels.forms import Window, forms_of
from synth.kernels.rounding import readable
from synth.kernels.search import grow
from synth.kernels.writing import MENDED, PRECISIONS, Draft, Written
from synth.metric import Metric, own_constants, unit_metrics

LONGEST = 6  # components
CAUTIONS = (0.0, 0.1)  # how much the metric fears inputs that probes do not show


class KernelEngine:
    """Sums of kernels under the unit's own head."""

    name = "kernel"

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Sums of one kernel, two, …, in several precisions; nothing for a window of one place."""
        return islice(_all(evidence, seed), budget)

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        return None


ENGINE = KernelEngine


def _all(evidence: UnitEvidence, seed: int) -> Iterator[Node]:
    forms, layer = forms_of(evidence.grammar), evidence.layer.layer
    if not forms or len(layer.geometry.offsets()) == 1:
        return
    found = [
        written
        for metric in unit_metrics(evidence.layer, evidence.channel, CAUTIONS)
        for written in _written(evidence, metric, seed)
    ]
    yield from _worth_a_look(evidence, found)


def _written(evidence: UnitEvidence, metric: Metric, seed: int) -> Iterator[Written]:
    layer = evidence.layer.layer
    channels = layer.in_shape[0] // layer.groups
    window = Window.of(layer.geometry.offsets())
    problem = Problem.of(metric, channels, forms_of(evidence.grammar), window)
    axes = axes_of(evidence.grammar, layer.source, channels) if layer.groups == 1 else ()
    for grown in grow(problem, LONGEST, seed):
        draft = Draft.of(evidence, metric, problem, readable(problem, grown.chains.part([0]), axes))
        for mended in draft.mended(MENDED):
            for precision in PRECISIONS:
                written = mended.written(precision)
                if written is not None:
                    yield written


def _worth_a_look(evidence: UnitEvidence, all_: list[Written]) -> Iterator[Node]:
    """Those that no other beats in bits, loss and the reach of its error; cheapest first."""
    own, ranges = own_constants(evidence.layer, evidence.channel), evidence.layer.ranges
    part = evidence.layer.layer.part(evidence.channel)
    low, high = (side[part].astype(np.float64) for side in (ranges.lower, ranges.upper))
    rows = []
    for written in all_:
        error = written.weights - own[:-1]
        middle = error @ (low + high) / 2 + written.bias - own[-1]
        reach = np.abs(error) @ (high - low) / 2 + abs(middle)
        bits = program_bits(written.program, evidence.scope, evidence.grammar)
        rows.append((bits, written.loss, reach))
    figures = np.array(rows).reshape(-1, 3)
    last = 0.0
    for i in np.lexsort((figures[:, 1], figures[:, 0])):
        better = (figures[:, :2] <= figures[i, :2]).all(1) & (figures[:, :2] < figures[i, :2]).any(
            1
        )
        if not better.any() and figures[i, 0] > 1.05 * last:
            last = figures[i, 0]
            yield all_[i].program
