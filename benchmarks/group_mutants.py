"""Planted mutants of two small networks over two inputs, whose true differences are known.

Both bend on straight lines of the plane alone, so the truth is at a crossing of two of them, or of
one and a side of the box.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from benchmarks.truths import Point, plane_difference
from oracles.claims import AffineBank, Box, head_form
from oracles.groups.question import Group, TwoLayer

KINDS = ("weight moved", "bias flipped", "unit swapped", "rounded too far", "epsilon too small")
HEADS = (head_form("relu"), head_form("relu"), head_form("abs"))


@dataclass(frozen=True, eq=False)
class PlantedGroup:
    """Two networks, what was done to the second, and by how much they differ."""

    group: Group
    kind: str
    truth: Fraction


def planted_group(seed: int, *, hidden: int | None = None) -> PlantedGroup:
    """A network of two or three hidden units, and a mutant of it."""
    rng, kind = np.random.default_rng(seed), KINDS[seed % len(KINDS)]
    units = hidden or int(rng.integers(2, 4))
    first = random_network(rng, 2, units)
    group = Group(first, _mutant(rng, first, kind), Box(-np.ones(2), np.ones(2)))
    return PlantedGroup(group, kind, _truth(group))


def random_network(rng: np.random.Generator, inputs: int, hidden: int) -> TwoLayer:
    """A hidden layer of float32 weights, most of whose units bend in the box, and a read-out."""

    def drawn(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32).astype(np.float64)

    head = HEADS[rng.integers(len(HEADS))]
    bank = AffineBank(drawn(hidden, inputs) / np.sqrt(inputs), drawn(hidden) / 4, (head,) * hidden)
    return TwoLayer(bank, drawn(hidden), 0.25)


def rounded(side: TwoLayer, step: float) -> TwoLayer:
    """A network whose numbers are multiples of a step."""
    hidden = side.hidden
    weights, biases, readout = (
        np.rint(numbers / step) * step for numbers in (hidden.weights, hidden.biases, side.readout)
    )
    return TwoLayer(AffineBank(weights, biases, hidden.heads), readout, side.bias, side.head)


def _mutant(rng: np.random.Generator, first: TwoLayer, kind: str) -> TwoLayer:
    hidden, step = first.hidden, 2.0 ** -int(rng.integers(3, 7))
    weights, biases, readout = (
        numbers.copy() for numbers in (hidden.weights, hidden.biases, first.readout)
    )
    at = int(rng.integers(len(hidden))), int(rng.integers(2))
    match kind:
        case "weight moved":
            weights[at] += step
        case "bias flipped":
            biases[at[0]] *= -1.0
        case "unit swapped":
            readout[[0, 1]] = readout[[1, 0]]
        case _:
            near = rounded(first, step)
            weights, biases, readout = (
                near.hidden.weights.copy(),
                near.hidden.biases,
                near.readout,
            )
            if kind == "rounded too far":
                weights[at] += step if weights[at] >= hidden.weights[at] else -step
    return TwoLayer(AffineBank(weights, biases, hidden.heads), readout, first.bias, first.head)


def _truth(group: Group) -> Fraction:
    sides = [(_lines(side), side) for side in (group.first, group.second)]

    def value(point: Point) -> Fraction:
        one, other = (_value(side, lines, point) for lines, side in sides)
        return one - other

    lines = [line for found, _ in sides for line in found]
    corners = (Fraction(-1), Fraction(-1)), (Fraction(1), Fraction(1))
    return plane_difference(value, lines, *corners)


def _lines(side: TwoLayer) -> list[tuple[Fraction, Fraction, Fraction]]:
    """Where the hidden units bend."""
    rows = np.column_stack([side.hidden.weights, side.hidden.biases]).tolist()
    return [(Fraction(a), Fraction(b), Fraction(c)) for a, b, c in rows]


def _value(
    side: TwoLayer, lines: list[tuple[Fraction, Fraction, Fraction]], point: Point
) -> Fraction:
    total = Fraction(side.bias)
    for weight, (a, b, c), head in zip(
        side.readout.tolist(), lines, side.hidden.heads, strict=True
    ):
        pre = a * point[0] + b * point[1] + c
        total += Fraction(weight) * max(Fraction(slope) * pre for slope in head.slopes)
    return total
