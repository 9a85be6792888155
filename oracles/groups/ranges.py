"""Ranges of pre-activations where the phases of some ReLUs are known.

Where a sum z of the inputs is at least 0, another sum c is at most the largest of c + m·z over the
box, whatever m >= 0 is; the best m is where the slope of a convex piecewise linear function changes
its sign. Then c + m·z stands for c wherever more phases are known, so one more costs one such step.
All is in floats, and what these round is bounded and added (Higham 2002, section 3.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from oracles.groups.hulls import Bends, ends_of
from oracles.groups.sums import Sum

UNIT = 2.0**-51  # four times what one sum or product rounds
TINY = 2.0**-1000  # above all underflows of a step together


@dataclass(frozen=True, eq=False)
class Ranges:
    """`ends` (2t,) that t sums of the inputs do not exceed, and then t that their negatives do not.

    Where the phases hold, row i of `sums` (2t, inputs + 1) is nowhere less than what it stands for
    by more than errors[i].
    """

    sums: np.ndarray
    errors: np.ndarray
    ends: np.ndarray


class Narrowing:
    """The ranges of those bends whose pre-activation is a sum of the inputs alone."""

    def __init__(
        self,
        bends: Bends,
        inputs: int,
        lower: Sequence[Fraction],
        upper: Sequence[Fraction],
    ) -> None:
        self.ends = ends_of(bends)
        self.lower, self.upper = (np.array([*map(float, e[:inputs])]) for e in (lower, upper))
        self.sizes = np.append(np.maximum(np.abs(self.lower), np.abs(self.upper)), 1.0)
        near = [i for i, bend in enumerate(bends) if max(bend.pre.terms, default=0) < inputs]
        self.places = {number: place for place, number in enumerate(near)}
        sums = np.array([_dense(bends[i].pre, inputs) for i in near]).reshape(-1, inputs + 1)
        sums = np.concatenate([sums, -sums])
        ends = np.concatenate([self.ends[1][near], -self.ends[0][near]])
        self.whole = Ranges(sums, UNIT * (np.abs(sums) @ self.sizes) + TINY, ends)

    def held(self, ranges: Ranges, number: int, on: bool) -> Ranges:
        """The ranges where a bend's pre-activation is at or above zero, or at or below."""
        if number not in self.places:
            return ranges
        place, half = self.places[number], len(self.places)
        row, error = (part[place + (0 if on else half)] for part in self._rows)
        with np.errstate(all="ignore"):
            steps = self._steps(ranges.sums, row)
            moved = steps[:, None] * row
            sums = ranges.sums + moved
            load = np.abs(sums) @ self.sizes
            errors = ranges.errors + UNIT * (load + np.abs(moved) @ self.sizes) + steps * error
            errors += TINY
            ends = self._largest(sums) + errors + (load + errors) * UNIT * (self.sizes.size + 8)
        less = ends < ranges.ends
        found = Ranges(
            np.where(less[:, None], sums, ranges.sums),
            np.where(less, errors, ranges.errors),
            np.where(less, ends, ranges.ends),
        )
        far = place + (half if on else 0)
        found.ends[far] = min(found.ends[far], 0.0)
        return found

    def low_and_high(self, ranges: Ranges) -> tuple[np.ndarray, np.ndarray]:
        """The ends (bends,) of all pre-activations."""
        low, high = (end.copy() for end in self.ends)
        near, half = [*self.places], len(self.places)
        high[near] = np.minimum(high[near], ranges.ends[:half])
        low[near] = np.maximum(low[near], -ranges.ends[half:])
        return low, high

    @property
    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        return self.whole.sums, self.whole.errors

    def _largest(self, sums: np.ndarray) -> np.ndarray:
        """The largest of each over the box."""
        factors = sums[:, :-1]
        return np.maximum(factors * self.lower, factors * self.upper).sum(axis=1) + sums[:, -1]

    def _steps(self, sums: np.ndarray, row: np.ndarray) -> np.ndarray:
        """The m >= 0 (sums,) for which the largest of sum + m·row is least, or nearly.

        Its slope is the row's value at the sum's best corner, and jumps where a factor of
        sum + m·row changes its sign; without an end (no point has row >= 0) the last jump is taken.
        """
        factors, own = sums[:, :-1], row[:-1]
        signs = np.where(factors != 0, np.sign(factors), np.sign(own))
        corners = np.where(signs > 0, self.upper, self.lower)
        turns = np.where(factors * own < 0, -factors / own, np.inf)
        order = np.argsort(turns, axis=1)
        turns = np.take_along_axis(turns, order, axis=1)
        jumps = np.where(np.isfinite(turns), (np.abs(own) * (self.upper - self.lower))[order], 0.0)
        slopes = (corners @ own + row[-1])[:, None] + np.cumsum(jumps, axis=1)
        behind = np.isfinite(turns) & (slopes - jumps < 0)  # the slope before it is still falling
        return np.where(behind, turns, 0.0).max(axis=1, initial=0.0)


def _dense(row: Sum, inputs: int) -> list[float]:
    """The factors of a sum of the inputs, and its constant, in floats."""
    return [*(float(row.terms.get(i, 0)) for i in range(inputs)), float(row.constant)]
