"""Which weights a program keeps: nested supports in the Gram metric.

Backward elimination with compensation (Optimal Brain Surgeon, Hassibi and Stork 1993; Optimal
Brain Compression, Frantar and Alistarh 2022), forward orthogonal matching pursuit for the small
sizes, and single swaps. The bias is always kept.
"""

from collections.abc import Iterable

import numpy as np

from synth.factors import inverse_factor
from synth.metric import Metric

SMALL = 16  # sizes up to which pursuit and swaps are worth their time
SWAPS = 8  # swaps of one support at most


def supports(metric: Metric, sizes: Iterable[int]) -> dict[int, np.ndarray]:
    """The best support found for each size ≤ F: sorted indices of weights."""
    wanted = sorted({min(s, metric.size) for s in sizes})
    path = eliminate(metric, wanted)
    forward = pursue(metric, min(SMALL, metric.size))
    for size in wanted:
        if 0 < size <= len(forward):
            other = np.sort(forward[:size])
            path[size] = swap(metric, min(path[size], other, key=lambda s: remaining(metric, s)))
    return path


def eliminate(metric: Metric, sizes: Iterable[int]) -> dict[int, np.ndarray]:
    """Supports by removing, one at a time, the weight whose compensated removal costs least."""
    wanted = set(sizes)
    inverse = np.linalg.inv(metric.gram)
    theta = metric.target.copy()
    alive = np.ones(metric.size, dtype=bool)
    path: dict[int, np.ndarray] = {}
    for size in range(metric.size, -1, -1):
        if size in wanted:
            path[size] = np.flatnonzero(alive)
        if size == min(wanted, default=0):
            break
        diagonal = np.diagonal(inverse)[:-1]
        cost = np.where(alive, theta[:-1] ** 2 / np.where(alive, diagonal, 1.0), np.inf)
        _remove(int(np.argmin(cost)), theta, inverse, alive)
    return path


def thin(metric: Metric, sizes: Iterable[int]) -> dict[int, np.ndarray]:
    """Supports by removing all weights between two sizes at once: those that, each alone, would
    cost least once the rest makes up for it.

    A solution for each size instead of one for each weight: sizes should lie near each other.
    """
    right, keep = metric.gram @ metric.target, np.arange(metric.size)
    path: dict[int, np.ndarray] = {}
    for size in sorted(set(sizes), reverse=True):
        if size < len(keep):
            inside = np.append(keep, metric.size)
            factor = inverse_factor(metric.gram[np.ix_(inside, inside)])
            best = factor.T @ (factor @ right[inside])
            cost = (best**2 / (factor**2).sum(0))[:-1]
            keep = keep[np.sort(np.argsort(-cost, kind="stable")[:size])]
        path[size] = keep
    return path


def pursue(metric: Metric, count: int) -> np.ndarray:
    """Up to `count` weights in the order in which orthogonal matching pursuit takes them."""
    chosen: list[int] = []
    scale = np.sqrt(np.diagonal(metric.gram)[:-1])
    for _ in range(count):
        theta = _embedded(metric, np.array(chosen, dtype=int))
        gain = np.abs(metric.gram[:-1] @ (metric.target - theta)) / scale
        gain[chosen] = -1.0
        chosen.append(int(np.argmax(gain)))
    return np.array(chosen, dtype=int)


def swap(metric: Metric, support: np.ndarray) -> np.ndarray:
    """`support` after exchanging single weights while that lowers the loss."""
    best = remaining(metric, support)
    for _ in range(SWAPS):
        pairs = _exchanges(metric, support)
        rivals = [np.sort(np.append(np.delete(support, i), j)) for i, j in pairs]
        losses = [remaining(metric, r) for r in rivals]
        if not losses or min(losses) >= best * (1 - 1e-9):
            break
        support, best = rivals[int(np.argmin(losses))], min(losses)
    return support


def remaining(metric: Metric, support: np.ndarray) -> float:
    """The loss of the best constants on `support`."""
    return metric.loss(_embedded(metric, support))


def _exchanges(metric: Metric, support: np.ndarray) -> list[tuple[int, int]]:
    """For each member, the outsider with the most to gain once the member has left."""
    outside = np.setdiff1d(np.arange(metric.size), support)
    if not len(outside):
        return []
    scale = np.sqrt(np.diagonal(metric.gram)[:-1])
    pairs = []
    for i in range(len(support)):
        theta = _embedded(metric, np.delete(support, i))
        gain = np.abs(metric.gram[:-1] @ (metric.target - theta)) / scale
        pairs.append((i, int(outside[np.argmax(gain[outside])])))
    return pairs


def _embedded(metric: Metric, support: np.ndarray) -> np.ndarray:
    theta = np.zeros(metric.size + 1)
    theta[np.append(support, metric.size)] = metric.restricted(support).target
    return theta


def _remove(i: int, theta: np.ndarray, inverse: np.ndarray, alive: np.ndarray) -> None:
    """Set weight i to zero and let the rest make up for it (in place)."""
    column = inverse[:, i].copy()
    theta -= column * (theta[i] / column[i])
    theta[i] = 0.0
    inverse -= np.outer(column, column / column[i])
    alive[i] = False
