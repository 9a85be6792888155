"""A program as a user types it for a unit: parsed, and held to what the unit can see.

All problems are told with the text and a caret under the part that is wrong.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from grammars.canonical import canonical
from grammars.compiled import compile_bank
from grammars.grammar import Grammar
from grammars.names import Names
from grammars.parser import ParseError, parse_program
from grammars.program import PRE, Node, leaves
from grammars.siblings import expand, references
from synth.assembly import LayerChoice, source_index
from synth.errors import InputError, Problems, listing

WIDEST = 100  # characters of a line that are shown
Place = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Typed:
    """A text for unit `channel` of a layer whose units are chosen; `names` are those of the run."""

    text: str
    choice: LayerChoice
    channel: int
    names: Names
    grammar: Grammar

    def program(self) -> Node:
        """The program in canonical form. Raises InputError with all that is wrong with it."""
        try:
            program = parse_program(self.text, self.names, self.grammar)
        except ParseError as error:
            message = str(error).partition("\n")[0].replace(" (<unknown>, line 1)", "")
            raise InputError(f"{message}\n{shown(self.text.strip(), error.place)}") from None
        with Problems() as problems:
            problems.add(*self._unseen(program), *self._knots(program))
        self._check_window(program)
        return canonical(program, self.grammar)

    @property
    def _called(self) -> str:
        return self.names.of(self.choice.layer.name, self.channel)

    def _unseen(self, program: Node) -> Iterator[str]:
        """What a program reads that the unit does not see."""
        layer = self.choice.layer
        scope = layer.scope.of(self.channel)
        channels = {(bank, channel) for bank, channel, _, _ in scope.index}
        banks = {str(bank["name"]) for bank in scope.banks}
        strange = []
        for leaf in sorted(leaves([program]), key=repr):
            if leaf.op == "bank" and leaf["name"] not in banks:
                strange.append(self.names.of_bank(leaf))
            elif leaf.op == "tap" and (leaf["bank"], leaf["channel"]) not in channels:
                strange.append(self.names.of_tap(leaf))
        if not strange:
            return
        seen = list(dict.fromkeys(self.names.of(b, c) for b, c, _, _ in scope.columns))
        others = f", and its siblings in {layer.name}" if layer.units > 1 else ""
        yield (
            f"{self._called} does not see {listing(dict.fromkeys(strange))}: what it sees is "
            f"{listing(seen, limit=8)}{others}.\n{self._under(strange[0])}"
        )

    def _knots(self, program: Node) -> Iterator[str]:
        """References to siblings that cannot be followed: only one step is."""
        bank = self.choice.layer.name
        own, programs = references(program, bank), self.choice.programs()
        if self.channel in own:
            yield f"{self._called} cannot read itself.\n{self._under(self._called)}"
        for other in own:
            if other != self.channel and references(programs[other], bank):
                name = self.names.of(bank, other)
                yield (
                    f"{name} is itself written by a sibling, and only one step is followed: "
                    f"read that one.\n{self._under(name)}"
                )
        readers = [c for c, p in enumerate(programs) if self.channel in references(p, bank)]
        if own and readers:
            who = listing(self.names.of(bank, c) for c in readers)
            yield f"{who} in the run is written by {self._called}, which may thus read no sibling."

    def _check_window(self, program: Node) -> None:
        """Raises InputError: a place beside the unit's window, or a sibling away from its own."""
        bank, scope = self.choice.layer.name, self.choice.layer.scope.of(self.channel)
        own = (bank, f"{bank}{PRE}")
        moved = [leaf for leaf in leaves([program]) if leaf.op == "tap" and _is_moved(leaf)]
        if any(leaf["bank"] in own for leaf in moved):
            raise InputError(f"a sibling of {self._called} can be read at its own place alone.")
        try:
            plain = expand(program, bank, self.choice.programs().__getitem__, self.grammar)
            compile_bank([plain], source_index(scope), self.grammar)
        except KeyError:
            rows, columns = zip(*((dy, dx) for _, _, dy, dx in scope.columns), strict=True)
            raise InputError(
                f"the program reads beside the window of {self._called}, which has rows "
                f"dy = {_range(rows)} and columns dx = {_range(columns)}."
            ) from None
        except ValueError as error:
            raise InputError(f"{self._called}: {error}") from None

    def _under(self, name: str) -> str:
        """The text with a caret under a name."""
        text = self.text.strip()
        found = re.search(rf"\b{re.escape(name)}\b", text)
        if found is None:
            return shown(text, None)
        row, start = text.count("\n", 0, found.start()), text.rfind("\n", 0, found.start()) + 1
        return shown(text, (row, found.start() - start, found.end() - start))


def shown(text: str, place: Place | None) -> str:
    """A text with carets under a place, cut around it where a line is long."""
    if place is None:
        return _cut(text.split("\n")[0], 0)[0]
    row, first, last = place
    line, start = _cut(text.split("\n")[row], first)
    under = " " * (first - start) + "^" * max(1, min(last, start + len(line)) - first)
    return f"{line}\n{under}"


def _cut(line: str, first: int) -> tuple[str, int]:
    """At most WIDEST characters of a line, `first` among them, and where they begin."""
    start = 0 if first < WIDEST - 20 else first - WIDEST // 2
    return line[start : start + WIDEST], start


def _is_moved(leaf: Node) -> bool:
    return bool(leaf["dy"] or leaf["dx"])


def _range(values: tuple[int, ...]) -> str:
    return f"{min(values)} … {max(values)}"
