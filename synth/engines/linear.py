"""The linear engine: constants, copies and negations of siblings, sparse rounded weights.

Supports come from the Gram metric, nested from all weights to none; constants on a support are
rounded to dyadic grids from coarse to practically exact, each rounding made up for by the rest.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from grammars.hoist import hoist
from grammars.interpreters.affine import Affine
from grammars.primitive import Real
from grammars.program import PRE, Node, const, linear, tap
from synth.engine import UnitEvidence, sum_of_taps, with_head
from synth.metric import Metric, unit_metric
from synth.rounding import BIAS_SHIFT, round_compensated
from synth.sparse import supports

COARSE = range(0, 8)  # grids of 2^-j of the largest weight, for every size
FINE = (10, 12, 16)  # and of these for all weights: the way to practically exact
SNAPPED = 6  # up to this j, head parameters are on their human grid too
CAUTIONS = (0.0, 0.1, 1.0)  # how much the metric fears inputs that probes do not show
FLOAT32_BITS = 24
NEAR = 0.2  # a sibling is proposed where the pre-activations differ by less than this FVU


class LinearEngine:
    """Sparse rounded linear programs under the unit's own head."""

    name = "linear"

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Constants, siblings, then sums of 0 … F terms on grids from coarse to fine."""
        return islice(_all(evidence), budget)

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """The same support, grid and head, with constants for these sources."""
        hoisted = hoist(program, evidence.grammar)
        index = evidence.layer.scope.index
        size = len(evidence.layer.scope.columns)
        if len(hoisted.rows) != 1 or any(index[k] >= size for k in hoisted.rows[0].weights):
            return None
        support, step, bias_step = _shape(hoisted.rows[0], index)
        metric = unit_metric(evidence.layer, evidence.channel)
        constants = np.zeros(size + 1)
        constants[np.append(support, size)] = round_compensated(
            metric.restricted(support), step, bias_step=bias_step
        )
        params = {k: v for k, v in program.params if isinstance(v, float)}
        return with_head(evidence.head, sum_of_taps(evidence.layer, constants), **params)


def _all(evidence: UnitEvidence) -> Iterator[Node]:
    yield from _constants(evidence)
    yield from _siblings(evidence)
    for caution in CAUTIONS:
        metric = unit_metric(evidence.layer, evidence.channel, caution=caution)
        chosen = supports(metric, _sizes(metric.size))
        for size, support in sorted(chosen.items()):
            grids = [*COARSE, *FINE] if size == metric.size else COARSE
            yield from _grids(evidence, metric, support, grids)


def _constants(evidence: UnitEvidence) -> Iterator[Node]:
    """Zero, and the mean activation in short dyadics of its own size and of the unit's range."""
    layer = evidence.layer
    values = layer.target[layer.fit, evidence.channel]
    span = float(layer.span[evidence.channel])
    yield const(0.0)
    if not span:
        yield const(float(values[0]))  # not the mean: equal numbers have a sum that is rounded
        return
    mean = float(values.mean())
    for size, widths in ((abs(mean), (2, 4, 6, 8)), (span, (3, 6, 24))):
        for bits in widths if size else ():
            step = 2.0 ** (math.floor(math.log2(size)) - bits)
            yield const(float(np.float32(round(mean / step) * step)))


def _siblings(evidence: UnitEvidence) -> Iterator[Node]:
    """Copies and negations of units of lower index whose pre-activations are near."""
    layer, head = evidence.layer, evidence.head
    bank = layer.layer.name
    pre = layer.pre[layer.fit]
    own = pre[:, evidence.channel]
    spread = float(own.var())
    for j in range(evidence.channel):
        reference = tap(f"{bank}{PRE}", j)
        if ((own - pre[:, j]) ** 2).mean() < NEAR * spread and layer.layer.heads[j] == head:
            yield tap(bank, j)
        if ((own + pre[:, j]) ** 2).mean() < NEAR * spread:
            yield with_head(head, linear([(-1.0, reference)]))


def _grids(
    evidence: UnitEvidence, metric: Metric, support: np.ndarray, grids: Iterable[int]
) -> Iterator[Node]:
    inner, keep = metric.restricted(support), np.append(support, metric.size)
    largest = float(np.abs(inner.target[:-1]).max(initial=0.0)) or abs(float(inner.target[-1]))
    if not largest:
        return
    for j in grids:
        step = 2.0 ** (math.floor(math.log2(largest)) - j)
        constants = np.zeros(metric.size + 1)
        constants[keep] = round_compensated(inner, step, bias_step=_bias_step(inner, step))
        pre = sum_of_taps(evidence.layer, constants)
        yield with_head(evidence.head, pre, **_parameters(evidence, snapped=j <= SNAPPED))


def _bias_step(metric: Metric, step: float) -> float:
    """Finer than the weights' step, but of no more bits than a float32 holds.

    The replacement runs in float32: a constant that it cannot hold would not be the one proved.
    """
    bias = abs(float(metric.target[-1]))
    least = 2.0 ** (math.floor(math.log2(bias)) - FLOAT32_BITS + 2) if bias else 0.0
    return max(step * 2.0**-BIAS_SHIFT, least)


def _parameters(evidence: UnitEvidence, *, snapped: bool) -> dict[str, float]:
    """The head's parameters, on their human grids if `snapped`."""
    if not snapped or evidence.head.op == "identity":
        return {}
    specs = dict(evidence.grammar[evidence.head.op].parameters)
    pairs = ((name, value, specs[name]) for name, value in evidence.head.params)
    return {name: spec.snap(value) for name, value, spec in pairs if isinstance(spec, Real)}


def _shape(row: Affine, index: dict) -> tuple[np.ndarray, float, float]:
    """The support of a row and the coarsest grids that its weights and its bias are on."""
    support = np.array(sorted(index[key] for key in row.weights), dtype=int)
    step = _grid_of(row.weights.values())
    return support, step, min(step, max(_grid_of([row.bias]), step * 2.0**-BIAS_SHIFT))


def _grid_of(values: Iterable[float]) -> float:
    """The largest power of two of which all values are multiples; 1 if all are zero."""
    denominators = []
    for value in values:
        numerator, denominator = float(value).as_integer_ratio()
        if numerator:
            denominators.append((numerator & -numerator) / denominator)
    return min(denominators, default=1.0)


def _sizes(columns: int) -> list[int]:
    """Support sizes: every one up to 6, then two fifths more each time, and all columns."""
    sizes = [*range(7)]
    while sizes[-1] < columns:
        sizes.append(math.ceil(sizes[-1] * 1.4))
    return [*(s for s in sizes if s < columns), columns]
