"""Counterexamples by search: worst-case points, corners, projected gradient ascent.

A falsifier proves nothing. It looks in a box for a point at which two functions differ much: units
and programs of any form, or two networks. It starts at given points, at the corners that the two
point at, at random corners and points, and ascends by signs of the gradient, each step a share of
the box, halved where it gains nothing (projected gradient ascent; Madry et al. 2018). What it finds
counts only after it was replayed: in fractions, by outward rounded intervals where a program has no
exact value, and in float64 for networks. The same seed gives the same point.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from grammars.compiled import compile_bank
from grammars.evaluation import Unsupported, evaluate
from grammars.interpreters.affine import TapKey
from grammars.interpreters.rational import RationalAlgebra
from grammars.primitive import Primitive
from grammars.program import Node, call, sum_of_taps, tap
from oracles.claims import Affine, AffineBank, Box, Refuted, Unknown, below, gap_at
from oracles.closed_form import bound_units
from oracles.interval import IntervalAlgebra

EVALUATIONS = 4000  # points at which both functions are evaluated, all together
STEPS = 24  # of an ascent
STARTS = 4  # one in so many evaluations is of a start
REPLAYED = 4  # of the points that seem worst


@dataclass(frozen=True, eq=False)
class Sides:
    """Two functions of points (N, n) that are claimed to be near.

    `differences` gives their signed differences (N, m) in float64, with autograd; `replay` a lower
    bound of the largest |difference| at one point (n,), as exactly as there is. At the corners
    along `directions` (R, n), and at `suspects` (S, n), the two may differ most.
    """

    differences: Callable[[Tensor], Tensor]
    replay: Callable[[np.ndarray], Fraction]
    directions: np.ndarray
    suspects: np.ndarray


@dataclass(frozen=True, eq=False)
class Highest:
    """The worst point (n,) that was found, and the difference there as it was replayed."""

    point: np.ndarray
    difference: Fraction


@dataclass(frozen=True)
class Effort:
    """How many `evaluations` of both functions a search may take, and its seed."""

    evaluations: int = EVALUATIONS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise ValueError(f"evaluations is {self.evaluations}; expected at least one point")


def falsify(
    sides: Sides, box: Box, epsilon: Fraction, *, effort: Effort | None = None
) -> Refuted | Unknown:
    """Look for a point of a box (n,) where the two differ by more than epsilon, and replay it."""
    found = highest(sides, box, effort=effort)
    if found.difference > epsilon:
        return Refuted(found.point, below(found.difference))
    return Unknown(f"no point was found that exceeds {below(found.difference):.6g}")


def highest(sides: Sides, box: Box, *, effort: Effort | None = None) -> Highest:
    """The point of a box (n,) with the largest replayed difference that was found.

    Raises ValueError where the difference is no number.
    """
    effort = effort or Effort()
    starts = _starts(sides, box, effort)
    ascent = _Ascent(sides, box)
    ascent.see(starts)
    ascent.climb(effort.evaluations - len(starts))
    replayed = [Highest(point, sides.replay(point)) for point in ascent.worst(REPLAYED)]
    return max(replayed, key=lambda one: one.difference)


def affines(unit: Affine, program: Affine, box: Box, primitives: Mapping[str, Primitive]) -> Sides:
    """A unit and a program over the same n inputs; the closed form's worst point is a suspect."""
    taps = [tap("x", i) for i in range(unit.weights.size)]
    index = {("x", i, 0, 0): i for i in range(len(taps))}
    both = [_written(one, taps, primitives) for one in (unit, program)]
    plain = programs(both[0], both[1], index, primitives)
    banks = [AffineBank(a.weights[None], np.array([a.bias]), (a.head,)) for a in (unit, program)]
    suspects = bound_units(banks[0], banks[1], box)[0].points
    replay = _exact_gap(unit, program)
    return Sides(plain.differences, replay, plain.directions, suspects)


def programs(
    first: Node, second: Node, index: Mapping[TapKey, int], primitives: Mapping[str, Primitive]
) -> Sides:
    """Two programs over the numbered taps of `index`, of whatever form.

    Raises KeyError for a tap without number.
    """
    bank = compile_bank([first, second], index, primitives)
    weight, bias = torch.from_numpy(bank.weight), torch.from_numpy(bank.bias)

    def differences(points: Tensor) -> Tensor:
        values = bank.heads(points @ weight.T + bias)
        return values[:, :1] - values[:, 1:]

    def replay(point: np.ndarray) -> Fraction:
        values = {key: float(point[column]) for key, column in index.items()}
        return _replayed(first, second, values, primitives)

    rows = bank.weight
    apart = (rows[:, None] - rows[None]).reshape(-1, rows.shape[1])
    return Sides(differences, replay, np.vstack([rows, -rows, apart]), rows[:0])


def networks(first: nn.Module, second: nn.Module, shape: tuple[int, ...]) -> Sides:
    """Two networks of one input (N, *shape) and one output; points are inputs, flattened.

    Both run in float64, with their own weights; the replay is another run of one point.
    """
    modules = [copy.deepcopy(m).double().eval().requires_grad_(False) for m in (first, second)]

    def differences(points: Tensor) -> Tensor:
        one, other = (module(points.reshape(-1, *shape)) for module in modules)
        return (one - other).flatten(1)

    def replay(point: np.ndarray) -> Fraction:
        with torch.no_grad():
            return Fraction(float(differences(torch.from_numpy(point)[None]).abs().max()))

    nowhere = np.zeros((0, math.prod(shape)))
    return Sides(differences, replay, nowhere, nowhere)


def _written(one: Affine, taps: list[Node], primitives: Mapping[str, Primitive]) -> Node:
    pre, op = sum_of_taps(one.weights.tolist(), taps, one.bias), one.head.op
    if op == "identity":
        return pre
    given = dict(one.head.params)
    return call(op, pre, **{name: given[name] for name, _ in primitives[op].parameters})


def _exact_gap(unit: Affine, program: Affine) -> Callable[[np.ndarray], Fraction]:
    return lambda point: gap_at(unit, program, point)


def _replayed(
    first: Node,
    second: Node,
    values: Mapping[TapKey, float],
    primitives: Mapping[str, Primitive],
) -> Fraction:
    """How far apart two programs certainly are where taps have these values."""
    try:
        exact = RationalAlgebra(lambda *key: Fraction(values[key]))
        one, other = (evaluate(p, exact, primitives) for p in (first, second))
        return abs(one - other)
    except Unsupported:
        enclosed = IntervalAlgebra(lambda *key: (np.float64(values[key]),) * 2)
        one, other = (evaluate(p, enclosed, primitives) for p in (first, second))
        ends = [[Fraction(float(end)) for end in pair] for pair in (one, other)]
        return max(ends[0][0] - ends[1][1], ends[1][0] - ends[0][1], Fraction(0))


def _starts(sides: Sides, box: Box, effort: Effort) -> np.ndarray:
    """Points (K, n): suspects, corners along the directions, the middle, random corners and
    points."""
    rng, most = np.random.default_rng(effort.seed), max(1, effort.evaluations // STARTS)
    lower, upper = box.lower, box.upper
    middle = (lower / 2 + upper / 2)[None]
    corners = np.where(sides.directions > 0, upper, lower)
    fixed = np.vstack([np.clip(sides.suspects, lower, upper), middle, corners])[:most]
    free = most - len(fixed)
    drawn = rng.random((free, lower.size))
    drawn[: free // 2] = np.rint(drawn[: free // 2])
    return np.vstack([fixed, np.clip(lower + drawn * (upper - lower), lower, upper)])


@dataclass(eq=False)
class _Ascent:
    """All points that were seen of a search, as far as they matter: starts, and ends of ascents."""

    sides: Sides
    box: Box
    points: list[np.ndarray] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    def see(self, points: np.ndarray) -> None:
        """Keep points (N, n) with their differences (N, m)."""
        with torch.no_grad():
            found = self.sides.differences(torch.from_numpy(points)).numpy()
        if not np.isfinite(found).all():
            row = int(np.argwhere(~np.isfinite(found))[0, 0])
            raise ValueError(f"the difference at {points[row][:8]} … is {found[row]}; no number")
        self.points.append(points)
        self.values.append(found)

    def climb(self, evaluations: int) -> None:
        """Ascend in each output and sign from the best starts that so many evaluations allow."""
        values = np.hstack([self.values[0], -self.values[0]])
        outputs = self.values[0].shape[1]
        each = evaluations // (STEPS * 2 * outputs)
        goals = np.arange(2 * outputs)
        if not each:  # too few for all: the most promising ones alone
            goals = np.argsort(-values.max(0), kind="stable")[: evaluations // STEPS]
        best = np.argsort(-values[:, goals], axis=0, kind="stable")[: max(each, 1)]
        if best.size:
            wanted = np.repeat(goals[None], len(best), axis=0).ravel()
            self.see(
                self._climbed(self.points[0][best.ravel()], wanted % outputs, wanted < outputs)
            )

    def worst(self, count: int) -> np.ndarray:
        """The points (count, n) of the largest differences."""
        sizes = np.concatenate([np.abs(v).max(1) for v in self.values])
        return np.concatenate(self.points)[np.argsort(-sizes, kind="stable")[:count]]

    def _climbed(self, points: np.ndarray, output: np.ndarray, up: np.ndarray) -> np.ndarray:
        """Where ascents from points (N, n) end, each in its own output and sign."""
        width = self.box.upper - self.box.lower
        step = np.ones(len(points))
        value, slope = self._slopes(points, output, up)
        for _ in range(STEPS - 1):
            moved = points + step[:, None] * width * np.sign(slope)
            moved = np.clip(moved, self.box.lower, self.box.upper)
            new, new_slope = self._slopes(moved, output, up)
            gained = new > value
            points, slope = (
                np.where(gained[:, None], *pair) for pair in ((moved, points), (new_slope, slope))
            )
            value, step = np.where(gained, new, value), np.where(gained, step, step / 2)
        return points

    def _slopes(
        self, points: np.ndarray, output: np.ndarray, up: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The difference (N,) that each point is to raise, and its gradient (N, n)."""
        leaf = torch.from_numpy(points).requires_grad_()
        found = self.sides.differences(leaf)[torch.arange(len(points)), torch.from_numpy(output)]
        goal = torch.where(torch.from_numpy(up), found, -found)
        (slope,) = torch.autograd.grad(goal.sum(), leaf)
        return goal.detach().numpy(), slope.numpy()
