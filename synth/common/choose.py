"""Which values of a bank get a name: the one that saves most bits, again and again."""

from collections.abc import Sequence
from dataclasses import replace

from grammars.coding import program_bits, value_bits
from grammars.common import Common, numbers_read
from grammars.grammar import Grammar
from synth.assembly import LayerChoice, source_bits
from synth.common.alike import alike
from synth.common.said import Said

TRIED = 128  # values that are priced for each that gets a name, those that could save most first


def with_common(choices: Sequence[LayerChoice], grammar: Grammar) -> tuple[LayerChoice, ...]:
    """The choices with common values where these make the whole source shorter, and else without.

    Programs are what they were; a unit's bits are then those of what is written in its place, and
    its share of the values that it reads.
    """
    plain = tuple(replace(choice, common=Common()) for choice in choices)
    found = tuple(replace(choice, common=common_of(choice, grammar)) for choice in plain)
    shared = any(choice.common.values for choice in found)
    if not shared or source_bits(found, grammar) >= source_bits(plain, grammar):
        return plain
    return tuple(_priced(choice, grammar) for choice in found)


def common_of(choice: LayerChoice, grammar: Grammar) -> Common:
    """The common values of one layer. Families have a table for what they share, and units of
    grouped layers read no input in common."""
    if choice.scope.groups > 1:
        return Common()
    together = {channel for family in choice.families for channel in family}
    programs = {u.channel: u.program for u in choice.units if u.channel not in together}
    programs = {channel: p for channel, p in programs.items() if p is not None}
    said = Said(choice.source(), programs, grammar)
    while (shorter := _shorter(said)) is not None:
        said = shorter
    pairs = ((program, said.texts[channel]) for channel, program in programs.items())
    return Common(said.values, {program: text for program, text in pairs if program != text})


def _shorter(said: Said) -> Said | None:
    """The same with a name for the value that saves most by itself; None where the layer does not
    get shorter by it: a name makes the numbers of all others longer."""
    able = [*alike(said.texts, said.bank, said.grammar)]
    most = [(len(one.texts) - 1) * said.cost(one.value) for one in able]  # but for once
    best, saved = said, 0
    for bound, one in sorted(zip(most, able, strict=True), key=lambda pair: -pair[0])[:TRIED]:
        if bound <= saved:
            break
        less, named = said.shorter(one.value, one.texts)
        if less > saved:
            best, saved = named, less
    return best if best is not said and best.bits < said.bits else None


def _priced(choice: LayerChoice, grammar: Grammar) -> LayerChoice:
    """The choice with the bits of its values shared among the units that read them."""
    name, values = choice.layer.name, choice.common.values
    if not values:
        return choice
    scope, said = choice.scope.with_common(len(values)), choice.written()
    together = {channel for family in choice.families for channel in family}
    alone = [u.channel for u in choice.units if u.program is not None and u.channel not in together]
    bits = {channel: program_bits(said[channel], scope, grammar) for channel in alone}
    reads = {channel: numbers_read(said[channel], values, name) for channel in alone}
    for number, value in enumerate(values):
        readers = [channel for channel in alone if number in reads[channel]]
        own = value_bits(value, choice.scope.with_common(number), grammar)
        for place, channel in enumerate(readers):
            bits[channel] += own // len(readers) + (place < own % len(readers))
    units = (replace(u, bits=bits.get(u.channel, u.bits)) for u in choice.units)
    return replace(choice, units=tuple(units))
