"""Single steps of constants on their grids, while they lower what nats and bits cost together."""

from collections.abc import Callable

import numpy as np

from grammars.stream import rice_cost
from synth.joint.constants import Constants
from synth.joint.quadratic import Quadratic

FAR = 2  # steps of its grid that a constant moves at once, at most
PASSES = 4  # moves for each constant, at most
LEAST = 1e-6  # bits that a move must save


def descended(
    constants: Constants,
    quadratic: Quadratic,
    pay: float,
    holds: Callable[[np.ndarray], bool],
) -> np.ndarray:
    """The constants (A+1,) after steps that lower bits + `pay` · nats, the best first.

    A step after which the program does not hold what it must is not taken. Bits are those of Rice's
    code with the parameter that the sum has now: an estimate, which the caller checks. A weight may
    become zero, but not the last one; one that is zero stays so.
    """
    steps, places = constants.steps, np.arange(len(constants.steps))
    integers = np.rint(constants.values / steps).astype(np.int64)
    slope, curvature = quadratic.slope.copy(), np.diagonal(quadratic.gram)
    if not curvature.all():
        return constants.values  # no answer depends on the unit
    code, barred = _Code(integers[:-1]), np.zeros((2, len(integers)), dtype=bool)
    for _ in range(PASSES * len(integers)):
        newton = np.rint(-slope / (curvature * steps)).clip(-FAR, FAR).astype(np.int64)
        toward = -np.sign(integers) * (places < len(places) - 1)
        moves = np.stack([newton, toward]) * _movable(integers)
        nats = moves * steps * (slope + 0.5 * curvature * moves * steps)
        price = pay * nats + code.bits(integers + moves) - code.bits(integers)
        price[:, _last(integers, moves)] = np.inf
        price[barred[np.int64(moves > 0), places]] = np.inf
        row, place = np.unravel_index(np.argmin(price), price.shape)
        if not price[row, place] < -LEAST:
            break
        move = int(moves[row, place])
        integers[place] += move
        if not holds(integers * steps):
            integers[place] -= move
            barred[int(move > 0), place] = True
            continue
        slope += quadratic.gram[:, place] * (move * steps[place])
    return integers * steps


class _Code:
    """About the bits of a sum's constants: each weight by one code, the bias for nothing."""

    def __init__(self, weights: np.ndarray) -> None:
        self._parameter, _ = rice_cost(np.abs(weights) - 1)

    def bits(self, integers: np.ndarray) -> np.ndarray:
        """(…, A+1) of integers (…, A+1), zero for what is left out."""
        sizes = 3 + self._parameter + ((np.abs(integers) - 1) >> self._parameter)
        found = np.where(integers == 0, 0, sizes)
        found[..., -1] = 0
        return found


def _movable(integers: np.ndarray) -> np.ndarray:
    """(A+1,) the weights that are not left out, and the bias."""
    found = integers != 0
    found[-1] = True
    return found


def _last(integers: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """(A+1,) the weight that stands alone, if a move would make it zero."""
    alone = np.count_nonzero(integers[:-1]) == 1
    found = ((integers + moves) == 0).any(0) & alone
    found[-1] = False
    return found
