"""Fronts, choices and points as JSON: programs as text, floats exactly, no pickle."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from grammars.grammar import Grammar
from grammars.names import Names
from grammars.parser import parse_program
from grammars.program import Node
from grammars.text import format_program
from synth.assembly import LayerChoice, Status, UnitChoice
from synth.choice import Point
from synth.families.kin import Kin
from synth.fronts import Candidate
from synth.layers import Layer
from synth.packing import packed, unpacked


class Records:
    """Writes and reads records of one network, whose taps have `names`."""

    def __init__(self, names: Names, grammar: Grammar) -> None:
        self.names, self.grammar = names, grammar

    def text(self, program: Node) -> str:
        return format_program(program, self.names, self.grammar)

    def front(self, candidates: Sequence[Candidate]) -> bytes:
        """A unit's front; `read_front` gives it back."""
        return packed(self._rows(candidates))

    def read_front(self, payload: bytes) -> tuple[Candidate, ...]:
        return tuple(Candidate(**self._parsed(row)) for row in unpacked(payload))

    def kin(self, families: Sequence[Kin]) -> bytes:
        """Candidates of a layer's families; `read_kin` gives them back."""
        return packed([{str(c): self._rows(own) for c, own in f.items()} for f in families])

    def read_kin(self, payload: bytes) -> tuple[Kin, ...]:
        return tuple(
            {int(c): tuple(Candidate(**self._parsed(row)) for row in own) for c, own in f.items()}
            for f in unpacked(payload)
        )

    def point(self, point: Point) -> bytes:
        """A choice for all layers; `read_point` gives it back."""
        layers = {c.layer.name: [self.unit(u) for u in c.units] for c in point.choices}
        figures = {k: getattr(point, k) for k in ("multiplier", "bits", "kl", "agreement")}
        return packed(figures | {"layers": layers})

    def read_point(self, payload: bytes, layers: Sequence[Layer]) -> Point:
        record = unpacked(payload)
        choices = self.read_choices(record.pop("layers"), layers)
        return Point(**record, choices=choices)

    def unit(self, unit: UnitChoice) -> dict[str, Any]:
        """One unit's choice as a row."""
        text = None if unit.program is None else self.text(unit.program)
        return _figures(unit) | {"status": str(unit.status), "program": text}

    def read_choices(
        self, rows: dict[str, list[dict[str, Any]]], layers: Sequence[Layer]
    ) -> tuple[LayerChoice, ...]:
        """Choices from {layer: rows of `unit`}."""
        return tuple(
            LayerChoice(la, la.scope, tuple(self._unit(row) for row in rows[la.name]))
            for la in layers
        )

    def _rows(self, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
        return [_figures(c) | {"program": self.text(c.program)} for c in candidates]

    def _unit(self, row: dict[str, Any]) -> UnitChoice:
        parsed = self._parsed({k: row[k] for k in UnitChoice.__dataclass_fields__})
        parsed["status"] = Status(row["status"])
        for name in ("fvu_local", "fvu_in_situ"):  # JSON writes an infinite figure as null
            parsed[name] = math.inf if row[name] is None else row[name]
        return UnitChoice(**parsed)

    def _parsed(self, row: dict[str, Any]) -> dict[str, Any]:
        text = row["program"]
        program = None if text is None else parse_program(text, self.names, self.grammar)
        return row | {"program": program}


def _figures(row: Candidate | UnitChoice) -> dict[str, Any]:
    """The fields of a row, without a look into its program."""
    return {f.name: getattr(row, f.name) for f in fields(row)}
