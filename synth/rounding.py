"""Constants on dyadic grids, each rounding made up for by the rest.

Compensated rounding in a fixed order (GPTQ, Frantar et al. 2022), then descent by single steps on
the integer lattice.
"""

import math
from collections.abc import Iterable

import numpy as np

from grammars.codes import common_exponent
from synth.metric import Metric

BIAS_SHIFT = 2  # the bias may be finer than the weights by this many bits
FLOAT32_BITS = 24
TILE = 64  # constants whose errors are spread together


def bias_step(bias: float, step: float) -> float:
    """A grid finer than the weights' `step`, but of no more bits than a float32 holds.

    The replacement runs in float32: a constant that it cannot hold would not be the one proved.
    """
    least = 2.0 ** (math.floor(math.log2(abs(bias))) - FLOAT32_BITS + 2) if bias else 0.0
    return max(step * 2.0**-BIAS_SHIFT, least)


def round_biases(biases: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(K,) biases on grids of `steps` (K,), or of what a float32 holds where that is coarser."""
    steps = np.maximum(steps, np.spacing(np.abs(biases).astype(np.float32)))
    return np.round(biases / steps) * steps


def grid_of(values: Iterable[float]) -> float:
    """The largest power of two of which all values are multiples; 1 if all are zero."""
    return math.ldexp(1.0, common_exponent(list(values))[0])


def round_compensated(metric: Metric, step: float, *, bias_step: float | None = None) -> np.ndarray:
    """The (F+1,) constants near the metric's target on the grids of `step` and `bias_step`.

    The bias comes last, so that it makes up for the roundings of all weights.
    """
    steps = np.full(metric.size + 1, step)
    steps[-1] = step if bias_step is None else bias_step
    return round_each(metric, steps)


def round_each(metric: Metric, steps: np.ndarray) -> np.ndarray:
    """The (F+1,) constants near the metric's target, each on the grid of its own of `steps` (F+1,).

    Never worse than rounding each constant alone, from which a second descent starts.
    """
    starts = _compensated(metric, steps), np.round(metric.target / steps) * steps
    return min((descend(metric, s, steps) for s in starts), key=metric.loss)


def round_on_grids(metric: Metric, steps: np.ndarray, bias_steps: np.ndarray) -> np.ndarray:
    """(K, F+1) constants: the compensated rounding on each of K grids, all in one pass."""
    targets = np.repeat(metric.target[:, None], len(steps), axis=1)
    return round_columns(metric.elimination, targets, steps, bias_steps).T


def round_columns(
    elimination: tuple[np.ndarray, np.ndarray],
    targets: np.ndarray,
    steps: np.ndarray,
    bias_steps: np.ndarray,
) -> np.ndarray:
    """(F+1, K) constants: each column of `targets` rounded on a grid of its own, in one metric.

    `elimination` is that of the metric; `steps` (K,) and `bias_steps` (K,) are the grids.
    """
    order, factor = elimination
    grids = np.repeat(steps[None], len(order), axis=0)
    grids[-1] = bias_steps
    scales = 1 / grids  # of powers of two, so that products are as exact as quotients
    theta = targets[order]
    for start in range(0, len(theta), TILE):
        stop = min(start + TILE, len(theta))
        errors = np.empty((stop - start, len(steps)))
        for i in range(start, stop):
            rounded = np.rint(theta[i] * scales[i]) * grids[i]
            errors[i - start] = (theta[i] - rounded) / factor[i, i]
            theta[i] = rounded
            theta[i + 1 : stop] -= factor[i, i + 1 : stop, None] * errors[i - start]
        theta[stop:] -= factor[start:stop, stop:].T @ errors
    return theta[np.argsort(order)]


def descend(metric: Metric, theta: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Single steps on the grid while they lower the loss."""
    theta = theta.copy()
    slope = metric.gram @ (theta - metric.target)
    curvature = np.diagonal(metric.gram)
    for _ in range(4 * len(theta)):
        moves = np.round(-slope / (curvature * steps)) * steps
        gains = -moves * (2 * slope + curvature * moves)
        i = int(np.argmax(gains))
        if gains[i] <= 1e-12 * abs(curvature[i]) * steps[i] ** 2:
            break
        theta[i] += moves[i]
        slope += metric.gram[:, i] * moves[i]
    return theta


def _compensated(metric: Metric, steps: np.ndarray) -> np.ndarray:
    """Round one constant after the other, each error spread over those still to be rounded.

    The order is fixed, the largest curvature first and the bias last, so that one factor of the
    inverse serves all grids.
    """
    order, factor = metric.elimination
    theta, steps = metric.target[order], steps[order]
    for i in range(len(theta)):
        rounded = np.round(theta[i] / steps[i]) * steps[i]
        theta[i:] -= factor[i, i:] * ((theta[i] - rounded) / factor[i, i])
        theta[i] = rounded
    return theta[np.argsort(order)]
