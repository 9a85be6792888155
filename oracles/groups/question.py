"""Groups: two small networks of one hidden layer over a box, whose outputs are claimed to be near.

A unit of a second layer sees its first layer through a few ReLUs, and the layer's programs through
as many others. Bounded one by one, their errors add up in their worst cases; together they do not.
`head(v·h(W·x + b) + d)` and its copy become one exact question: the largest value of a sum of
variables, some of which are ReLUs of sums of others. ReLUs that have one sign over the box are sums
themselves; what is left are the *unstable* ones, and their number is what a question costs.

A ReLU of the copy is written as that of the original less a difference d, a variable of its own.
Since relu(a) − relu(a') lies between −relu(a' − a) and relu(a − a'), d is small where the two are
near, and a box of d is a bound that other relaxations have to work for (ReluDiff, Paulsen et al.
2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from oracles.claims import AffineBank, Box, HeadForm, apply_head, evaluate, head_form
from oracles.groups.sums import ZERO, Sum, total

IDENTITY = head_form("identity")
SLOPES = 2**12  # slopes of chords are multiples of its inverse: short numbers are faster


@dataclass(frozen=True, eq=False)
class TwoLayer:
    """``head(readout · hidden(x) + bias)``: k hidden units with heads of their own, readout (k,).

    Raises ValueError for sizes that differ, and for a head that is not made of two slopes.
    """

    hidden: AffineBank
    readout: np.ndarray
    bias: float
    head: HeadForm = IDENTITY

    def __post_init__(self) -> None:
        if self.readout.shape != (len(self.hidden),):
            raise ValueError(
                f"readout of shape {self.readout.shape}; expected ({len(self.hidden)},), a weight "
                "for each hidden unit"
            )
        for head in (*self.hidden.heads, self.head):
            if not head.two_slope:
                raise ValueError(
                    f"head {head.op!r} bends otherwise than at zero; groups are of identity, relu, "
                    "abs and leaky heads: bound its units one by one"
                )

    def value(self, point: np.ndarray) -> Fraction:
        """The exact output at a point (n,)."""
        units = (evaluate(self.hidden[j], point) for j in range(len(self.hidden)))
        pairs = zip(self.readout.tolist(), units, strict=True)
        return apply_head(self.head, sum((Fraction(v) * u for v, u in pairs), Fraction(self.bias)))

    def nearly(self, point: np.ndarray) -> float:
        """The output at a point (n,) in floats."""
        slopes = np.array([head.slopes for head in self.hidden.heads]).T
        pre = self.hidden.weights @ point + self.hidden.biases
        value = float(self.readout @ (slopes * pre).max(axis=0)) + self.bias
        return max(slope * value for slope in self.head.slopes)


@dataclass(frozen=True, eq=False)
class Group:
    """Two networks over the same box (n,): `first` as it is, `second` its copy.

    Hidden unit j of the one is compared with j of the other where both have as many. Raises
    ValueError where inputs differ in number.
    """

    first: TwoLayer
    second: TwoLayer
    box: Box

    def __post_init__(self) -> None:
        sizes = [side.hidden.weights.shape[1] for side in (self.first, self.second)]
        if {*sizes, *self.box.lower.shape} != {sizes[0]}:
            raise ValueError(
                f"networks of {sizes} inputs over a box of {self.box.lower.shape}; expected one n"
            )

    def gap(self, point: np.ndarray) -> Fraction:
        """The exact difference of the two at a point (n,): replays a counterexample."""
        return abs(self.first.value(point) - self.second.value(point))

    def nearly(self, point: np.ndarray) -> float:
        """The same in floats: where it is worth while to look exactly."""
        return abs(self.first.nearly(point) - self.second.nearly(point))


@dataclass(frozen=True, eq=False)
class Relu:
    """post = max(pre, 0), where pre has both signs: low < 0 < high are its ends, or beyond.

    The objective changes with post by `weight` at most, in floats.
    """

    pre: Sum
    post: Sum
    low: Fraction
    high: Fraction
    weight: float

    @property
    def rows(self) -> tuple[Sum, Sum, Sum]:
        """The convex hull of the ReLU (Ehlers 2017), or nearly: sums that are at most 0."""
        chord = _chord(self.pre, self.low, self.high)
        return self.post.times(-1), self.pre.plus(self.post, -1), self.post.plus(chord, -1)


@dataclass(frozen=True, eq=False)
class Question:
    """The largest and the least of `objective` over variables between `lower` and `upper`.

    The first `inputs` of them are x; `relus` relate the others, and `rows` are sums that are at
    most 0 besides.
    """

    inputs: int
    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    relus: tuple[Relu, ...]
    rows: tuple[Sum, ...]
    objective: Sum

    @property
    def unstable(self) -> int:
        """How many ReLUs have both signs in the box."""
        return len(self.relus)


def question_of(group: Group) -> Question:
    """The difference of a group's two networks as one exact question."""
    box = group.box
    lower, upper = ([*map(Fraction, end.tolist())] for end in (box.lower, box.upper))
    writer = _Writer(lower, upper)
    first, second = group.first, group.second
    own = writer.layer(first)
    copied = writer.layer(second, own if len(own) == len(second.hidden) else None)
    one = writer.bent(_read_out(first, own), first.head)
    other = writer.bent(_read_out(second, copied), second.head, near=one)
    return writer.question(one.value.plus(other.value, -1), box.lower.size)


@dataclass(frozen=True, eq=False)
class _Unit:
    """A unit under a head: its pre-activation, what the head makes of it, and the ReLU that is in
    it; None where it does not bend."""

    pre: Sum
    value: Sum
    relu: Sum | None


@dataclass(eq=False)
class _Writer:
    """Writes units one after the other as sums of variables, whose ends are `lower` and `upper`."""

    lower: list[Fraction]
    upper: list[Fraction]
    relus: list[Relu] = field(default_factory=list)
    rows: list[Sum] = field(default_factory=list)

    def layer(self, side: TwoLayer, near: Sequence[_Unit] | None = None) -> list[_Unit]:
        """The hidden units of a network, unit j beside near[j]."""
        bank, steepest = side.hidden, side.head.lipschitz
        weights, others = np.abs(side.readout) * steepest, near or [None] * len(bank)
        rows = zip(bank.weights.tolist(), bank.biases.tolist(), strict=True)
        each = zip(rows, bank.heads, weights.tolist(), others, strict=True)
        return [self.bent(_exact(*row), head, v, near=one) for row, head, v, one in each]

    def bent(
        self, pre: Sum, head: HeadForm, weight: float = 1.0, *, near: _Unit | None = None
    ) -> _Unit:
        """max(lo·pre, hi·pre) as lo·pre + (hi − lo)·relu(pre), which counts by its weight."""
        low, high = map(Fraction, head.slopes)
        if low == high:
            return _Unit(pre, pre.times(low), None)
        relu = self._relu(pre, weight * float(high - low), near)
        return _Unit(pre, pre.times(low).plus(relu, high - low), relu)

    def question(self, objective: Sum, inputs: int) -> Question:
        ends = tuple(self.lower), tuple(self.upper)
        return Question(inputs, *ends, tuple(self.relus), tuple(self.rows), objective)

    def _relu(self, pre: Sum, weight: float, near: _Unit | None) -> Sum:
        low, high = pre.range(self.lower, self.upper)
        if high <= 0 or low >= 0:
            return Sum() if high <= 0 else pre
        beside = near and self._beside(pre, near)
        post = beside or self._variable(ZERO, high)
        self.relus.append(Relu(pre, post, low, high, weight))
        return post

    def _beside(self, pre: Sum, near: _Unit) -> Sum | None:
        """relu(pre) as that of another less d, which lies between two sums of pre's difference;
        None where the other has no ReLU."""
        if near.relu is None:
            return None
        apart = near.pre.plus(pre, -1)
        low, high = apart.range(self.lower, self.upper)
        d = self._variable(min(low, ZERO), max(high, ZERO))
        above = _chord(apart, low, high)
        below = _chord(apart.times(-1), -high, -low)
        self.rows += [d.plus(above, -1), d.plus(below).times(-1)]
        return near.relu.plus(d, -1)

    def _variable(self, low: Fraction, high: Fraction) -> Sum:
        self.lower.append(low)
        self.upper.append(high)
        return Sum({len(self.lower) - 1: Fraction(1)})


def _chord(value: Sum, low: Fraction, high: Fraction) -> Sum:
    """A sum above relu(value) between two ends: the least, but for a slope of few bits."""
    if high <= 0 or low >= 0:
        return Sum() if high <= 0 else value
    slope = Fraction(round(high / (high - low) * SLOPES), SLOPES)
    return value.times(slope).shifted(max(-slope * low, (1 - slope) * high))


def _exact(weights: Sequence[float], bias: float) -> Sum:
    return Sum({i: Fraction(w) for i, w in enumerate(weights) if w}, Fraction(bias))


def _read_out(side: TwoLayer, units: Sequence[_Unit]) -> Sum:
    pairs = zip(side.readout.tolist(), units, strict=True)
    return total((Fraction(v), unit.value) for v, unit in pairs).shifted(Fraction(side.bias))
