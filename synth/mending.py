"""Refuted programs go back to the fit: the points that refute one become training points.

A short program may be near its unit on every probe and far from it at some point of the envelope.
There the claim ε refutes it. Its constants are fitted again, on its own inputs and grid, in a
metric that counts that point too, and so on with the worst point of what comes of it
(counterexample-guided; Solar-Lezama 2008). Points lie in the envelope of fit and select; held-out
is never asked. What is still refuted in the end is rejected by the choice, as it was.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from grammars.hoist import hoist
from grammars.program import Node
from oracles.claims import Affine, Proved
from oracles.coefficients import CoefficientSearch
from oracles.monotone import is_monotone
from oracles.questions import FINER, Grid
from synth.affine import unit_bank, unit_box
from synth.coarsest import written
from synth.engine import UnitEvidence
from synth.fronts import SHORT, Candidate
from synth.layers import Layer
from synth.metric import Metric, refit_metric
from synth.rounding import grid_of, round_compensated

ROUNDS = 8  # of fits with one counterexample more
SHARE = 0.125  # that a counterexample counts beside all probes
MENDED = 4  # refuted programs of a unit, those nearest to ε first


def can_be_held(layer: Layer, channel: int) -> bool:
    """Whether a claim at a point is linear: of affine units under a head that never falls."""
    return layer.affine and is_monotone(unit_bank(layer, [channel])[0].head)


def mended(
    evidence: UnitEvidence, refuted: Sequence[Candidate], epsilon: Fraction
) -> Iterator[tuple[Node, str]]:
    """Programs within `epsilon` on the inputs and grids of refuted ones, with the engines of these.

    Of sums of a few of the unit's inputs only, and where counterexamples are linear conditions.
    """
    layer, channel = evidence.layer, evidence.channel
    if not can_be_held(layer.layer, channel):
        return
    unit, box = unit_bank(layer.layer, [channel])[0], unit_box(layer.ranges, channel)
    search = CoefficientSearch(unit, box, epsilon)
    for candidate in sorted(refuted, key=lambda c: c.bound)[:MENDED]:
        found = _mended(evidence, search, candidate.program)
        if found is not None and np.float32(found.bias) == found.bias:  # it runs in float32
            yield written(layer.layer, channel, found), candidate.engine


def _mended(evidence: UnitEvidence, search: CoefficientSearch, program: Node) -> Affine | None:
    rows, index = hoist(program, evidence.grammar).rows, evidence.scope.index
    own = len(evidence.scope.columns)
    if len(rows) != 1 or not 0 < len(rows[0].weights) <= SHORT:
        return None
    taps = sorted(index[key] for key in rows[0].weights)
    if taps[-1] >= own:  # a sibling's
        return None
    if search.least_terms(taps) > len(taps):  # what it leaves out moves the unit too far
        return None
    step = grid_of(rows[0].weights.values())
    metric = refit_metric(evidence.layer, evidence.channel, evidence.layer.patches, np.array(taps))
    return fitted_within(search, metric, taps, Grid(-int(np.log2(step))))


def fitted_within(
    search: CoefficientSearch, metric: Metric, taps: Sequence[int], grid: Grid
) -> Affine | None:
    """The numbers on a grid that lose least on probes and on the counterexamples to those before;
    None where they are still refuted after some rounds."""
    unit, weights, columns = search.unit, np.zeros_like(search.unit.weights), list(taps)
    for _ in range(ROUNDS):
        numbers = round_compensated(metric, grid.step, bias_step=grid.step * 2.0**-FINER)
        weights[columns] = numbers[:-1]
        program = Affine(weights, float(numbers[-1]), unit.head)
        verdict = search.verdict(program)
        if isinstance(verdict, Proved):
            return program
        seen = search.worst(program, verdict)
        metric = _with_point(metric, np.append(seen.point[columns], 1.0), float(seen.value))
    return None


def _with_point(metric: Metric, point: np.ndarray, value: float) -> Metric:
    """A metric that counts the error at one point [x, 1] more, where the unit has this value."""
    weight = SHARE * float(np.trace(metric.gram)) / float(point @ point)
    gram = metric.gram + weight * np.outer(point, point)
    right = metric.gram @ metric.target + weight * value * point
    return Metric(gram, np.linalg.solve(gram, right))
