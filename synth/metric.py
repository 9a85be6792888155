"""The quadratic in which a unit's constants are fitted.

loss(θ) = (θ − target)ᵀ G (θ − target), θ = (weights, bias), is the expected squared error of the
pre-activation under the weights that made the Gram matrix G. On the original sources the target is
the unit itself; on replaced sources it is the regression of the unit on them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synth.evidence import LayerEvidence
from synth.factors import inverse_factor

RIDGE = 1e-7  # of the mean diagonal: keeps directions that no probe visits from blowing up
FLOOR = 0.02  # weight of all patches beside those that the head lets through


@dataclass(frozen=True, eq=False)
class Metric:
    """`gram` (F+1, F+1), positive definite, bias last; `target` (F+1,)."""

    gram: np.ndarray
    target: np.ndarray

    @property
    def size(self) -> int:
        """F, the bias aside."""
        return len(self.target) - 1

    @cached_property
    def elimination(self) -> tuple[np.ndarray, np.ndarray]:
        """An order of the constants, and the upper Cholesky factor of the inverse Gram in it.

        Row i of the factor is, but for scale, the inverse's row i once all before it are fixed.
        """
        weights = np.argsort(-np.diagonal(self.gram)[:-1], kind="stable")
        order = np.append(weights, self.size)
        return order, inverse_factor(self.gram[np.ix_(order, order)])

    def loss(self, theta: np.ndarray) -> float:
        """The loss of (F+1,) constants."""
        error = theta - self.target
        return float(error @ self.gram @ error)

    def restricted(self, support: np.ndarray) -> "Metric":
        """The loss of constants that are zero off `support` (indices, bias excluded), as a metric.

        Its target is the best such constants; the loss that remains there is left out.
        """
        keep = np.append(support, self.size)
        inner = self.gram[np.ix_(keep, keep)]
        right = self.gram[keep] @ self.target
        return Metric(inner, np.linalg.solve(inner, right))


def unit_metric(evidence: LayerEvidence, channel: int, *, caution: float = 0.0) -> Metric:
    """The metric of one unit: patches that its head lets through, and a little of all patches.

    The gated part comes from the sample, the other from the streamed moments. `caution` adds that
    multiple of the error on independent uniform inputs in the envelope, Σ error² · width² / 12:
    without it, compensation spends freely in directions that probes never visit and proofs do. A
    small ridge pulls directions that neither visits towards the unit's own constants.
    """
    layer, rows = evidence.layer, evidence.fit
    part, block = layer.part(channel), channel * layer.groups // layer.units
    gram, right = _gated(evidence, channel, evidence.patches[rows][:, part])
    gram += FLOOR * evidence.moments.gram[block]
    right += FLOOR * evidence.moments.cross[:, channel]
    own = own_constants(evidence, channel)
    spread = caution * spread_of(evidence, part)
    gram[np.diag_indices_from(gram)] += spread
    return _settled(gram, right + spread * own, own)


def refit_metric(
    evidence: LayerEvidence, channel: int, patches: np.ndarray, support: np.ndarray
) -> Metric:
    """The metric of constants on `support` alone, on other `patches` (n, width) of the same rows.

    All patches beside the gated ones are here those of the uniform sample.
    """
    part = evidence.layer.part(channel)
    columns = part.start + support
    gram, right = _gated(evidence, channel, patches[np.ix_(evidence.fit, columns)])
    rows = evidence.uniform
    plain = _with_ones(patches[np.ix_(rows, columns)])
    gram += FLOOR / len(rows) * (plain.T @ plain)
    right += FLOOR / len(rows) * (plain.T @ evidence.pre[rows, channel])
    own = own_constants(evidence, channel)[np.append(support, -1)]
    return _settled(gram, right, own)


def own_constants(evidence: LayerEvidence, channel: int) -> np.ndarray:
    """(fan+1,) float64: the unit's weights and bias."""
    layer = evidence.layer
    return np.append(layer.weight[channel], layer.bias[channel]).astype(np.float64)


def spread_of(evidence: LayerEvidence, part: slice) -> np.ndarray:
    """(F+1,) variances of independent uniform inputs in the envelope, zero for the bias."""
    ranges = evidence.ranges
    width = ranges.upper[part].astype(np.float64) - ranges.lower[part]
    return np.append(width**2 / 12, 0.0)


def _gated(
    evidence: LayerEvidence, channel: int, patches: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gram matrix and right side of the rows of fit, weighted by what the head lets through."""
    rows = evidence.fit
    gates = evidence.gates(channel)[rows] / len(rows)
    open_ = np.flatnonzero(gates)  # a ReLU is shut on about half of its rows
    wide = _with_ones(patches[open_])
    weighted = wide * gates[open_, None]
    return weighted.T @ wide, weighted.T @ evidence.pre[rows[open_], channel]


def _with_ones(patches: np.ndarray) -> np.ndarray:
    result = np.ones((len(patches), patches.shape[1] + 1))
    result[:, :-1] = patches
    return result


def _settled(gram: np.ndarray, right: np.ndarray, own: np.ndarray) -> Metric:
    """With a ridge towards the unit's own constants, and solved."""
    ridge = RIDGE * max(float(np.trace(gram)) / len(gram), np.finfo(float).tiny)
    gram[np.diag_indices_from(gram)] += ridge
    return Metric(gram, np.linalg.solve(gram, right + ridge * own))
