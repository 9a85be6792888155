"""Questions about a program's coefficients, their conditions at a point, and what is answered.

A question is of a grid, some taps and so many terms; at a point it is a condition on integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, frexp
from typing import Literal

import numpy as np

from oracles.claims import Affine, HeadForm, Proved, Unknown, dyadics, power_of_two
from oracles.masters import Limits, Row, Solver
from oracles.monotone import Ends, preimage
from oracles.reach import Sighting

FINER = 2  # bits that a bias is finer by: one number makes up for the rounding of all others
COARSE, FINE = 2, 12  # grids reach from above the largest weight to so many bits below it


@dataclass(frozen=True, order=True)
class Grid:
    """Coefficients are multiples of 2^-power, the bias of 2^-(power + FINER).

    Every grid holds those of less power, so what is impossible on it is so on coarser ones.
    """

    power: int

    @property
    def step(self) -> float:
        return 2.0**-self.power

    @property
    def coarser(self) -> "Grid":
        return Grid(self.power - 1)

    def __str__(self) -> str:
        return str(Fraction(self.step))

    def steps(self, taps: int) -> np.ndarray:
        """The steps (taps + 1,) of a program's numbers, the bias's last."""
        return np.append(np.full(taps, self.step), self.step * 2.0**-FINER)


def grids_of(weights: np.ndarray) -> list[Grid]:
    """The grids that make sense beside some weights, from coarse to fine."""
    largest = float(np.abs(weights).max(initial=0.0))
    top = frexp(largest)[1] - 1 if largest else 0
    return [Grid(power) for power in range(-top - COARSE, FINE - top + 1)]


@dataclass(frozen=True)
class Level:
    """What a program has to do at a point: to lie within `near` of the unit under `head`."""

    head: HeadForm
    near: Fraction


@dataclass(frozen=True)
class Question:
    """Programs that read at most `terms` of `taps`, sorted indices of columns."""

    taps: tuple[int, ...]
    terms: int

    def row(self, grid: Grid, seen: Sighting, level: Level) -> Row:
        """The condition at one point, for the integers of a program."""
        values = np.append(seen.point[list(self.taps)], 1.0) * grid.steps(len(self.taps))
        exact = dyadics(values)
        ends = preimage(level.head, seen.value, level.near)
        return Row(tuple(exact.integers), *integers_in(ends, 1 / power_of_two(exact.exponent)))

    def program(self, grid: Grid, integers: Sequence[int], unit: Affine) -> Affine:
        """The program of such integers, the bias's last, under the head of its unit."""
        numbers = np.array(integers, dtype=np.float64) * grid.steps(len(self.taps))
        weights = np.zeros_like(unit.weights)
        weights[list(self.taps)] = numbers[:-1]
        return Affine(weights, float(numbers[-1]), unit.head)


def integers_in(ends: Ends, scale: Fraction) -> Limits:
    """The least and the largest integer between two numbers times a scale."""
    low, high = ends
    return None if low is None else ceil(low * scale), None if high is None else floor(high * scale)


@dataclass(frozen=True)
class Effort:
    """What a question about one grid may take, counted alike on every machine.

    `points` that programs are tried at beside the first; `steps` of Z3's resource counter, and
    `nodes` of HiGHS' branch and bound.
    """

    points: int = 40
    steps: int = 4_000_000
    nodes: int = 20


@dataclass(frozen=True, eq=False)
class Found:
    """A program of numbers on `grid` that `proof` says to lie within ε.

    `solver` found it from conditions at so many `points`; None: it is the nearest on the grid.
    """

    program: Affine
    grid: Grid
    proof: Proved
    points: int = 0
    solver: Solver | None = None


@dataclass(frozen=True, eq=False)
class Impossible:
    """No program that reads at most `terms` of `taps` taps lies within ε on `grid`.

    None is every grid. It is so at `points` (N, n) alone already, on the word of `solver`. Without
    a solver, in exact arithmetic: what such programs round and leave out moves the unit too far.
    """

    terms: int
    taps: int
    grid: Grid | None
    points: np.ndarray
    solver: Solver | None

    @property
    def trust(self) -> Literal["checked", "solver"]:
        return "checked" if self.solver is None else "solver"


Answer = Found | Impossible | Unknown


@dataclass(frozen=True, eq=False)
class Coarsest:
    """The coarsest program of at most `terms` taps that was found, and what is known beyond it.

    `coarser` speaks of the next coarser grid, and so of all of them; without a program, of the
    finest. None where the program is on the coarsest grid that makes sense.
    """

    terms: int
    found: Found | None
    coarser: Impossible | Unknown | None
