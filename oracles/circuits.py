"""Circuits: banks of programs over inputs of few values, and what their outputs decide.

A network whose inputs are of few values (bits, signs, digits) has finitely many of them, and a
claim about it can be proved of all. Its units are programs, exactly (`evaluate` of each in any
algebra, over those that it reads), and so are its decisions: the threshold of an output, or which
output is the largest. Two circuits decide alike where the same claim holds as for units,
``sup |first − second| <= epsilon``, with epsilon 0 for decisions, which are 0 or 1.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any

from grammars.evaluation import Algebra, Reader, Unsupported, evaluate
from grammars.interpreters.affine import TapKey
from grammars.primitive import Primitive
from grammars.program import Node, call, linear, tap

DECISIONS = ":decisions"  # the bank of what a circuit decides, and
ALONE = ":alone"  # that of a program that is a circuit by itself: no module path has a colon


@dataclass(frozen=True, eq=False)
class Domain:
    """All inputs of few values: every tap has one of its own, whatever the others have.

    Raises ValueError for a tap without values, or with one twice.
    """

    values: Mapping[TapKey, tuple[float, ...]]

    def __post_init__(self) -> None:
        for key, values in self.values.items():
            if not values or len(set(values)) < len(values):
                raise ValueError(f"the tap {key} has the values {values}; expected different ones")

    @property
    def size(self) -> int:
        """How many inputs there are."""
        return math.prod(map(len, self.values.values()))

    def points(self) -> Iterator[tuple[float, ...]]:
        """All inputs, a value for each tap in order; the last tap moves fastest."""
        return product(*self.values.values())


@dataclass(frozen=True, eq=False)
class Circuit:
    """`banks` of programs, each over inputs and units of other banks, and the taps that it returns.

    A tap of a bank that is not among them is an input.
    """

    banks: Mapping[str, tuple[Node, ...]]
    outputs: tuple[Node, ...]

    @staticmethod
    def alone(program: Node) -> "Circuit":
        """A program by itself."""
        return Circuit({ALONE: (program,)}, (tap(ALONE, 0),))

    def beside(self, program: Node) -> "Circuit":
        """A program over inputs and units of this circuit."""
        return Circuit({**self.banks, ALONE: (program,)}, (tap(ALONE, 0),))

    def run(
        self,
        algebra_over: Callable[[Reader], Algebra],
        inputs: Mapping[TapKey, Any],
        primitives: Mapping[str, Primitive],
    ) -> list[Any]:
        """The outputs in the algebra that `algebra_over` makes of what reads taps.

        Units are computed when they are read, and once. Raises KeyError for a tap that is neither a
        unit nor among the `inputs`, and Unsupported where a primitive has no meaning there.
        """
        return Run(self, algebra_over, inputs, primitives).outputs()


class Run:
    """A circuit in one algebra, on inputs of that algebra."""

    def __init__(
        self,
        circuit: Circuit,
        algebra_over: Callable[[Reader], Algebra],
        inputs: Mapping[TapKey, Any],
        primitives: Mapping[str, Primitive],
    ) -> None:
        self.circuit, self.inputs, self.primitives = circuit, inputs, primitives
        self.algebra = algebra_over(self._read)
        self._known: dict[TapKey, Any] = {}

    def outputs(self) -> list[Any]:
        """The values of the circuit's outputs."""
        return [evaluate(node, self.algebra, self.primitives) for node in self.circuit.outputs]

    def _read(self, bank: str, channel: int, dy: int, dx: int) -> Any:
        key = (bank, channel, dy, dx)
        if bank not in self.circuit.banks:
            return self.inputs[key]
        if dy or dx:
            raise Unsupported(f"unit {channel} of {bank!r} has no value at an offset")
        if key not in self._known:
            program = self.circuit.banks[bank][channel]
            self._known[key] = evaluate(program, self.algebra, self.primitives)
        return self._known[key]


def deciding(circuit: Circuit, level: float | None) -> Circuit:
    """What a circuit decides, as outputs that are 0 or 1.

    Each output by itself, 1 above `level`; or, for None, whether it is the largest, the first among
    equals: an output for each.
    """
    decisions = _largest(circuit.outputs) if level is None else _above(circuit.outputs, level)
    outputs = tuple(tap(DECISIONS, i) for i in range(len(decisions)))
    return replace(circuit, banks={**circuit.banks, DECISIONS: decisions}, outputs=outputs)


def _above(outputs: tuple[Node, ...], level: float) -> tuple[Node, ...]:
    return tuple(call("step", linear([(1.0, output)], -level)) for output in outputs)


def _largest(outputs: tuple[Node, ...]) -> tuple[Node, ...]:
    def beats(i: int, j: int) -> Node:
        """1 where output i is above output j, or equal to it and before it."""
        first, second = (i, j) if j < i else (j, i)
        above = call("step", linear([(1.0, outputs[first]), (-1.0, outputs[second])]))
        return above if j < i else linear([(-1.0, above)], 1.0)

    every = range(len(outputs))
    rivals = ([beats(i, j) for j in every if j != i] for i in every)
    return tuple(reduce(lambda a, b: call("min", a, b), found) for found in rivals)
