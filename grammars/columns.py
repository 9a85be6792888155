"""Columns of a table in a stream: what several programs have in one place, one value each.

A column of one value is written once. Others are listed, or numbered by a key: members that share a
value share it in other columns as well, as a wavelength does with the width of its gabor. Numbers
are written by the integers that they are on a scale (`grammars.scales`): by what they need in the
whole column, or by how far they are from a column before, as the parts of a mix are from each
other; or as a progression, so that a loop over eight angles costs its start and its step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grammars.codes import read_parameter, write_parameter
from grammars.primitive import Parameter, Real
from grammars.scales import ORDER, Grid, Habit, Scale, Whole, read_whole, write_whole
from grammars.stream import BitCounter, BitReader, BitWriter, width_of

SAME, RUN, KEYED, TIED, BESIDE = "0", "10", "110", "1110", "1111"
AROUND, LISTED, PROGRESSION = "0", "10", "11"
"""How a column is written, and how a run of numbers is."""

Key = tuple[int, ...]
"""For each member the number of its value among the values of a column."""
Way = Callable[[BitWriter], Any]


@dataclass(frozen=True)
class Kind:
    """How values of a column are written and read one by one, and the scale of those that are
    numbers."""

    write: Callable[[BitWriter, Any], None]
    read: Callable[[BitReader], Any]
    scale: Scale | None = None

    @staticmethod
    def of(spec: Parameter) -> "Kind":
        """A primitive's parameter."""
        return Kind(
            lambda out, value: write_parameter(out, spec, value),
            lambda source: read_parameter(source, spec),
            Grid(spec) if isinstance(spec, Real) else None,
        )


class Known:
    """What writer and reader both know of the columns so far: the keys, the integers of those of a
    scale, and the habit of each scale."""

    def __init__(self) -> None:
        self.keys = list[Key]()
        self._wholes, self._habits = dict[Scale, list[Whole]](), dict[Scale, Habit]()

    def add(self, values: Sequence[Any], kind: Kind) -> None:
        """A column after it was written or read."""
        if (key := _key(values, kind)) and key not in self.keys:
            self.keys.append(key)
        whole = _whole(values, kind)
        if kind.scale is not None and whole is not None and len(set(values)) > 1:
            self._wholes.setdefault(kind.scale, []).append(whole)
            self._habits[kind.scale] = whole.exponent, whole.code[1]

    def habit(self, scale: Scale) -> Habit:
        return self._habits.get(scale, (scale.start, ORDER))

    def wholes(self, scale: Scale | None) -> Sequence[Whole]:
        return self._wholes.get(scale, ()) if scale is not None else ()


class ColumnWriter:
    """Writes columns of one table, each in the shortest way."""

    def __init__(self, out: BitWriter) -> None:
        self.out, self.known = out, Known()

    def column(self, values: Sequence[Any], kind: Kind) -> None:
        """One value a member, of which there are at least two."""
        _shortest(self._ways(values, kind))(self.out)
        self.known.add(values, kind)

    def _ways(self, values: Sequence[Any], kind: Kind) -> Iterator[Way]:
        if len(set(values)) == 1:
            yield lambda out: (out.code(SAME), kind.write(out, values[0]))
            return
        yield lambda out: (out.code(RUN), self._run(out, values, kind))
        key, distinct = _key(values, kind), _distinct(values, kind)
        if key:
            yield lambda out: self._keyed(out, key, distinct, kind)
        for number, known in enumerate(self.known.keys):
            tied = _by_key(values, known)
            if tied is not None:
                yield self._tied(number, tied, kind)
        whole = _whole(values, kind)
        for number, other in enumerate(self.known.wholes(kind.scale) if whole else ()):
            yield self._beside(number, whole - other, kind)  # type: ignore[operator]

    def _tied(self, number: int, tied: Sequence[Any], kind: Kind) -> Way:
        def write(out: BitWriter) -> None:
            out.code(TIED)
            out.bits(number, width_of(len(self.known.keys)))
            self._run(out, tied, kind)

        return write

    def _keyed(self, out: BitWriter, key: Key, distinct: Sequence[Any], kind: Kind) -> None:
        out.code(KEYED)
        out.gamma(len(distinct) - 2)
        self._run(out, distinct, kind)
        for number in key:
            out.bits(number, width_of(len(distinct)))

    def _beside(self, number: int, apart: Whole, kind: Kind) -> Way:
        scale = kind.scale
        assert scale is not None  # it has columns before

        def write(out: BitWriter) -> None:
            out.code(BESIDE)
            out.bits(number, width_of(len(self.known.wholes(scale))))
            write_whole(out, scale.near(apart), self.known.habit(scale))

        return write

    def _run(self, out: BitWriter, values: Sequence[Any], kind: Kind) -> None:
        """Values one by one, or as integers of their scale."""
        if kind.scale is None:
            _listed(out, values, kind)
        else:
            _shortest(self._runs(values, kind, kind.scale))(out)

    def _runs(self, values: Sequence[Any], kind: Kind, scale: Scale) -> Iterator[Way]:
        yield lambda out: (out.code(LISTED), _listed(out, values, kind))
        whole = _whole(values, kind)
        if whole is None:
            return
        habit = self.known.habit(scale)
        yield lambda out: (out.code(AROUND), write_whole(out, whole, habit))
        loop = _loop(whole, scale)
        if loop is not None:
            yield lambda out: (out.code(PROGRESSION), write_whole(out, loop, habit))


class ColumnReader:
    """Reads the columns of one table of `members`: the mirror image of `ColumnWriter`."""

    def __init__(self, source: BitReader, members: int) -> None:
        self.source, self.members, self.known = source, members, Known()

    def column(self, kind: Kind) -> list[Any]:
        """One value a member."""
        values = self._values(kind)
        self.known.add(values, kind)
        return values

    def _values(self, kind: Kind) -> list[Any]:
        source = self.source
        match source.word({w: w for w in (SAME, RUN, KEYED, TIED, BESIDE)}):
            case "0":
                return [kind.read(source)] * self.members
            case "10":
                return self._run(self.members, kind)
            case "110":
                distinct = self._run(source.gamma() + 2, kind)
                width = width_of(len(distinct))
                return [distinct[source.bits(width)] for _ in range(self.members)]
            case "1110":
                key = self.known.keys[source.bits(width_of(len(self.known.keys)))]
                tied = self._run(max(key) + 1, kind)
                return [tied[number] for number in key]
        return self._beside(kind)

    def _beside(self, kind: Kind) -> list[Any]:
        scale, wholes = kind.scale, self.known.wholes(kind.scale)
        other = wholes[self.source.bits(width_of(len(wholes)))]
        assert scale is not None  # it has columns before
        apart = read_whole(self.source, self.members, self.known.habit(scale))
        return scale.values(other + apart)

    def _run(self, count: int, kind: Kind) -> list[Any]:
        scale, source = kind.scale, self.source
        form = (
            LISTED if scale is None else source.word({w: w for w in (AROUND, LISTED, PROGRESSION)})
        )
        if scale is None or form == LISTED:
            return [kind.read(source) for _ in range(count)]
        habit = self.known.habit(scale)
        if form == AROUND:
            return scale.values(read_whole(source, count, habit))
        loop = read_whole(source, 2, habit)
        first, step = loop.integers
        return scale.values(Whole(loop.exponent, tuple(first + i * step for i in range(count))))


def _listed(out: BitWriter, values: Sequence[Any], kind: Kind) -> None:
    for value in values:
        kind.write(out, value)


def _whole(values: Sequence[Any], kind: Kind) -> Whole | None:
    """The integers of numbers that need not be written one by one."""
    whole = kind.scale.whole(values) if kind.scale is not None else None
    return whole if whole is not None and whole.is_short else None


def _loop(whole: Whole, scale: Scale) -> Whole | None:
    """The start and the step of a progression, around the end of its grid where that has a
    period."""
    pairs = zip(whole.integers, whole.integers[1:], strict=False)
    steps = scale.near(Whole(whole.exponent, tuple(b - a for a, b in pairs)))
    first, step = whole.integers[0], steps.integers[0]
    if len(set(steps.integers)) > 1:
        return None
    return Whole(whole.exponent, (first, 0)) + Whole(steps.exponent, (0, step))


def _shortest(ways: Iterator[Way]) -> Way:
    return min(ways, key=_cost)


def _distinct(values: Sequence[Any], kind: Kind) -> list[Any]:
    """The values of a column: in order, those of a scale, and else as they come."""
    found = dict.fromkeys(values)
    return sorted(found) if kind.scale is not None else list(found)


def _key(values: Sequence[Any], kind: Kind) -> Key | None:
    """What numbers the members of a column of several values, but not one of its own for each."""
    distinct = {value: number for number, value in enumerate(_distinct(values, kind))}
    return tuple(distinct[v] for v in values) if 1 < len(distinct) < len(values) else None


def _by_key(values: Sequence[Any], key: Key) -> list[Any] | None:
    """The values by their numbers, if the key decides them."""
    found: dict[int, Any] = {}
    for number, value in zip(key, values, strict=True):
        if found.setdefault(number, value) != value:
            return None
    return [found[number] for number in range(len(found))]


def _cost(way: Way) -> int:
    counter = BitCounter()
    way(counter)
    return len(counter)
