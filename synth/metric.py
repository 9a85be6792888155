"""The quadratic in which a unit's constants are fitted.

loss(θ) = (θ − target)ᵀ G (θ − target), θ = (weights, bias), is the expected squared error of the
pre-activation under the weights that made the Gram matrix G. On the original sources the target is
the unit itself; on replaced sources it is the regression of the unit on them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synth.evidence import FIT, LayerEvidence
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


def unit_metrics(
    evidence: LayerEvidence, channel: int, cautions: Iterable[float]
) -> Iterator[Metric]:
    """The metric of one unit at each caution: patches that its head lets through, and a little of
    all patches, which are summed up once.

    The gated part comes from the sample, the other from the streamed moments. A caution adds that
    multiple of the error on independent uniform inputs in the envelope, Σ error² · width² / 12:
    without it, compensation spends freely in directions that probes never visit and proofs do. A
    small ridge pulls directions that neither visits towards the unit's own constants.
    """
    layer, rows = evidence.layer, evidence.fit
    part, block = layer.part(channel), channel * layer.groups // layer.units
    gram, right = _gated(evidence, channel, evidence.patches[rows][:, part])
    gram += FLOOR * evidence.moments.gram[block]
    right += FLOOR * evidence.moments.cross[:, channel]
    own, spread = own_constants(evidence, channel), spread_of(evidence, part)
    for caution in cautions:
        wary = gram.copy()
        wary[np.diag_indices_from(wary)] += caution * spread
        yield _settled(wary, right + caution * spread * own, own)


def refit_metric(
    evidence: LayerEvidence, channel: int, patches: np.ndarray, support: np.ndarray
) -> Metric:
    """The metric of constants on `support` alone, on other `patches` (n, width) of the same rows.

    All patches beside the gated ones are here those of the uniform sample.
    """
    return squares(evidence, channel, patches, support, evidence.fit).metric()


@dataclass(frozen=True, eq=False)
class Squares:
    """Sums of squares of one unit's errors on weighted rows, as a quadratic of F+1 constants.

    Centred, because inputs may be far from zero: `weight` is that of all rows, `mean` (F,) of the
    inputs and `middle` of the pre-activation; `gram` (F, F), `cross` (F,) and `square` are the sums
    about them. `own` (F+1,) are the unit's constants and `spread` (F+1,) that of its inputs.
    """

    weight: float
    mean: np.ndarray
    middle: float
    gram: np.ndarray
    cross: np.ndarray
    square: float
    own: np.ndarray
    spread: np.ndarray

    def metric(self, caution: float = 0.0) -> Metric:
        """The metric of these rows, with `caution` as in `unit_metrics`."""
        centre = np.append(self.mean, 1.0)
        gram, cross = self.weight * np.outer(centre, centre), self.weight * self.middle * centre
        gram[:-1, :-1] += self.gram
        cross[:-1] += self.cross
        gram[np.diag_indices_from(gram)] += caution * self.spread
        return _settled(gram, cross + caution * self.spread * self.own, self.own)

    def biases(self, weights: np.ndarray) -> np.ndarray:
        """(K,) the biases that lose least beside weights (K, F)."""
        return self.middle - weights @ self.mean

    def losses(self, constants: np.ndarray) -> np.ndarray:
        """(K,) the weighted sums of squared errors of constants (K, F+1)."""
        weights = constants[:, :-1]
        about = ((weights @ self.gram - 2 * self.cross) * weights).sum(1) + self.square
        return about + self.weight * (constants[:, -1] - self.biases(weights)) ** 2


def squares(
    evidence: LayerEvidence,
    channel: int,
    patches: np.ndarray,
    support: np.ndarray,
    rows: np.ndarray,
) -> Squares:
    """The squares of constants on `support` on some rows of `patches` (n, width)."""
    part, keep = evidence.layer.part(channel), np.append(support, -1)
    own, spread = own_constants(evidence, channel)[keep], spread_of(evidence, part)[keep]

    def inputs(some: np.ndarray) -> np.ndarray:
        return patches[np.ix_(some, part.start + support)].astype(np.float64)

    return _squares(evidence, channel, inputs, rows, own, spread)


def mixed_squares(
    evidence: LayerEvidence,
    channel: int,
    patches: np.ndarray,
    columns: np.ndarray,
    constants: np.ndarray,
    rows: np.ndarray,
) -> Squares:
    """The squares of `constants` (m+1,) before mixes of the unit's inputs, whose weights are the
    `columns` (F, m), on some rows of `patches` (n, width); without spread."""
    part = evidence.layer.part(channel)

    def inputs(some: np.ndarray) -> np.ndarray:
        return patches[some, part].astype(np.float64) @ columns

    return _squares(evidence, channel, inputs, rows, constants, np.zeros_like(constants))


def _squares(
    evidence: LayerEvidence,
    channel: int,
    inputs_of: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    own: np.ndarray,
    spread: np.ndarray,
) -> Squares:
    weight = row_weights(evidence, channel, rows)
    rows, weight = rows[weight > 0], weight[weight > 0]
    inputs, pre = inputs_of(rows), evidence.pre[rows, channel]
    mean, middle = (weight @ v / weight.sum() for v in (inputs, pre))
    inputs -= mean
    pre = pre - middle
    weighted = inputs * weight[:, None]
    return Squares(
        float(weight.sum()),
        mean,
        float(middle),
        weighted.T @ inputs,
        weighted.T @ pre,
        float(weight @ pre**2),
        own,
        spread,
    )


def row_weights(evidence: LayerEvidence, channel: int, rows: np.ndarray) -> np.ndarray:
    """(n,) what each of some rows of fit counts for a unit: where its head is open, and a little
    wherever the row is of the uniform sample."""
    plain = evidence.role[rows] == FIT
    weight = evidence.gates(channel, rows) / len(rows)
    return weight + FLOOR * plain / max(np.count_nonzero(plain), 1)


def gram_blocks(evidence: LayerEvidence, channel: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of the blocks that a unit's inputs fall into, the columns (f,) and the Gram matrix of [x, 1]
    (f+1, f+1)."""
    layer, grams = evidence.layer, evidence.moments.gram
    parts, size = len(grams) // layer.groups, grams.shape[1] - 1
    first = channel * layer.groups // layer.units * parts
    for number, gram in enumerate(grams[first : first + parts]):
        columns = np.arange(number * size, min((number + 1) * size, layer.fan))
        keep = np.append(np.arange(len(columns)), size)  # the last one is filled up
        yield columns, gram if len(columns) == size else gram[np.ix_(keep, keep)]


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
