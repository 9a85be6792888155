"""Families of a layer: the one program that their units are, and the loop that runs through it."""

from collections.abc import Mapping, Sequence
from textwrap import dedent
from typing import Any

from grammars.templates import template_of
from synth.emission.loops import family_text
from synth.reread import Reread

Row = Mapping[str, Any]


def family_cards(rows: Sequence[Row], programs: Reread | None) -> list[dict[str, Any]]:
    """A card for each family: its number, its members in order, their bits together, and `text`,
    how `decompiled.py` would run through it; None where the programs cannot be read."""
    members: dict[int, list[Row]] = {}
    for row in rows:
        if row.get("family") is not None:
            members.setdefault(row["family"], []).append(row)
    return [_card(number, own, programs) for number, own in sorted(members.items())]


def _card(number: int, rows: Sequence[Row], programs: Reread | None) -> dict[str, Any]:
    names = [row["name"] for row in rows]
    card: dict[str, Any] = {"number": number, "members": names}
    card["bits"] = sum(row["bits"] for row in rows)
    return card | _told(names, [row["channel"] for row in rows], programs)


def _told(names: Sequence[str], channels: Sequence[int], programs: Reread | None) -> dict[str, Any]:
    """The loop, and the table of what differs."""
    nothing = {"text": None, "columns": {}}
    if programs is None:
        return nothing
    try:
        nodes = [programs.program(channel) for channel in channels]
        template = template_of(nodes, programs.names, programs.grammar)
    except (ValueError, KeyError, TypeError, AttributeError):  # an edited file
        return nothing
    if not template.columns:
        return nothing
    text = "\n".join(family_text(f"like_{names[0]}", template, names))
    columns = {name: list(values) for name, values in template.columns.items()}
    return {"text": dedent(text), "columns": columns}
