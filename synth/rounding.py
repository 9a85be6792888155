"""Constants on dyadic grids, each rounding made up for by the rest.

Greedy compensated rounding (Optimal Brain Quantisation, Frantar and Alistarh 2022), then descent by
single steps on the integer lattice.
"""

import numpy as np

from synth.metric import Metric

BIAS_SHIFT = 2  # the bias may be finer than the weights by this many bits


def round_compensated(metric: Metric, step: float, *, bias_step: float | None = None) -> np.ndarray:
    """The (F+1,) constants near the metric's target on the grids of `step` and `bias_step`.

    The bias comes last, so that it makes up for the roundings of all weights.
    """
    steps = np.full(metric.size + 1, step)
    steps[-1] = step if bias_step is None else bias_step
    return descend(metric, _greedy(metric, steps), steps)


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


def _greedy(metric: Metric, steps: np.ndarray) -> np.ndarray:
    theta = metric.target.copy()
    inverse = np.linalg.inv(metric.gram)
    todo = np.ones(len(theta), dtype=bool)
    for left in range(len(theta), 0, -1):
        rounded = np.round(theta / steps) * steps
        cost = (theta - rounded) ** 2 / np.where(todo, np.diagonal(inverse), 1.0)
        open_ = todo.copy()
        open_[-1] = left == 1
        i = int(np.argmin(np.where(open_, cost, np.inf)))
        column = inverse[:, i].copy()
        theta -= np.where(todo, column * ((theta[i] - rounded[i]) / column[i]), 0.0)
        theta[i] = rounded[i]
        inverse -= np.outer(column, column / column[i])
        todo[i] = False
    return theta
