"""Branch and bound over the phases of ReLUs, every leaf a linear program that is rechecked exactly.

The leaf of the largest bound is split next, at the ReLU that its relaxation loses most by (Bunel et
al. 2020); the input that a leaf likes best is replayed, and is a lower bound of the difference.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from oracles.claims import Proved, Refuted, Unknown, Verdict, below
from oracles.groups.question import Group, Question, question_of
from oracles.groups.relaxation import Part, Relaxation, Relaxed

NODES = 1000  # linear programs


@dataclass(frozen=True, eq=False)
class Bracket:
    """``lower <= sup |first − second| <= upper``, exactly; the lower end is reached at `point`."""

    lower: Fraction
    point: np.ndarray
    upper: Fraction
    nodes: int


def bracket(
    group: Group,
    *,
    nodes: int = NODES,
    enough: Callable[[Fraction, Fraction], bool] = lambda lower, upper: lower == upper,
) -> Bracket:
    """Bound a group's difference from both sides, until the two are near `enough`, or so many
    `nodes` are used up."""
    tree = _Tree(group, question_of(group))
    for sign in (1, -1):
        tree.add(sign, tree.relaxation.whole, None)
    while not enough(tree.lower, tree.upper) and tree.nodes + 2 <= nodes and tree.split():
        pass
    return Bracket(tree.lower, tree.point, tree.upper, tree.nodes)


def split_group(group: Group, epsilon: Fraction, *, nodes: int = NODES) -> Verdict:
    """Decide ``|first − second| <= epsilon``: `Proved("checked", bound)`, `Refuted` with a replayed
    point, or `Unknown` after so many `nodes`."""
    found = bracket(
        group, nodes=nodes, enough=lambda lower, upper: upper <= epsilon or lower > epsilon
    )
    if found.lower > epsilon:
        return Refuted(found.point, below(found.lower))
    if found.upper <= epsilon:
        return Proved("checked", found.upper)
    ends = f"{below(found.lower):.6g} <= sup <= {below(found.upper):.6g}"
    return Unknown(f"{found.nodes} linear programs leave {ends}, epsilon {below(epsilon):.6g}")


@dataclass(frozen=True, eq=False)
class _Leaf:
    """The objective or its negative in a part, and what its relaxation says."""

    sign: int
    part: Part
    found: Relaxed


class _Tree:
    """The leaves of both objectives, largest bound first, and the worst input so far."""

    def __init__(self, group: Group, question: Question) -> None:
        self.group, self.question = group, question
        self.relaxation = Relaxation(question)
        self.nodes, self.lower = 0, Fraction(-1)
        self.point = group.box.lower
        self._leaves: list[tuple[Fraction, int, _Leaf]] = []

    @property
    def upper(self) -> Fraction:
        return max(-self._leaves[0][0], self.lower)

    def add(self, sign: int, part: Part, parent: _Leaf | None) -> None:
        """A leaf, whose bound is no more than that of the one that it is a part of."""
        found = self.relaxation.bound(sign, part)
        bound = found.bound if parent is None else min(found.bound, parent.found.bound)
        leaf = _Leaf(sign, part, Relaxed(bound, found.point, found.lost))
        self.nodes += 1
        self._replay(found.point)
        heapq.heappush(self._leaves, (-bound, self.nodes, leaf))

    def split(self) -> bool:
        """Halve the worst leaf; False where it has no ReLU left that loses anything."""
        leaf = self._leaves[0][2]
        lost = leaf.found.lost
        if not lost.size or lost.max() <= 0:
            return False
        heapq.heappop(self._leaves)
        for on in (True, False):
            self.add(leaf.sign, self.relaxation.held(leaf.part, int(lost.argmax()), on), leaf)
        return True

    def _replay(self, point: np.ndarray) -> None:
        box = self.group.box
        inputs = np.clip(point[: self.question.inputs], box.lower, box.upper)
        if self.group.nearly(inputs) > self.lower and (gap := self.group.gap(inputs)) > self.lower:
            self.lower, self.point = gap, inputs
