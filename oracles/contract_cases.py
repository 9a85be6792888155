"""Random programs of one primitive and the points at which the contract compares its meanings."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grammars.evaluation import evaluate
from grammars.grammar import Grammar
from grammars.hoist import ROWS
from grammars.interpreters.torch import TorchAlgebra
from grammars.names import Names
from grammars.primitive import LEAVES_AND_SUMS, Primitive, Real
from grammars.program import Node, Sort, Value, bank, const, linear, tap
from grammars.text import format_program

POINTS = 12
CHANNELS = 4


@dataclass(frozen=True)
class Case:
    """A program of the primitive, the same over row 0 (`skeleton`), and values for every tap.

    The values are multiples of 1/64 in [−4, 4], so every interpreter reads them exactly. At point 0
    all taps are zero.
    """

    program: Node
    skeleton: Node | None
    grammar: Grammar
    seed: str

    @cached_property
    def names(self) -> Names:
        return Names({"source": CHANNELS, "other": CHANNELS, "image": 3}, reserved=self.grammar)

    @cached_property
    def text(self) -> str:
        """The program as text, for messages."""
        try:
            return format_program(self.program, self.names, self.grammar)
        except Exception:  # a program that has no text still has to be named
            return repr(self.program)

    def values(self, *key: Any) -> tuple[Fraction, ...]:
        """The tap's value at every point."""
        if key not in self._values:
            rng = random.Random(f"{self.seed} {key}")
            drawn = (Fraction(rng.randint(-256, 256), 64) for _ in range(POINTS - 1))
            self._values[key] = (Fraction(0), *drawn)
        return self._values[key]

    def box(self, *key: Any) -> tuple[np.ndarray, np.ndarray]:
        """An interval (low, high) about the tap's value at every point."""
        if key not in self._boxes:
            rng = np.random.default_rng(seed_of(f"{self.seed} {key}"))
            below, above = rng.choice([0.0, 0.25, 1.0, 3.0], (2, POINTS))
            middle = self._floats(key)
            self._boxes[key] = middle - below, middle + above
        return self._boxes[key]

    def tensor(self, *key: Any) -> Tensor:
        """The tap's values (POINTS,) in float64, anew each time: a body may write into them."""
        return torch.tensor(self._floats(key))

    def evaluate(self, read: Callable[..., Any]) -> Any:
        """The program in torch over taps that `read` gives."""
        return evaluate(self.program, TorchAlgebra(read), self.grammar)

    def _floats(self, key: tuple) -> np.ndarray:
        if key not in self._arrays:
            self._arrays[key] = np.array([float(v) for v in self.values(*key)])
        return self._arrays[key]

    @cached_property
    def _arrays(self) -> dict[tuple, np.ndarray]:
        return {}

    @cached_property
    def _values(self) -> dict[tuple, tuple[Fraction, ...]]:
        return {}

    @cached_property
    def _boxes(self) -> dict[tuple, tuple[np.ndarray, np.ndarray]]:
        return {}

    @cached_property
    def reference(self) -> np.ndarray | None:
        """The values (POINTS,) in torch, float64; None where torch has none."""
        try:
            return as_array(self.evaluate(self.tensor))
        except Exception:  # the check of torch itself reports it
            return None


def cases_of(primitive: Primitive, grammar: Grammar, *, seed: int, count: int) -> tuple[Case, ...]:
    """`count` cases of a primitive: first as it stands over taps, then nested and within sums.

    Raises TypeError for an argument of a sort that no program can fill yet, and for a kernel in a
    grammar without `conv`.
    """
    if primitive.result is Sort.WEIGHTS and "conv" not in grammar:
        raise TypeError("a kernel is applied by `conv`: add the tag 'kernel'")
    cases = []
    for number in range(count):
        rng = random.Random(f"{seed} {primitive.name} {number}")
        program = _Drawn(primitive, grammar, rng).program(depth=number % 3)
        skeleton = _Drawn(primitive, grammar, rng).over_rows() if _is_head_like(primitive) else None
        cases.append(Case(program, skeleton, grammar, f"{seed} {number}"))
    return tuple(cases)


def as_array(value: Any) -> np.ndarray:
    """A tensor or number as float64 (POINTS,). Raises ValueError for any other shape."""
    array = value.detach().numpy() if isinstance(value, Tensor) else np.float64(value)
    return np.broadcast_to(array, (POINTS,)).astype(np.float64)


def seed_of(text: str) -> int:
    """A natural number that is the same in every process."""
    return int.from_bytes(random.Random(text).randbytes(8), "big")


@dataclass(frozen=True)
class _Drawn:
    """Random programs of one primitive."""

    primitive: Primitive
    grammar: Grammar
    rng: random.Random

    def program(self, *, depth: int) -> Node:
        """The primitive over taps (0), over sums or itself (1), and inside a sum (2); a kernel over
        a tap."""
        node = self.node(lambda sort: self.argument(sort, depth))
        if self.primitive.result is Sort.WEIGHTS:
            node = Node("conv", (node, _tap(self.rng)))
        if self.primitive.result is Sort.BANK:
            node = self.mix(node)
        if depth < 2:
            return node
        pairs = [(_weight(self.rng), node), (_weight(self.rng), _tap(self.rng, "other"))]
        return linear(pairs, _weight(self.rng))

    def node(self, argument: Callable[[Sort], Node]) -> Node:
        return _node(self.primitive, argument, self.rng)

    def argument(self, sort: Sort, depth: int) -> Node:
        primitive, rng = self.primitive, self.rng
        if sort is Sort.WEIGHTS:
            return self.kernel()
        if sort is Sort.BANK:
            return self.bank()
        if sort is Sort.ATOM and rng.random() < 0.4:
            return linear([(_weight(rng), _tap(rng)), (_weight(rng), _tap(rng))])
        if sort is Sort.ATOM or not depth:
            return _tap(rng)
        if primitive.result is Sort.FIELD and rng.random() < 0.4:
            return self.node(lambda inner: self.argument(inner, 0))
        return linear([(_weight(rng), _tap(rng)), (_weight(rng), _tap(rng))], _weight(rng))

    def kernel(self) -> Node:
        """Any kernel of the grammar."""
        known = [p for p in self.grammar.primitives if p.result is Sort.WEIGHTS and not p.args]
        if not known:
            raise TypeError("an argument of sort weights needs a kernel: add the tag 'kernel'")
        return _node(self.rng.choice(known), lambda _: _tap(self.rng), self.rng)

    def bank(self) -> Node:
        if "bank" not in self.grammar:
            raise TypeError("an argument of sort bank needs `bank`: add the tag 'colour'")
        return bank("image", 3)

    def mix(self, image: Node) -> Node:
        """Any mix of the channels of a bank that the grammar has."""
        known = [p for p in self.grammar.primitives if p.args == (Sort.BANK,)]
        if not known:
            raise TypeError("a bank needs what mixes its channels: add the tag 'colour'")
        return _node(self.rng.choice(known), lambda _: image, self.rng)

    def over_rows(self) -> Node:
        """The primitive over multiples of row 0."""
        scales = iter((1.0, *(_weight(self.rng) for _ in range(8))))
        return self.node(lambda _: linear([(next(scales), tap(ROWS, 0))]))


def _node(primitive: Primitive, argument: Callable[[Sort], Node], rng: random.Random) -> Node:
    if primitive.name in LEAVES_AND_SUMS:
        return _structure(primitive.name, rng)
    count = rng.randint(1, 4) if primitive.variadic else 1
    params = tuple((name, _parameter(spec, rng)) for name, spec in primitive.parameters)
    return Node(primitive.name, tuple(argument(s) for s in primitive.args * count), params)


def _structure(name: str, rng: random.Random) -> Node:
    if name == "const":
        return const(_weight(rng))
    if name == "tap":
        return _tap(rng)
    if name == "bank":
        return bank("image", 3)
    terms = [(_weight(rng), _tap(rng)) for _ in range(rng.choice([2, 3, 40]))]
    return linear([(2.0, tap("other", 0)), *terms], _weight(rng))


def _is_head_like(primitive: Primitive) -> bool:
    fields = all(sort is Sort.FIELD for sort in primitive.args)
    return fields and primitive.name not in LEAVES_AND_SUMS and primitive.result is Sort.FIELD


def _tap(rng: random.Random, bank: str = "source") -> Node:
    return tap(bank, rng.randrange(CHANNELS), rng.randint(-1, 1), rng.randint(-1, 1))


def _weight(rng: random.Random) -> float:
    return rng.choice([-1, 1]) * rng.randint(1, 24) / 8


def _parameter(spec: Any, rng: random.Random) -> Value:
    if rng.random() < 0.3:
        return spec.default
    if isinstance(spec, Real):
        return spec.value(rng.randrange(spec.size))
    return rng.choice([spec.low, spec.high, rng.randint(spec.low, spec.high)])
