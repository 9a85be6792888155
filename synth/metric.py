"""The quadratic in which a unit's constants are fitted.

loss(θ) = (θ − target)ᵀ G (θ − target), θ = (weights, bias), is the expected squared error of the
pre-activation under the weights that made the Gram matrix G. On the original sources the target is
the unit itself; on replaced sources it is the regression of the unit on them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synth.evidence import FLOOR, LayerEvidence

RIDGE = 1e-7  # of the mean diagonal: keeps directions that no probe visits from blowing up


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
        inverse = np.linalg.inv(self.gram[np.ix_(order, order)])
        return order, np.linalg.cholesky((inverse + inverse.T) / 2).T

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
    rows = evidence.fit
    gates = evidence.gates(channel)[rows]
    ones = np.ones((len(rows), 1))
    patches = np.hstack([evidence.patches[rows].astype(np.float64), ones])
    weighted = patches * (gates / len(rows))[:, None]
    gram = weighted.T @ patches + FLOOR * evidence.moments.gram
    right = weighted.T @ evidence.pre[rows, channel] + FLOOR * evidence.moments.cross[:, channel]
    own = np.append(evidence.layer.weight[channel], evidence.layer.bias[channel]).astype(np.float64)
    width = np.append(evidence.upper.astype(np.float64) - evidence.lower, 0.0)
    spread = caution * width**2 / 12
    gram[np.diag_indices_from(gram)] += spread
    right += spread * own
    ridge = RIDGE * max(float(np.trace(gram)) / len(gram), np.finfo(float).tiny)
    gram[np.diag_indices_from(gram)] += ridge
    return Metric(gram, np.linalg.solve(gram, right + ridge * own))
