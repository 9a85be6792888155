"""The discrete engine: gates over inputs of two values, as thresholds, bits and counts of sums.

It reads the truth table that the probes show (rows that they do not may be anything) and finds the
smallest whole-number weights; proofs over all inputs come afterwards (`synth.discrete`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from grammars.grammar import Grammar
from grammars.program import Node, linear
from synth.engine import UnitEvidence
from synth.gates.search import gates_of
from synth.gates.table import Table, bit_of
from synth.layers import Layer

INPUTS = 16  # of two values, at most
APART = 4.0  # times the width of the two clusters, that lies between them at least
GRID = 2.0**-6  # of the distance between them: constants are rounded to about so much


class DiscreteEngine:
    """Gates of bits, scaled to a unit's two levels."""

    name = "discrete"

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Programs of two levels, the shortest first; none for units or inputs of more."""
        return islice(_proposed(evidence), budget)

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """None: whole numbers are not fitted again."""
        return None

    @staticmethod
    def unable(grammar: Grammar, layers: Sequence[Layer]) -> str | None:
        """Gates are written by steps."""
        return None if "step" in grammar and "max" in grammar else "gates need the tag 'core'"


ENGINE = DiscreteEngine


def _proposed(evidence: UnitEvidence) -> Iterator[Node]:
    layer, channel = evidence.layer, evidence.channel
    target = layer.target[layer.fit, channel]
    levels = _levels(target)
    if levels is None:
        return
    patches = layer.patches[layer.fit][:, layer.layer.part(channel)]
    table = _table(patches, (target > sum(levels) / 2).astype(np.int64), evidence)
    if table is None:
        return
    for gate in gates_of(table, evidence.grammar):
        yield from _scaled(gate, *levels)


def _levels(target: np.ndarray) -> tuple[float, float] | None:
    """The means of two clusters of values that lie far apart; None where there are others."""
    middle = (target.min() + target.max()) / 2
    low, high = target[target <= middle], target[target > middle]
    if not len(high) or not len(low):
        return None
    widths = float(np.ptp(low)) + float(np.ptp(high))
    gap = float(high.min() - low.max())
    return (float(low.mean()), float(high.mean())) if APART * gap > widths else None


def _table(patches: np.ndarray, values: np.ndarray, evidence: UnitEvidence) -> Table | None:
    """The truth table over the inputs of two values; None where others decide too."""
    low, high = patches.min(0), patches.max(0)
    two = ((patches == low) | (patches == high)).all(0) & (low < high)
    columns = np.flatnonzero(two)
    if not 0 < len(columns) <= INPUTS:
        return None
    bits = (patches[:, columns] == high[columns]).astype(np.int64)
    rows, first, place = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    found = values[first]
    if (found[place.reshape(-1)] != values).any():
        return None
    taps = [evidence.scope.taps[c] for c in columns]
    ends = zip(low[columns].tolist(), high[columns].tolist(), strict=True)
    return Table(rows, found, tuple(bit_of(t, *e) for t, e in zip(taps, ends, strict=True)))


def _scaled(gate: Node, low: float, high: float) -> Iterator[Node]:
    """The gate as it is, and between the levels of the unit where these are not zero and one."""
    yield gate
    step = 2.0 ** np.floor(np.log2(GRID * (high - low)))
    base, rise = round(low / step) * step, round((high - low) / step) * step
    if (base, rise) != (0.0, 1.0):
        yield linear([(rise, gate)], base)
