"""What a program may read: the columns of its layer, then its siblings; and where taps stand among
them, by number."""

from dataclasses import dataclass, replace
from functools import cached_property

from grammars.program import PRE, Node, bank, tap

Column = tuple[str, int, int, int]

COMMON = ":common"
"""Suffix of the bank of a layer's common values (`grammars.common`)."""


@dataclass(frozen=True)
class Scope:
    """What a unit's program may read: its layer's columns, then its siblings, before heads too.

    `columns` are (bank, channel, dy, dx) in the order of the layer's patches; `bank` is the layer's
    own and has `channels` units. In a layer of several `groups` a unit reads the columns of its
    group alone (`of`), and what it says is written in that narrower scope. So many `common` values
    may be read as well, which stand behind the columns: a sum comes to them from its last tap.
    """

    bank: str
    channels: int
    columns: tuple[Column, ...]
    groups: int = 1
    common: int = 0

    def of(self, channel: int) -> "Scope":
        """What unit `channel` may read."""
        return self._parts[channel * self.groups // self.channels]

    def with_common(self, common: int) -> "Scope":
        """The same with so many common values."""
        return self if common == self.common else replace(self, common=common)

    @cached_property
    def _parts(self) -> tuple["Scope", ...]:
        if self.groups == 1:
            return (self,)
        size = len(self.columns) // self.groups
        cuts = (slice(g * size, (g + 1) * size) for g in range(self.groups))
        return tuple(Scope(self.bank, self.channels, self.columns[cut]) for cut in cuts)

    @cached_property
    def banks(self) -> tuple[Node, ...]:
        """The banks of which every channel is readable."""
        channels: dict[str, set[int]] = {}
        for name, channel, _, _ in self.columns:
            channels.setdefault(name, set()).add(channel)
        return tuple(bank(n, len(c)) for n, c in channels.items() if max(c) == len(c) - 1)

    @cached_property
    def positions(self) -> "Alphabet":
        """What taps of a sum at the position itself are numbered by: columns, then siblings."""
        return Alphabet(self.keys, len(self.columns))

    @cached_property
    def sources(self) -> "Alphabet":
        """What taps that are read at offsets are numbered by: channels, then siblings."""
        channels = tuple(dict.fromkeys((b, c, 0, 0) for b, c, _, _ in self.columns))
        siblings = self.keys[len(self.columns) + self.common :]
        return Alphabet((*channels, *siblings), len(channels))

    @cached_property
    def taps(self) -> tuple[Node, ...]:
        """A tap for each column; programs share them."""
        return tuple(tap(*column) for column in self.columns)

    @cached_property
    def index(self) -> dict[Column, int]:
        """The position of every readable tap."""
        own = [(b, c, 0, 0) for b in (self.bank, f"{self.bank}{PRE}") for c in range(self.channels)]
        common = [(f"{self.bank}{COMMON}", i, 0, 0) for i in range(self.common)]
        return {key: i for i, key in enumerate((*self.columns, *common, *own))}

    @cached_property
    def keys(self) -> tuple[Column, ...]:
        return tuple(self.index)


@dataclass(frozen=True, eq=False)
class Alphabet:
    """Taps by number; the first `size` of them are what a dense row has."""

    keys: tuple[Column, ...]
    size: int

    @cached_property
    def places(self) -> dict[Node, int]:
        """The number of every tap; programs share taps, so they are found fast."""
        return {tap(*key): i for i, key in enumerate(self.keys)}

    @property
    def width(self) -> int:
        """Bits that name one of them."""
        return max(len(self.keys) - 1, 0).bit_length()


@dataclass(frozen=True)
class Opaque:
    """A unit that keeps its weights: float32 numbers, 32 bits each."""

    weights: tuple[float, ...]
    bias: float
