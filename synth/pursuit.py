"""The inputs that tell most about a wide unit: where its short programs are.

Forward selection by the gain of each input once all those before it are fitted (orthogonal least
squares, Chen, Billings and Luo 1989), as a Cholesky factorisation that takes the pivot of most
gain: in the metric of the layer, at the cost of a unit's weights times the square of those taken.
"""

import math

import numpy as np

from synth.evidence import LayerEvidence
from synth.metric import RIDGE, gram_blocks, own_constants

LEAST = 1e-12  # of a column's square: less is the rounding of what is taken away from it


def most_telling(evidence: LayerEvidence, channel: int, count: int) -> np.ndarray:
    """Up to `count` of the inputs of unit `channel`, sorted: those of most gain.

    Where the Gram matrix has several blocks, gains are those within each.
    """
    own, cross = own_constants(evidence, channel), evidence.moments.cross[:, channel]
    found, gains = [], []
    for columns, block in gram_blocks(evidence, channel):
        keep = np.append(columns, -1)
        ridge = RIDGE * max(np.trace(block) / len(block), np.finfo(float).tiny)
        gram = block.copy()
        gram[np.diag_indices_from(gram)] += ridge
        taken, gain = _pivots(gram, cross[keep] + ridge * own[keep], min(count, len(columns)))
        found.append(columns[taken])
        gains.append(gain)
    best = np.argsort(-np.concatenate(gains), kind="stable")[:count]
    return np.sort(np.concatenate(found)[best])


def _pivots(gram: np.ndarray, right: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` columns of a Gram matrix (f+1, f+1), bias last, and the gain of each when it came.

    The bias is there from the start. Fewer where what is left of the others is rounding.
    """
    rows = np.empty((count + 1, len(gram)))
    left, cross = np.diagonal(gram).copy(), right.copy()  # of what is not explained so far
    least = LEAST * left
    taken, gains = [len(gram) - 1], []
    for k in range(count + 1):
        if k:
            able = left > least
            gain = np.divide(cross**2, left, out=np.zeros_like(left), where=able)
            gain[taken] = 0.0
            taken.append(int(np.argmax(gain)))
            gains.append(gain[taken[k]])
            if not gains[-1]:
                return np.array(taken[1:-1], dtype=int), np.array(gains[:-1])
        pivot = taken[k]
        scale = math.sqrt(left[pivot])
        rows[k] = (gram[pivot] - rows[:k, pivot] @ rows[:k]) / scale
        cross -= rows[k] * (cross[pivot] / scale)
        left -= rows[k] ** 2
    return np.array(taken[1:], dtype=int), np.array(gains)
