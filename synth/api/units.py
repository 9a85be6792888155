"""A unit of a finished run, its candidates and its front."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from typing import Any, overload

from synth.api.html import code, pairs, table
from synth.errors import InputError
from synth.folder import Finished, Row
from synth.shown.tables import number, unit_rows


class Unknown(InputError, KeyError):
    """There is no layer, unit or candidate of this name; the near names are told."""


@dataclass(frozen=True)
class Candidate:
    """A program for a unit, as its front holds it.

    `program` is its text, under the names of the run. `bits` is its length in the stream;
    `fvu_fit` and `fvu_select` are fractions of variance unexplained; `worst` is the largest
    difference that was seen and `bound` the most that it can be over the envelope, both in the
    unit's own values, None where nothing is known. `engine` found it; `chosen` says whether the
    replacement network computes it.
    """

    program: str
    bits: int
    fvu_fit: float | None
    fvu_select: float | None
    worst: float | None
    bound: float | None
    engine: str
    chosen: bool

    def _repr_html_(self) -> str:
        return Front([self])._repr_html_() + code(self.program)


class Front(Sequence[Candidate]):
    """The candidates of a unit that no other beats in bits and error, from crude to exact.

    Empty for a unit that was not searched. The chosen program stands last if it is no candidate: it
    was re-fitted on the replaced sources, or is the constant of a unit that nothing depends on.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = tuple(candidates)

    @property
    def chosen(self) -> Candidate | None:
        """The program that the replacement computes; None for a unit that keeps its weights."""
        return next((c for c in self if c.chosen), None)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> "Front": ...
    def __getitem__(self, index: int | slice) -> "Candidate | Front":
        found = self._candidates[index]
        return Front(found) if isinstance(found, tuple) else found

    def __len__(self) -> int:
        return len(self._candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._candidates)

    def __repr__(self) -> str:
        return "\n".join(f"{'*' if c.chosen else ' '} {c.bits:>6} bits  {c.program}" for c in self)

    def _repr_html_(self) -> str:
        titles = ("", "bits", "FVU fit", "select", "worst", "bound", "engine", "program")
        return table(titles, map(_cells, self))


def _cells(one: Candidate) -> list[str]:
    figures = map(number, (one.fvu_fit, one.fvu_select, one.worst, one.bound))
    return ["*" if one.chosen else "", str(one.bits), *figures, one.engine, one.program]


@dataclass(frozen=True, eq=False)
class Unit:
    """A unit of a finished run; `row` is what programs.json says of it."""

    row: Row
    _run: Finished

    @property
    def name(self) -> str:
        """What programs call it, as `conv1_3` or `edge_45`."""
        return self.row["name"]

    @property
    def layer(self) -> str:
        """The layer that it belongs to."""
        return self.row["layer"]

    @property
    def channel(self) -> int:
        """Its place in the layer, from 0."""
        return self.row["channel"]

    @property
    def status(self) -> str:
        """program, rounded, ablated, inactive or opaque."""
        return self.row["status"]

    @property
    def program(self) -> str | None:
        """The chosen program as text; None if the unit keeps its weights."""
        return self.row["program"]

    @property
    def bits(self) -> int:
        """What it takes in the stream of the whole network's source."""
        return self.row["bits"]

    @property
    def fvu(self) -> float | None:
        """Fraction of variance unexplained on select, on the replaced sources; None if infinite."""
        return self.row["fvu_in_situ"]

    @property
    def verdict(self) -> str:
        """proved, refuted or unknown: what is known of |unit − program| ≤ ε over the envelope."""
        return self.row["verdict"]

    @property
    def epsilon(self) -> float:
        """ε of the claim, in the unit's own values, fixed before the search."""
        return float(Fraction(self.row["epsilon"]))

    @property
    def bound(self) -> float | None:
        """The largest |unit − program| that is possible over the envelope, if it is proved."""
        return self.row.get("bound")

    @cached_property
    def front(self) -> Front:
        """All its candidates. Raises InputError: a damaged store."""
        names = [f.name for f in fields(Candidate)]
        rows: list[dict[str, Any]] = self._run.front(self.row)
        return Front([Candidate(**{name: row[name] for name in names}) for row in rows])

    def __repr__(self) -> str:
        return f"<unit {self.name}: {self.status}, {self.bits} bits, {self.verdict}>"

    def _repr_html_(self) -> str:
        return pairs(unit_rows(self.row)) + self.front._repr_html_()
