"""The axes of colour of a grammar, as weights of the channels of a bank."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from grammars.grammar import Grammar
from grammars.hoist import hoist
from grammars.primitive import Integer, Primitive
from grammars.program import Node, Sort, Value, bank, call


@dataclass(frozen=True, eq=False)
class Axis:
    """A mix of all channels of a bank that has a name: the program, and its weights (C,)."""

    source: Node
    weights: np.ndarray


def axes_of(grammar: Grammar, name: str, channels: int) -> tuple[Axis, ...]:
    """The axes that a bank has, in each order of its channels; none where it has other numbers."""
    whole = bank(name, channels)
    found = (p for p in grammar.primitives if p.args == (Sort.BANK,) and p.result is Sort.ATOM)
    axes = []
    for primitive in found:
        for params in _choices(primitive):
            source = call(primitive.name, whole, **params)
            try:
                (row,) = hoist(source, grammar).rows
            except ValueError:  # of another number of channels
                continue
            weights = np.zeros(channels)
            for (_, channel, _, _), weight in row.weights.items():
                weights[channel] = weight
            axes.append(Axis(source, weights))
    return tuple(axes)


def _choices(primitive: Primitive) -> Iterator[dict[str, Value]]:
    """Every choice of whole parameters; others are at their defaults."""
    names = [name for name, _ in primitive.parameters]
    ranges = [
        range(spec.low, spec.high + 1) if isinstance(spec, Integer) else (spec.default,)
        for _, spec in primitive.parameters
    ]
    return (dict(zip(names, values, strict=True)) for values in product(*ranges))
