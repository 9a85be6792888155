"""The linear engine: constants, copies and negations of siblings, sparse rounded weights.

Supports come from the Gram metric, nested from all weights to none; constants on a support are
rounded to dyadic grids from coarse to practically exact, each rounding made up for by the rest. In
large layers short programs are made of the inputs that tell most (`synth.pursuit`), in bigger
steps, and long ones in one pass with their rounding, in a metric that all units share
(`synth.dead_zone`).
"""

import math
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice

import numpy as np

from grammars.hoist import hoist
from grammars.interpreters.affine import Affine
from grammars.primitive import Real
from grammars.program import PRE, Node, const, linear, tap
from synth.dead_zone import ROWS, Roundings, rebiased, roundings
from synth.engine import UnitEvidence, weighted_taps, with_head
from synth.evidence import LayerEvidence
from synth.layers import Layer
from synth.metric import Metric, Squares, refit_metric, squares, unit_metrics
from synth.pursuit import most_telling
from synth.rounding import bias_step, grid_of, round_biases, round_compensated, round_on_grids
from synth.shifting import is_long, shifted
from synth.sparse import supports, thin
from synth.thinning import Rated, best_of, rated

NARROW = 128  # weights of a unit up to which its supports are always found exactly,
EXACT = 1e6  # as they are where units · weights² is at most this;
TELLING = 256  # inputs of a wide unit that its short programs are made of
COARSE = range(0, 8)  # grids of 2^-j of the largest weight, for every size
FINE = (10, 12, 16)  # and of these for all weights: the way to practically exact
KEPT = (1.0, 0.85, 0.7, 0.5, 0.35, 0.2, 0.1, 0.05)  # shares of weights that wide units may keep
SHARES = {0: 8, 1: 8, 2: 8, 3: 3, 4: 2, 5: 2}  # how many of them are worth trying on a coarse grid
FINER = 1.2  # support sizes of wide units grow by this factor
SNAPPED = 6  # up to this j, head parameters are on their human grid too
CAUTIONS = (0.0, 0.1, 1.0)  # how much the metric fears inputs that probes do not show
NEAR = 0.2  # a sibling is proposed where the pre-activations differ by less than this FVU


class Method(StrEnum):
    """How the supports of a layer's units are found."""

    EXACT = "exact"  # one removal at a time, from all weights
    WIDE = "wide"  # many removals at a time, from the inputs that tell most, or in one pass


def method_of(layer: Layer) -> Method:
    """The better method that the size of a layer allows."""
    exact = layer.fan <= NARROW or layer.units * layer.fan**2 <= EXACT
    return Method.EXACT if exact else Method.WIDE


class LinearEngine:
    """Sparse rounded linear programs under the unit's own head."""

    name = "linear"

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Constants, siblings, then sums of 0 … F terms on grids from coarse to fine."""
        return islice(_all(evidence), budget)

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """The same support, grid and head, with constants for the replaced sources.

        Of a long program only the bias is fitted.
        """
        if is_long(program, evidence.grammar):
            unit = [(evidence.channel, program)]
            return shifted(evidence.layer, _sources(evidence), unit, evidence.grammar)[0]
        hoisted, index = hoist(program, evidence.grammar), evidence.scope.index
        size = len(evidence.scope.columns)
        if len(hoisted.rows) != 1 or any(index[k] >= size for k in hoisted.rows[0].weights):
            return None
        row = hoisted.rows[0]
        constants = _refitted(row, evidence)
        params = {k: v for k, v in program.params if isinstance(v, float)}
        return with_head(evidence.head, weighted_taps(evidence.scope, constants), **params)


ENGINE = LinearEngine


def _all(evidence: UnitEvidence) -> Iterator[Node]:
    yield from _constants(evidence)
    yield from _siblings(evidence)
    yield from _METHODS[method_of(evidence.layer.layer)](evidence)


def _exact(evidence: UnitEvidence) -> Iterator[Node]:
    """Every support of the path, on every grid."""
    for metric in unit_metrics(evidence.layer, evidence.channel, CAUTIONS):
        chosen = supports(metric, _sizes(metric.size))
        for size, support in sorted(chosen.items()):
            grids = [*COARSE, *FINE] if size == metric.size else COARSE
            yield from _grids(evidence, metric, support, grids)


def _constants(evidence: UnitEvidence) -> Iterator[Node]:
    """Zero, and the mean activation in short dyadics of its own size and of the unit's range; of a
    unit without range, its one value as a float32."""
    layer = evidence.layer
    values = layer.target[layer.fit, evidence.channel]
    span = float(layer.ranges.span[evidence.channel])
    yield const(0.0)
    if not span:
        yield const(float(np.float32(values[0])))  # the sum of equal numbers would be rounded
        return
    mean = float(values.mean())
    for size, widths in ((abs(mean), (2, 4, 6, 8)), (span, (3, 6, 24))):
        for bits in widths if size else ():
            step = 2.0 ** (math.floor(math.log2(size)) - bits)
            yield const(float(np.float32(round(mean / step) * step)))


def _siblings(evidence: UnitEvidence) -> Iterator[Node]:
    """Copies and negations of units of lower index whose pre-activations are near."""
    layer, channel = evidence.layer, evidence.channel
    bank, heads = layer.layer.name, layer.layer.heads
    square, own = np.diagonal(layer.likeness), layer.likeness[channel]
    spread = float(layer.pre[layer.fit, channel].var())
    for j in range(channel):
        if layer.layer.part(j) != layer.layer.part(channel):
            continue  # siblings read the same columns
        sizes, twice = square[channel] + square[j], 2 * own[j]
        if sizes - twice < NEAR * spread and heads[j] == evidence.head:
            yield tap(bank, j)
        if sizes + twice < NEAR * spread:
            yield with_head(evidence.head, linear([(-1.0, tap(f"{bank}{PRE}", j))]))


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
        finer = bias_step(float(inner.target[-1]), step)
        constants[keep] = round_compensated(inner, step, bias_step=finer)
        yield _program(evidence, constants, snapped=j <= SNAPPED)


def _wide(evidence: UnitEvidence) -> Iterator[Node]:
    """Sparse roundings of a unit of many weights: on the inputs that tell most, in a metric of its
    own, and if there are others, of all weights in the metric of the layer."""
    layer, channel = evidence.layer, evidence.channel
    every = np.arange(layer.layer.fan)
    if len(every) <= TELLING:
        pools = [*_pursued(layer, channel, every)]
    else:
        pools = [*_pursued(layer, channel, most_telling(layer, channel, TELLING))]
        pools += [_shared(layer, channel, caution) for caution in CAUTIONS[:2]]
    largest = max(pool.found.steps.max(initial=0.0) for pool in pools)
    for constants, step in best_of(pools):
        yield _program(evidence, constants, snapped=step * 2.0**SNAPPED >= largest)


def _pursued(layer: LayerEvidence, channel: int, support: np.ndarray) -> Iterator[Rated]:
    """Roundings on supports from none to a given one, without caution and with a little."""
    fan, rows = layer.layer.fan, layer.fit[:: -(-len(layer.fit) // ROWS)]
    sums = squares(layer, channel, layer.patches, support, rows)
    for caution in CAUTIONS[:2]:
        found = _path(sums, caution, practically_exact=len(support) == fan)
        constants = np.zeros((len(found.steps), fan + 1))
        constants[:, np.append(support, -1)] = found.constants
        whole = Roundings(constants, found.steps)
        yield rated(layer, channel, whole, sums.losses(found.constants))


def _path(sums: Squares, caution: float, *, practically_exact: bool) -> Roundings:
    """Roundings on supports from one weight to all, coarse ones for each and fine ones for all."""
    metric = sums.metric(caution)
    rows, steps = [np.empty((0, metric.size + 1))], [np.empty(0)]
    for size, support in thin(metric, _sizes(metric.size, growth=FINER)).items():
        inner = metric.restricted(support)
        largest = float(np.abs(inner.target[:-1]).max(initial=0.0))
        if not largest:
            continue
        fine = practically_exact and size == metric.size
        own = _steps(largest, [*COARSE, *FINE] if fine else COARSE)
        finer = _bias_steps(float(inner.target[-1]), own)
        constants = np.zeros((len(own), metric.size + 1))
        constants[:, support] = round_on_grids(inner, own, finer)[:, :-1]
        constants[:, -1] = round_biases(sums.biases(constants[:, :-1]), finer)
        rows.append(constants)
        steps.append(own)
    return Roundings(np.concatenate(rows), np.concatenate(steps))


def _shared(layer: LayerEvidence, channel: int, caution: float) -> Rated:
    """Roundings of all weights that matter, in the metric of the layer."""
    largest = float(np.abs(layer.layer.weight[channel]).max(initial=0.0))
    pairs = [(j, kept) for j in (*COARSE, *FINE) for kept in KEPT[: SHARES.get(j, 1)]]
    steps = _steps(largest or 1.0, [j for j, _ in pairs])
    found = roundings(layer, channel, steps, [kept for _, kept in pairs], caution=caution)
    bias_steps = _bias_steps(float(layer.layer.bias[channel]), steps)
    return rated(layer, channel, *rebiased(layer, channel, found, bias_steps))


def _steps(largest: float, grids: Iterable[int]) -> np.ndarray:
    """2^-j of the power of two below the largest weight, for each j."""
    return np.exp2(math.floor(math.log2(largest)) - np.array([*grids], dtype=float))


def _bias_steps(bias: float, steps: np.ndarray) -> np.ndarray:
    return np.array([bias_step(bias, step) for step in steps.tolist()])


_METHODS = {Method.EXACT: _exact, Method.WIDE: _wide}


def _program(evidence: UnitEvidence, constants: np.ndarray, *, snapped: bool) -> Node:
    pre = weighted_taps(evidence.scope, constants)
    return with_head(evidence.head, pre, **_parameters(evidence, snapped=snapped))


def _parameters(evidence: UnitEvidence, *, snapped: bool) -> dict[str, float]:
    """The head's parameters, on their human grids if `snapped`."""
    if not snapped or evidence.head.op == "identity":
        return {}
    specs = dict(evidence.grammar[evidence.head.op].parameters)
    pairs = ((name, value, specs[name]) for name, value in evidence.head.params)
    return {name: spec.snap(value) for name, value, spec in pairs if isinstance(spec, Real)}


def _refitted(row: Affine, evidence: UnitEvidence) -> np.ndarray:
    """All constants of a row, (F+1,), fitted and rounded again on its own support and grid."""
    index = evidence.scope.index
    support = np.array(sorted(index[key] for key in row.weights), dtype=int)
    metric = refit_metric(evidence.layer, evidence.channel, _sources(evidence), support)
    step = grid_of(row.weights.values())
    finer = max(min(step, grid_of([row.bias])), bias_step(float(metric.target[-1]), step))
    constants = np.zeros(len(evidence.scope.columns) + 1)
    constants[np.append(support, -1)] = round_compensated(metric, step, bias_step=finer)
    return constants


def _sources(evidence: UnitEvidence) -> np.ndarray:
    return evidence.layer.patches if evidence.replaced is None else evidence.replaced


def _sizes(columns: int, *, growth: float = 1.4) -> list[int]:
    """Support sizes: every one up to 6, then `growth` times as many each time, and all columns."""
    sizes = [*range(7)]
    while sizes[-1] < columns:
        sizes.append(math.ceil(sizes[-1] * growth))
    return [*(s for s in sizes if s < columns), columns]
