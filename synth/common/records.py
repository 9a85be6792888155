"""Common values as figures and as rows of `programs.json`, and read back."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from grammars.coding import value_bits
from grammars.common import Common, numbers_read, spelled_out
from grammars.grammar import Grammar
from grammars.parser import parse_program
from grammars.program import Node
from grammars.scope import COMMON
from synth.assembly import LayerChoice, source_bits
from synth.records import Records

Row = dict[str, Any]


def common_figures(choices: Sequence[LayerChoice], grammar: Grammar) -> Row | None:
    """How many common values there are, how many units read them, and the bits that they save; None
    where nothing is shared."""
    sharing = [choice for choice in choices if choice.common.values]
    if not sharing:
        return None
    values = sum(len(choice.common.values) for choice in sharing)
    pairs = ((p, s) for c in sharing for p, s in zip(c.programs(), c.written(), strict=True))
    plain = [replace(choice, common=Common()) for choice in choices]
    saved = source_bits(plain, grammar) - source_bits(choices, grammar)
    return {"values": values, "units": sum(p != s for p, s in pairs), "bits_saved": saved}


def common_rows(choices: Sequence[LayerChoice], records: Records) -> Iterator[Row]:
    """A row for each common value: its layer and number there, what it is called and says, its bits
    and the units that read it, by its name or by another value's."""
    for choice in choices:
        bank, values = choice.layer.name, choice.common.values
        reads = [numbers_read(p, values, bank) for p in choice.written()] if values else []
        for number, value in enumerate(values):
            readers = [channel for channel, own in enumerate(reads) if number in own]
            scope = choice.scope.with_common(number)
            yield {
                "layer": bank,
                "number": number,
                "name": records.names.of(f"{bank}{COMMON}", number),
                "program": records.text(value),
                "bits": value_bits(value, scope, records.grammar),
                "units": [records.names.of(bank, channel) for channel in readers],
            }


def written_rows(choice: LayerChoice, records: Records) -> dict[int, Row]:
    """By channel what is written in the place of a unit's program, where that is not its text."""
    if not choice.common.values:
        return {}
    triples = zip(choice.units, choice.programs(), choice.written(), strict=True)
    return {u.channel: {"written": records.text(said)} for u, p, said in triples if p != said}


def names_in(rows: Sequence[Row]) -> dict[tuple[str, int], str]:
    """What common values are called, by bank and number."""
    return {(f"{row['layer']}{COMMON}", row["number"]): row["name"] for row in rows}


def read_common(
    choice: LayerChoice, units: Sequence[Row], common: Sequence[Row], records: Records
) -> LayerChoice:
    """A choice with the common values that stand in `common`, and are read in rows of `units`.

    Raises ValueError where what is written of a unit is not its program.
    """
    bank, written = choice.layer.name, dict[Node, Node]()
    values = [_parsed(row["program"], records) for row in common if row["layer"] == bank]
    for row in units:
        program, text = choice.units[row["channel"]].program, row.get("written")
        if text is None or program is None:
            continue
        written[program] = _parsed(text, records)
        try:
            (whole,) = spelled_out([written[program]], values, bank, records.grammar)
        except (ValueError, IndexError):
            whole = None
        if whole != program:
            raise ValueError(f"{text!r} is written of {row['name']}, and is not its program")
    return replace(choice, common=Common(tuple(values), written))


def _parsed(text: str, records: Records) -> Node:
    return parse_program(text, records.names, records.grammar)
