"""What a bank says: the values that have names, and what each unit says by these."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from grammars.coding import LayerSource, stream_bits, value_bits
from grammars.common import reading, referring
from grammars.grammar import Grammar
from grammars.program import Node
from grammars.scope import COMMON, Scope


@dataclass(frozen=True, eq=False)
class Said:
    """The texts of a bank that is written as `source` so far, by numbers: units by their channels,
    and value i, which reads no value behind it, as −1 − i."""

    source: LayerSource
    texts: Mapping[int, Node]
    grammar: Grammar

    @property
    def bank(self) -> str:
        return self.source.scope.bank

    @cached_property
    def values(self) -> tuple[Node, ...]:
        return tuple(self.texts[-1 - i] for i in range(sum(number < 0 for number in self.texts)))

    @cached_property
    def bits(self) -> int:
        """The length of the whole layer in the stream."""
        units = tuple(self.texts.get(c, unit) for c, unit in enumerate(self.source.units))
        source = replace(self.source, units=units, common=self.values)
        return stream_bits([source], self.grammar)

    def length(self, number: int) -> int:
        """The bits of one text."""
        common = len(self.values) if number >= 0 else -1 - number
        return value_bits(self.texts[number], self._scope(common), self.grammar)

    def cost(self, value: Node) -> int:
        """The bits of one more value behind the others."""
        return value_bits(value, self._scope(len(self.values)), self.grammar)

    def naming(self, value: Node, among: Collection[int]) -> "Said":
        """The same with a name for one more value, by which these texts read it.

        It stands before the first value among them, and so behind all that it reads itself.
        """
        place = self._place(among)
        name = reading(self.bank, place)
        texts = {-1 - place: value}
        for number, text in self.texts.items():
            moved = text if place == len(self.values) else self._moved(text, place)
            said = referring(moved, value, name, self.grammar) if number in among else moved
            texts[_behind(number, place)] = said
        return replace(self, texts=texts)

    def shorter(self, value: Node, among: Collection[int]) -> "tuple[int, Said]":
        """The bits that a name saves, read where a text gets shorter by it, and what is said
        then."""
        able = self._saved(self.naming(value, among), self._place(among), among)
        kept = [number for number, less in able.items() if less > 0]
        named = self.naming(value, kept)
        saved = self._saved(named, self._place(kept), kept)
        return sum(saved.values()) - self.cost(value), named

    def _saved(self, named: "Said", place: int, among: Collection[int]) -> dict[int, int]:
        return {n: self.length(n) - named.length(_behind(n, place)) for n in among}

    def _place(self, among: Collection[int]) -> int:
        """Where a value stands that is read by these texts."""
        return min((-1 - number for number in among if number < 0), default=len(self.values))

    def _moved(self, node: Node, place: int) -> Node:
        """A text when one more value stands at a place."""
        if node.op == "tap" and node["bank"] == f"{self.bank}{COMMON}":
            number = int(node["channel"])  # type: ignore[arg-type]
            return reading(self.bank, number + (number >= place))
        args = tuple(self._moved(arg, place) for arg in node.args)
        return Node(node.op, args, node.params) if args != node.args else node

    def _scope(self, common: int) -> Scope:
        return self._scopes.setdefault(common, self.source.scope.with_common(common))

    @cached_property
    def _scopes(self) -> dict[int, Scope]:
        """Scopes number what may be read, which takes time."""
        return {}


def _behind(number: int, place: int) -> int:
    """The number of a text when one more value stands at a place."""
    return number - (number <= -1 - place)
