"""Straight-line code: what a program does, operation by operation, walked through once.

Programs that do the same with other numbers have one tape, and run together with a column of
numbers in the place of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from grammars.evaluation import Algebra, evaluate
from grammars.interpreters.affine import TapKey
from grammars.primitive import Primitive, Transcendental
from grammars.program import Node

READ, CALL = "read", "call"


@dataclass(frozen=True)
class Step:
    """One operation: an argument is the place of an earlier step, or ~i for the number i.

    `of` is the tap that is read, or the function that is called.
    """

    op: str
    args: tuple[int, ...]
    of: TapKey | Transcendental | None = None


@dataclass(frozen=True)
class Tape:
    """Steps in order; `result` is an argument as those of steps are."""

    steps: tuple[Step, ...]
    result: int

    @property
    def reads(self) -> list[TapKey]:
        """The taps that are read, in order of first use."""
        return [s.of for s in self.steps if s.op == READ]  # type: ignore[misc]

    @cached_property
    def is_constant(self) -> bool:
        """Whether what is read does not matter."""
        moves = list[bool]()
        for step in self.steps:
            moves.append(step.op == READ or any(moves[a] for a in step.args if a >= 0))
        return self.result < 0 or not moves[self.result]

    def run(self, algebra: Algebra, numbers: Sequence[Any]) -> Any:
        """The value in an algebra; `numbers` are floats, or whatever it takes for them."""
        values = list[Any]()

        def value(place: int) -> Any:
            return values[place] if place >= 0 else numbers[~place]

        for step in self.steps:
            if step.op == READ:
                values.append(algebra.read(*step.of))  # type: ignore[misc]
            elif step.op == CALL:
                values.append(algebra.call(step.of, value(step.args[0])))  # type: ignore[arg-type]
            else:
                values.append(getattr(algebra, step.op)(*map(value, step.args)))
        return value(self.result)


def recorded(program: Node, primitives: Mapping[str, Primitive]) -> tuple[Tape, tuple[float, ...]]:
    """What a program does, and its numbers in the order of their use."""
    recorder = _Recorder()
    result = recorder.place(evaluate(program, recorder, primitives))
    return Tape(tuple(recorder.steps), result), tuple(recorder.numbers)


@dataclass(frozen=True)
class _Cell:
    """The value of a step."""

    place: int


class _Recorder(Algebra):
    """Values are cells, or numbers as they stand: nothing is computed."""

    name = "tape"

    def __init__(self) -> None:
        self.steps, self.numbers = list[Step](), list[float]()
        self.known = dict[TapKey, _Cell]()
        super().__init__(self._read)

    def place(self, value: _Cell | float) -> int:
        """A value as an argument of a step."""
        if isinstance(value, _Cell):
            return value.place
        self.numbers.append(value)
        return ~(len(self.numbers) - 1)

    def const(self, value: float) -> float:
        return value

    def add(self, a: Any, b: Any) -> _Cell:
        return self._step("add", a, b)

    def mul(self, a: Any, b: Any) -> _Cell:
        return self._step("mul", a, b)

    def max(self, a: Any, b: Any) -> _Cell:
        return self._step("max", a, b)

    def min(self, a: Any, b: Any) -> _Cell:
        return self._step("min", a, b)

    def select(self, condition: Any, positive: Any, otherwise: Any) -> _Cell:
        return self._step("select", condition, positive, otherwise)

    def call(self, function: Transcendental, x: Any) -> _Cell:
        return self._step(CALL, x, of=function)

    def _read(self, *key: Any) -> _Cell:
        if key not in self.known:
            self.known[key] = self._step(READ, of=key)
        return self.known[key]

    def _step(self, op: str, *args: Any, of: Any = None) -> _Cell:
        self.steps.append(Step(op, tuple(map(self.place, args)), of))
        return _Cell(len(self.steps) - 1)
