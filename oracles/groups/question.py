"""Groups: two small networks of one hidden layer over a box, whose outputs are claimed to be near.

A unit of a second layer sees its first layer through a few ReLUs, and the layer's programs through
as many others. Bounded one by one, their errors add up in their worst cases; together they do not.
`head(v·h(W·x + b) + d)` and its copy become one exact question: the largest value of a sum of
variables, some of which are ReLUs of sums of others. ReLUs that have one sign over the box are sums
themselves; what is left are the *unstable* ones, and their number is what a question costs.

A ReLU of the copy is written as that of the original less a difference d, a variable of its own. It
is small where the two are near, and a box of d is a bound that other relaxations have to work for
(ReluDiff, Paulsen et al. 2020). What the two are read with counts as well: v·relu(a) − v'·relu(a')
is bounded by v·a − v'·a', in which the errors of weights and read-out meet.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np

from oracles.claims import AffineBank, Box, HeadForm, apply_head, evaluate, head_form
from oracles.groups.hulls import Bends, Pair, Relu, ends_of, hulls
from oracles.groups.sums import ONE, ZERO, Sum, total

IDENTITY = head_form("identity")


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
class Question:
    """The largest and the least of `objective` over variables between `lower` and `upper`.

    The first `inputs` of them are x; `relus` relate the others, and `pairs` say what is known of
    two together.
    """

    inputs: int
    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    relus: tuple[Relu, ...]
    pairs: tuple[Pair, ...]
    objective: Sum

    @property
    def unstable(self) -> int:
        """How many ReLUs have both signs in the box."""
        return len(self.relus)

    @property
    def bends(self) -> Bends:
        return (*self.relus, *self.pairs)

    @cached_property
    def rows(self) -> list[Sum]:
        """The hulls of all between their ends, as sums that are at most 0."""
        bends = self.bends
        found = hulls(len(self.relus), *ends_of(bends))
        each = zip(found.numbers.tolist(), found.factors.tolist(), strict=True)
        return [
            total([(Fraction(f), bends[n].post), (Fraction(g), bends[n].pre)]).shifted(Fraction(c))
            for n, (f, g, c) in each
        ]


def question_of(group: Group) -> Question:
    """The difference of a group's two networks as one exact question."""
    box = group.box
    lower, upper = ([*map(Fraction, end.tolist())] for end in (box.lower, box.upper))
    writer = _Writer(lower, upper)
    first, second = group.first, group.second
    own = writer.layer(first, 1)
    copied = writer.layer(second, -1, own if len(own) == len(second.hidden) else None)
    one = writer.bent(_read_out(first, own), first.head, ONE, (1.0, 1.0))
    other = writer.bent(_read_out(second, copied), second.head, ONE, (-1.0, -1.0), near=one)
    return writer.question(one.value.plus(other.value, -1), box.lower.size)


@dataclass(frozen=True, eq=False)
class _Unit:
    """A unit under a head: its pre-activation, what the head makes of it, and the ReLU that is in
    it, which is read with a factor; None where it does not bend. It has a number where it is
    unstable."""

    pre: Sum
    value: Sum
    relu: Sum | None = None
    factor: Fraction = ZERO
    number: int | None = None


@dataclass(eq=False)
class _Writer:
    """Writes units one after the other as sums of variables, whose ends are `lower` and `upper`."""

    lower: list[Fraction]
    upper: list[Fraction]
    relus: list[Relu] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)

    def layer(self, side: TwoLayer, sign: int, near: Sequence[_Unit] | None = None) -> list[_Unit]:
        """The hidden units of a network, unit j beside near[j]; the objective reads the network
        with a sign."""
        bank, slopes = side.hidden, (sign * side.head.slopes[0], sign * side.head.slopes[1])
        others = near or [None] * len(bank)
        lines = zip(bank.weights.tolist(), bank.biases.tolist(), strict=True)
        each = zip(lines, bank.heads, side.readout.tolist(), others, strict=True)
        return [
            self.bent(_exact(*row), head, Fraction(v), slopes, near=one)
            for row, head, v, one in each
        ]

    def bent(
        self,
        pre: Sum,
        head: HeadForm,
        read: Fraction,
        slopes: tuple[float, float],
        *,
        near: _Unit | None = None,
    ) -> _Unit:
        """max(lo·pre, hi·pre) as lo·pre + (hi − lo)·relu(pre), which is read with a weight; of what
        reads it the objective makes between two slopes."""
        low, high = map(Fraction, head.slopes)
        if low == high:
            return _Unit(pre, pre.times(low))
        factor = read * (high - low)
        before = len(self.relus)
        relu = self._relu(pre, factor, slopes, near)
        number = before if len(self.relus) > before else None
        return _Unit(pre, pre.times(low).plus(relu, high - low), relu, factor, number)

    def question(self, objective: Sum, inputs: int) -> Question:
        ends = tuple(self.lower), tuple(self.upper)
        return Question(inputs, *ends, tuple(self.relus), tuple(self.pairs), objective)

    def _relu(
        self, pre: Sum, factor: Fraction, slopes: tuple[float, float], near: _Unit | None
    ) -> Sum:
        low, high = pre.range(self.lower, self.upper)
        if high <= 0 or low >= 0:
            return Sum() if high <= 0 else pre
        beside = near and self._beside(pre, factor, near)
        post = beside or self._variable(ZERO, high)
        effects = sorted(float(factor) * slope for slope in slopes)
        self.relus.append(Relu(pre, post, low, high, *effects))
        return post

    def _beside(self, pre: Sum, factor: Fraction, near: _Unit) -> Sum | None:
        """relu(pre) as that of another less d, in the box of the two pre-activations' difference;
        None where the other has no ReLU."""
        if near.relu is None:
            return None
        low, high = near.pre.plus(pre, -1).range(self.lower, self.upper)
        post = near.relu.plus(self._variable(min(low, ZERO), max(high, ZERO)), -1)
        one, other = (abs(near.factor), abs(factor)) if near.factor * factor > 0 else (ONE, ONE)
        apart, read = (
            x.times(one).plus(y, -other) for x, y in ((near.pre, pre), (near.relu, post))
        )
        members = None if near.number is None else (near.number, len(self.relus))
        self.pairs.append(Pair(apart, read, *apart.range(self.lower, self.upper), members))
        return post

    def _variable(self, low: Fraction, high: Fraction) -> Sum:
        self.lower.append(low)
        self.upper.append(high)
        return Sum({len(self.lower) - 1: ONE})


def _exact(weights: Sequence[float], bias: float) -> Sum:
    return Sum({i: Fraction(w) for i, w in enumerate(weights) if w}, Fraction(bias))


def _read_out(side: TwoLayer, units: Sequence[_Unit]) -> Sum:
    pairs = zip(side.readout.tolist(), units, strict=True)
    return total((Fraction(v), unit.value) for v, unit in pairs).shifted(Fraction(side.bias))
