"""Which units a unit's program reads, and which programs read it: through views as well."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from synth.folder import Finished

Row = Mapping[str, Any]
Channel = tuple[str, int]

_NUMBER = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"[^\W\d]\w*")


class Links:
    """The names of programs as units of a run."""

    def __init__(self, run: Finished) -> None:
        self.units = {(row["layer"], row["channel"]): row["name"] for row in run.rows}
        self.rows = run.claims
        self._banks = {bank["name"]: bank for bank in run.banks}
        self._called = {bank["called"]: bank["name"] for bank in run.banks if bank.get("called")}
        self._places = {name: place for place, name in self.units.items()}
        self._through: dict[Channel, tuple[str, ...]] = {}

    def names(self, program: str | None) -> dict[str, list[str]]:
        """The names in a program that stand for units, directly or through views, and which."""
        words = dict.fromkeys(_NAME.findall(program or ""))
        found = {word: list(self._units(place)) for word in words if (place := self._place(word))}
        return {word: units for word, units in found.items() if units}

    @cached_property
    def sources(self) -> dict[str, list[str]]:
        """The units that each program reads."""
        read = {row["name"]: self.names(row["program"]).values() for row in self.rows}
        return {name: _unique(units) for name, units in read.items()}

    @cached_property
    def consumers(self) -> dict[str, list[str]]:
        """The units and directions whose programs read each unit."""
        found: dict[str, list[str]] = {}
        for reader, sources in self.sources.items():
            for source in sources:
                found.setdefault(source, []).append(reader)
        return found

    def _place(self, word: str) -> Channel | None:
        """What a word of a program names: a unit by its own name, or a channel of a bank."""
        if word in self._places:
            return self._places[word]
        stem, _, number = word.rpartition("_")
        bank = self._called.get(stem)
        return (bank, int(number)) if bank and _NUMBER.fullmatch(number) else None

    def _units(self, place: Channel) -> tuple[str, ...]:
        """The units that a channel is made of; none where that cannot be said of one channel."""
        if place in self.units:
            return (self.units[place],)
        if place not in self._through:
            units = (unit for above in self._above(place) for unit in self._units(above))
            self._through[place] = tuple(dict.fromkeys(units))
        return self._through[place]

    def _above(self, place: Channel) -> Iterator[Channel]:
        """The channels that a channel of a view is made of."""
        bank, channel = place
        row = self._banks.get(bank, {})
        for source in row.get("reads", ()) if row.get("passes") else ():
            count = self._banks[source]["channels"]
            if 0 <= channel < count:
                yield source, channel
            channel -= count if row["passes"] == "joined" else 0


def _unique(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))
