"""Where a node of a program stands while it is written or read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grammars.grammar import Grammar
from grammars.primitive import Primitive
from grammars.program import Node, Sort, tap
from grammars.scope import Alphabet, Scope

MIXED, SPARSE, DENSE = "0", "10", "11"
"""The words of the three forms of a sum."""


@dataclass(frozen=True, eq=False)
class Context:
    """Where a node stands: the sort that is wanted there, and so what taps are numbered by."""

    scope: Scope
    grammar: Grammar
    sort: Sort = Sort.FIELD

    @property
    def mixes(self) -> bool:
        """Whether it is read at an offset."""
        return self.sort is Sort.ATOM

    @property
    def alphabet(self) -> Alphabet:
        return self.scope.sources if self.mixes else self.scope.positions

    @property
    def words(self) -> Mapping[str, str]:
        return self.grammar.words_for(self.sort)

    def arguments(self, primitive: Primitive, count: int) -> list["Context"]:
        sorts = primitive.args * count if primitive.variadic else primitive.args
        return [Context(self.scope, self.grammar, sort) for sort in sorts]


def numbers(taps: Sequence[Node], here: Context) -> list[int]:
    """What taps are numbered by where they stand. ValueError for one that is not readable there."""
    try:
        return list(map(here.alphabet.places.__getitem__, taps))
    except KeyError as error:
        key = tuple(value for _, value in error.args[0].params)
        raise ValueError(f"tap {key} is not readable from bank {here.scope.bank!r}") from None


def tap_at(number: int, here: Context) -> Node:
    """The inverse of `numbers`, for one."""
    return tap(*here.alphabet.keys[number])


def moved(node: Node, dy: int, dx: int) -> Node:
    """A tap read further down and right."""
    bank, channel, down, right = (value for _, value in node.params)
    return tap(bank, channel, down + dy, right + dx)  # type: ignore[arg-type,operator]
