"""Networks in fewer bits, and by how much their outputs may have moved: solvers are slow with long
numbers."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from oracles.claims import AffineBank, Box
from oracles.groups.question import Group, TwoLayer


def shortened(group: Group, bits: int) -> tuple[Group, Fraction]:
    """A group whose numbers have at most so many bits below the largest of their kind, and a bound
    of how far its difference is from that of `group`, over the box."""
    first, moved = _shortened(group.first, bits, group.box)
    second, also = _shortened(group.second, bits, group.box)
    return Group(first, second, group.box), moved + also


def _shortened(side: TwoLayer, bits: int, box: Box) -> tuple[TwoLayer, Fraction]:
    """A network and |its output − that of `side`| at most: the readout's own error at the hidden
    units' largest values, and theirs, times what is read of them."""
    hidden = side.hidden
    numbers = (hidden.weights, hidden.biases, side.readout)
    weights, biases, readout = (_rounded(values, bits) for values in numbers)
    near = replace(side, hidden=AffineBank(weights, biases, hidden.heads), readout=readout)
    ends = [Fraction(x) for x in np.maximum(np.abs(box.lower), np.abs(box.upper)).tolist()]
    ends.append(Fraction(1))  # of the bias
    own, others = np.c_[hidden.weights, hidden.biases], np.c_[weights, biases]
    error = Fraction(0)
    rows = zip(own, others, side.readout.tolist(), readout.tolist(), hidden.heads, strict=True)
    for row, other, v, w, head in rows:
        apart = abs(Fraction(w)) * _reach(row, other, ends)
        apart += abs(Fraction(v) - Fraction(w)) * _reach(row, np.zeros_like(row), ends)
        error += Fraction(head.lipschitz) * apart
    return near, Fraction(side.head.lipschitz) * error


def _reach(row: np.ndarray, other: np.ndarray, ends: Sequence[Fraction]) -> Fraction:
    """The largest |row − other| · ends."""
    pairs = zip(row.tolist(), other.tolist(), ends, strict=True)
    return sum((abs(Fraction(a) - Fraction(b)) * end for a, b, end in pairs), Fraction(0))


def _rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """The nearest multiples of a power of two, so many bits below the largest."""
    step = 2.0 ** (int(np.frexp(np.abs(values).max(initial=0.0))[1]) - bits)
    return np.rint(values / step) * step
