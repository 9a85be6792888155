"""What the constants of a sum of kernels multiply, and the weights that each stands for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grammars.hoist import hoist
from grammars.kernels import BITS
from grammars.primitive import Primitive
from grammars.program import Node, call, linear, tap, terms_of
from grammars.scope import Scope
from synth.kernels.problem import Problem
from synth.kernels.rounding import Readable


@dataclass(frozen=True)
class Slot:
    """The place of a constant: before a source under a kernel, or before an atom by itself."""

    source: Node
    kernel: Node | None = None


@dataclass(frozen=True, eq=False)
class Slots:
    """n places with the weights (F, n) of a unit that a one there would make."""

    places: tuple[Slot, ...]
    columns: np.ndarray

    @staticmethod
    def of(readable: Readable, problem: Problem, scope: Scope) -> "Slots":
        """Those of a chain of one row over the channels that a unit may read."""
        bank, first = scope.columns[0][:2]
        places, columns = [], []
        for k, number in enumerate(readable.chain.forms[0]):
            form, axis = problem.forms[number], readable.axes[k]
            values = readable.chain.values[0, k, : len(form.specs)]
            kernel = form.node(values)
            exact = np.array([form.snapped(values)], dtype=np.float64)
            weights = form.kernels(exact, problem.window)[0]
            weights = np.ldexp(np.rint(np.ldexp(weights, BITS)), -BITS)
            for mix in readable.chain.mixes[0, k].T:
                if mix.any() and weights.any():
                    channel = first + int(np.argmax(mix))
                    source = tap(bank, channel) if axis is None else axis.source
                    places.append(Slot(source, kernel))
                    columns.append(np.outer(mix, weights).ravel())
        size = problem.channels * len(problem.window.down)
        return Slots(tuple(places), np.reshape(columns, (-1, size)).T)

    def beside(self, place: Slot, column: np.ndarray) -> "Slots":
        """With one place more, whose weights are (F,)."""
        return replace(
            self,
            places=(*self.places, place),
            columns=np.column_stack([self.columns, column]),
        )

    def program(self, constants: Sequence[float] | np.ndarray) -> Node:
        """The sum with these constants (n+1,), the bias last."""
        *values, bias = (float(c) for c in constants)
        mixes: dict[Node, list[tuple[float, Node]]] = {}
        terms: list[tuple[float, Node]] = []
        for value, place in zip(values, self.places, strict=True):
            if place.kernel is None:
                terms.append((value, place.source))
            elif value:
                mixes.setdefault(place.kernel, []).append((value, place.source))
        for kernel, pairs in mixes.items():
            mix = linear(pairs)
            ((weight, source),) = ((1.0, mix),) if len(pairs) > 1 else pairs
            terms.append((weight, call("conv", kernel, source)))
        return linear(terms, bias)


def slots_of(
    pre: Node, scope: Scope, primitives: Mapping[str, Primitive]
) -> tuple[Slots, np.ndarray] | None:
    """The places of a sum of atoms and its constants (n+1,); None for what is no such sum."""
    places, constants = [], []
    terms, bias = terms_of(pre)
    for weight, atom in terms:
        kernel, source = atom.args if atom.op == "conv" else (None, atom)
        pairs = (
            terms_of(source)[0]
            if kernel is not None and source.op == "linear"
            else ((1.0, source),)
        )
        places += [Slot(inner, kernel) for _, inner in pairs]
        constants += [weight * factor for factor, _ in pairs]
    columns = np.zeros((len(scope.columns), len(places)))
    for column, place in zip(columns.T, places, strict=True):
        atom = place.source if place.kernel is None else call("conv", place.kernel, place.source)
        rows = hoist(atom, primitives, scope.index).rows
        if len(rows) != 1 or any(scope.index[key] >= len(column) for key in rows[0].weights):
            return None  # it bends, or reads siblings
        for key, weight in rows[0].weights.items():
            column[scope.index[key]] = weight
    return Slots(tuple(places), columns), np.append(constants, bias)
