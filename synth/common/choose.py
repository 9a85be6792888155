"""Which values of a bank get a name: the one that saves most bits, again and again."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from grammars.coding import LayerSource, program_bits, stream_bits, value_bits
from grammars.common import Common, reading, referring, spelled_out
from grammars.grammar import Grammar
from grammars.program import Node
from grammars.scope import COMMON, Scope
from grammars.siblings import references
from synth.assembly import LayerChoice, source_bits
from synth.common.alike import Alike, alike

TRIED = 128  # values that are priced for each that gets a name, those that could save most first

Written = dict[int, Node]
"""What each unit says, by its channel."""


def with_common(choices: Sequence[LayerChoice], grammar: Grammar) -> tuple[LayerChoice, ...]:
    """The choices with common values where these make the whole source shorter, and else without.

    Programs are what they were; a unit's bits are then those of what is written in its place, and
    its share of the values that it reads.
    """
    plain = tuple(replace(choice, common=Common()) for choice in choices)
    found = tuple(replace(choice, common=common_of(choice, grammar)) for choice in plain)
    if source_bits(found, grammar) >= source_bits(plain, grammar):
        return plain
    return tuple(_priced(choice, grammar) for choice in found)


def common_of(choice: LayerChoice, grammar: Grammar) -> Common:
    """The common values of one layer. Families have a table for what they share, and units of
    grouped layers read no input in common."""
    if choice.scope.groups > 1:
        return Common()
    bank = _Bank(choice, grammar)
    while (found := bank.best()) is not None and bank.is_shorter(*found):
        bank.take(*found)
    pairs = ((choice.units[c].program, said) for c, said in bank.written.items())
    written = {program: said for program, said in pairs if program is not None and program != said}
    return Common(tuple(bank.values), written)


@dataclass(eq=False)
class _Bank:
    """A bank whose values get their names one by one; the scopes are those of so many names."""

    choice: LayerChoice
    grammar: Grammar
    values: list[Node] = field(default_factory=list)
    written: Written = field(default_factory=dict)
    scopes: dict[int, Scope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        together = {channel for family in self.choice.families for channel in family}
        programs = ((unit.channel, unit.program) for unit in self.choice.units)
        self.written = {c: p for c, p in programs if p is not None and c not in together}

    @cached_property
    def plain(self) -> LayerSource:
        """The layer without names."""
        return self.choice.source()

    def best(self) -> tuple[Node, Written] | None:
        """The value that saves most by itself, and what those units say that are shorter by it."""
        able = alike(self.written, self.choice.layer.name, self.grammar)
        rated = sorted(((self._most(one), one) for one in able), key=lambda pair: -pair[0])
        best, saved = None, 0
        for most, one in rated[:TRIED]:
            if most <= saved:
                break
            less, shorter = self._saving(one)
            if less > saved:
                best, saved = (one.value, shorter), less
        return best

    def is_shorter(self, value: Node, shorter: Written) -> bool:
        """Whether the whole layer is, though a name makes the numbers of all others longer."""
        after = self._bits([*self.values, value], self.written | shorter)
        return after < self._bits(self.values, self.written)

    def take(self, value: Node, shorter: Written) -> None:
        self.values.append(value)
        self.written |= shorter

    def _most(self, one: Alike) -> int:
        """What a name could save: all that the value takes, but for once."""
        return (len(one.units) - 1) * value_bits(one.value, self._scope(0), self.grammar)

    def _saving(self, one: Alike) -> tuple[int, Written]:
        shorter: Written = {}
        saved = -value_bits(one.value, self._scope(0), self.grammar)
        name = reading(self.choice.layer.name, len(self.values))
        for channel in one.units:
            before = self.written[channel]
            after = referring(before, one.value, name, self.grammar)
            less = program_bits(before, self._scope(0), self.grammar)
            less -= program_bits(after, self._scope(1), self.grammar)
            if less > 0 and self._is_same(channel, after, one.value):
                saved, shorter[channel] = saved + less, after
        return saved, shorter

    def _is_same(self, channel: int, said: Node, value: Node) -> bool:
        """Whether it says what the unit's program does, number by number."""
        values = [*self.values, value]
        (whole,) = spelled_out([said], values, self.choice.layer.name, self.grammar)
        return whole == self.choice.units[channel].program

    def _scope(self, more: int) -> Scope:
        """What may be read when so many more values have names; its numbers are found once."""
        common = len(self.values) + more
        return self.scopes.setdefault(common, self.choice.scope.with_common(common))

    def _bits(self, values: Sequence[Node], written: Written) -> int:
        units = tuple(written.get(c, unit) for c, unit in enumerate(self.plain.units))
        source = replace(self.plain, units=units, common=tuple(values))
        return stream_bits([source], self.grammar)


def _priced(choice: LayerChoice, grammar: Grammar) -> LayerChoice:
    """The choice with the bits of its values shared among the units that read them."""
    name, values = choice.layer.name, choice.common.values
    if not values:
        return choice
    scope, said = choice.scope.with_common(len(values)), choice.written()
    together = {channel for family in choice.families for channel in family}
    alone = [u.channel for u in choice.units if u.program is not None and u.channel not in together]
    bits = {channel: program_bits(said[channel], scope, grammar) for channel in alone}
    for number, value in enumerate(values):
        readers = [c for c in alone if number in references(said[c], f"{name}{COMMON}")]
        own = value_bits(value, choice.scope.with_common(number), grammar)
        for place, channel in enumerate(readers):
            bits[channel] += own // len(readers) + (place < own % len(readers))
    units = (replace(u, bits=bits.get(u.channel, u.bits)) for u in choice.units)
    return replace(choice, units=tuple(units))
