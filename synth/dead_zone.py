"""Many sparse roundings of one wide unit at once, by one factor that its whole layer shares.

One pass over the constants rounds each, or drops it where that costs less than what it saves, and
spreads the error over those still to come (GPTQ, Frantar et al. 2022; SparseGPT, Frantar and
Alistarh 2023). The metric is that of all patches, so its factor serves every unit of a layer, every
grid and every sparsity; what a unit's head shuts out is left to the bias. The cost for a unit grows
with the square of its weights, where the metric of its own (`synth.metric`) costs their cube.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from synth.evidence import FIT, LayerEvidence
from synth.factors import inverse_factor
from synth.metric import FLOOR, RIDGE, own_constants, spread_of

TILE = 64  # constants whose errors are spread together
ROWS = 8192  # patches, evenly spread over those of fit, on which biases are fitted


@dataclass(frozen=True, eq=False)
class Factor:
    """One block of a layer: `order` (f,) of its columns, and of the bias behind them, and the upper
    Cholesky factor (f+1, f+1) of the inverse Gram in that order."""

    order: np.ndarray
    upper: np.ndarray

    @property
    def cost(self) -> np.ndarray:
        """(f,) what a squared unit of error in each column costs, once it cannot be made up for."""
        return 1 / np.diagonal(self.upper)[:-1] ** 2


@dataclass(frozen=True, eq=False)
class Roundings:
    """K roundings of a unit: `constants` (K, fan+1) with integers (K, fan) times `steps` (K,)."""

    constants: np.ndarray
    steps: np.ndarray

    @property
    def integers(self) -> np.ndarray:
        return np.round(self.constants[:, :-1] / self.steps[:, None]).astype(np.int64)


def roundings(
    evidence: LayerEvidence,
    channel: int,
    steps: Sequence[float] | np.ndarray,
    kept: Sequence[float],
    *,
    caution: float = 0.0,
) -> Roundings:
    """A rounding of unit `channel` for each pair of a step and a share of weights to be kept.

    A weight is dropped where that costs less than dropping the unit's own weight at the quantile
    1 − kept of costs. Biases are those of the unit: `rebiased` fits them.
    """
    own, columns = own_constants(evidence, channel), np.asarray(steps, dtype=np.float64)
    result = np.empty((len(columns), len(own)))
    result[:, -1] = own[-1]
    shares, start = np.asarray(kept), 0
    for factor in _factors(evidence, caution, _block(evidence, channel)):
        size = len(factor.order)
        inner = own[start : start + size][factor.order]
        limits = np.quantile(inner**2 * factor.cost, 1 - shares)
        limits[shares >= 1] = 0.0
        result[:, start + factor.order] = _rounded(factor, inner, columns, limits)
        start += size
    return Roundings(result, columns)


def rebiased(
    evidence: LayerEvidence,
    channel: int,
    found: Roundings,
    bias_steps: np.ndarray,
    patches: np.ndarray | None = None,
) -> tuple[Roundings, np.ndarray]:
    """The roundings with the biases (on grids of `bias_steps` (K,)) that lose least; and the losses
    (K,), mean squared errors of the pre-activation where the head is open, and a little elsewhere.

    `patches` (n, width) are those of replaced sources, by default the original ones.
    """
    patches = evidence.patches if patches is None else patches
    rows = evidence.fit[:: -(-len(evidence.fit) // ROWS)]
    weight = evidence.gates(channel, rows) / len(rows)
    plain = evidence.role[rows] == FIT
    weight += FLOOR * plain / max(np.count_nonzero(plain), 1)
    rows, weight = rows[weight > 0], weight[weight > 0]
    inner = patches[rows, evidence.layer.part(channel)]
    error = inner @ found.constants[:, :-1].T.astype(np.float32)
    error = evidence.pre[rows, channel][:, None] - error
    bias = weight @ error / weight.sum()
    held = np.spacing(np.abs(bias).astype(np.float32))  # a float32 holds no finer ones
    bias_steps = np.maximum(bias_steps, held)
    bias = np.round(bias / bias_steps) * bias_steps
    losses = weight @ (error - bias) ** 2
    return Roundings(np.column_stack([found.constants[:, :-1], bias]), found.steps), losses


def _block(evidence: LayerEvidence, channel: int) -> int:
    layer = evidence.layer
    return channel * layer.groups // layer.units


@lru_cache(maxsize=2)  # a layer at a time: each entry keeps its evidence
def _factors(evidence: LayerEvidence, caution: float, group: int) -> tuple[Factor, ...]:
    """The factors of the blocks that the units of a group read."""
    layer, grams = evidence.layer, evidence.moments.gram
    parts = len(grams) // layer.groups
    part = layer.part(group * layer.units // layer.groups)
    spread, found = spread_of(evidence, part), []
    size = grams.shape[1] - 1
    for number in range(parts):
        columns = np.arange(number * size, min((number + 1) * size, layer.fan))
        block = grams[group * parts + number]
        found.append(_factor(block, caution * spread[np.append(columns, -1)]))
    return tuple(found)


def _factor(block: np.ndarray, added: np.ndarray) -> Factor:
    """Of a block that is filled up behind its own columns, with `added` (f+1,) on its diagonal: the
    columns of largest curvature first, the bias last."""
    keep = np.append(np.arange(len(added) - 1), len(block) - 1)
    diagonal = np.diagonal(block)[keep] + added
    diagonal += 100 * RIDGE * max(float(diagonal.sum()) / len(diagonal), np.finfo(float).tiny)
    order = np.argsort(-diagonal[:-1], kind="stable")
    places = np.append(order, len(order))
    gram = block[np.ix_(keep[places], keep[places])]
    gram[np.diag_indices_from(gram)] = diagonal[places]
    return Factor(order, inverse_factor(gram))


def _rounded(factor: Factor, own: np.ndarray, steps: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """(K, f) constants in the factor's order, from `own` (f,) for each step and limit (K,)."""
    size, upper = len(own), factor.upper
    theta = np.repeat(own[:, None], len(steps), axis=1)  # (f, K): a column is one row of memory
    scale = 1 / steps  # of powers of two, so that products are as exact as quotients
    gains = limits / factor.cost[:, None]  # what keeping a weight has to gain, at least
    for start in range(0, size, TILE):
        stop = min(start + TILE, size)
        errors = np.zeros((stop - start, len(steps)))
        inner = np.ascontiguousarray(upper[start:stop, start:stop].T)
        for i in range(stop - start):
            value = theta[start + i] - inner[i] @ errors
            near = np.rint(value * scale) * steps
            near *= near * (2 * value - near) >= gains[start + i]
            errors[i] = (value - near) / inner[i, i]
            theta[start + i] = near
        theta[stop:] -= upper[start:stop, stop:size].T @ errors
    return theta.T
