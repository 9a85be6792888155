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

from synth.evidence import LayerEvidence
from synth.factors import inverse_factor
from synth.metric import RIDGE, gram_blocks, own_constants, row_weights, spread_of
from synth.rounding import round_biases

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
    for factor in _factors(evidence, caution, _first(evidence, channel)):
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
) -> tuple[Roundings, np.ndarray]:
    """The roundings with the biases that lose least on grids of `bias_steps` (K,), and the losses.

    These (K,) are mean squared errors of the pre-activation where the unit's head is open, and a
    little elsewhere.
    """
    rows = evidence.fit[:: -(-len(evidence.fit) // ROWS)]
    weight = row_weights(evidence, channel, rows)
    rows, weight = rows[weight > 0], weight[weight > 0]
    inner = evidence.patches[rows, evidence.layer.part(channel)]
    error = inner @ found.constants[:, :-1].T.astype(np.float32)
    error = evidence.pre[rows, channel][:, None] - error
    bias = round_biases(weight @ error / weight.sum(), bias_steps)
    losses = weight @ (error - bias) ** 2
    return Roundings(np.column_stack([found.constants[:, :-1], bias]), found.steps), losses


def _first(evidence: LayerEvidence, channel: int) -> int:
    """The first unit of the group of a unit."""
    size = evidence.layer.units // evidence.layer.groups
    return channel // size * size


@lru_cache(maxsize=2)  # a layer at a time: each entry keeps its evidence
def _factors(evidence: LayerEvidence, caution: float, first: int) -> tuple[Factor, ...]:
    """The factors of the blocks that the units of a group read, of which one is `first`."""
    spread = caution * spread_of(evidence, evidence.layer.part(first))
    blocks = gram_blocks(evidence, first)
    return tuple(_factor(block, spread[np.append(columns, -1)]) for columns, block in blocks)


def _factor(block: np.ndarray, added: np.ndarray) -> Factor:
    """Of a block with `added` (f+1,) on its diagonal: the columns of largest curvature first, the
    bias last."""
    diagonal = np.diagonal(block) + added
    diagonal += 100 * RIDGE * max(float(diagonal.sum()) / len(diagonal), np.finfo(float).tiny)
    order = np.argsort(-diagonal[:-1], kind="stable")
    places = np.append(order, len(order))
    gram = block[np.ix_(places, places)]
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
