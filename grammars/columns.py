"""Columns of a table in a stream: what several programs have in one place, one value each.

A column of one value is written once. Others are listed, or numbered by a key: members that share a
value share it in other columns as well, as a wavelength does with the width of its gabor. Values on
a grid may be a progression: so a loop over eight angles costs its start and its step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from grammars.codes import read_integer, read_parameter, write_integer, write_parameter
from grammars.primitive import Parameter, Real
from grammars.stream import BitCounter, BitReader, BitWriter, width_of

SAME, LISTED, KEYED, TIED = "0", "10", "110", "111"
STEP = 2  # a step on a grid is an integer near 2^STEP

Key = tuple[int, ...]
"""For each member the number of its value among the values of a column."""


@dataclass(frozen=True)
class Kind:
    """How values of a column are written and read one by one, and the grid that they are on."""

    write: Callable[[BitWriter, Any], None]
    read: Callable[[BitReader], Any]
    grid: Real | None = None

    @staticmethod
    def of(spec: Parameter) -> "Kind":
        """A primitive's parameter."""
        return Kind(
            lambda out, value: write_parameter(out, spec, value),
            lambda source: read_parameter(source, spec),
            spec if isinstance(spec, Real) else None,
        )


class ColumnWriter:
    """Writes columns of one table, each in the shortest way; later ones may use earlier keys."""

    def __init__(self, out: BitWriter) -> None:
        self.out, self.keys = out, list[Key]()

    def column(self, values: Sequence[Any], kind: Kind) -> None:
        """One value a member, of which there are at least two."""
        ways = [*self._ways(values, kind)]
        costs = [_cost(way) for way in ways]
        ways[costs.index(min(costs))](self.out)
        if (key := _key(values, kind)) and key not in self.keys:
            self.keys.append(key)

    def _ways(self, values: Sequence[Any], kind: Kind):
        if len(set(values)) == 1:
            yield lambda out: (out.code(SAME), kind.write(out, values[0]))
            return
        yield lambda out: (out.code(LISTED), _write_run(out, values, kind))
        key, distinct = _key(values, kind), _distinct(values, kind)
        if key:
            yield lambda out: _write_keyed(out, key, distinct, kind)
        for number, known in enumerate(self.keys):
            tied = _by_key(values, known)
            if tied is not None:
                yield self._tied(number, tied, kind)

    def _tied(self, number: int, tied: Sequence[Any], kind: Kind) -> Callable[[BitWriter], Any]:
        def write(out: BitWriter) -> None:
            out.code(TIED)
            out.bits(number, width_of(len(self.keys)))
            _write_run(out, tied, kind)

        return write


class ColumnReader:
    """Reads the columns of one table of `members`: the mirror image of `ColumnWriter`."""

    def __init__(self, source: BitReader, members: int) -> None:
        self.source, self.members, self.keys = source, members, list[Key]()

    def column(self, kind: Kind) -> list[Any]:
        """One value a member."""
        values = self._values(kind)
        if (key := _key(values, kind)) and key not in self.keys:
            self.keys.append(key)
        return values

    def _values(self, kind: Kind) -> list[Any]:
        source = self.source
        match source.word({w: w for w in (SAME, LISTED, KEYED, TIED)}):
            case "0":
                return [kind.read(source)] * self.members
            case "10":
                return _read_run(source, self.members, kind)
            case "110":
                distinct = _read_run(source, source.gamma() + 2, kind)
                width = width_of(len(distinct))
                return [distinct[source.bits(width)] for _ in range(self.members)]
        key = self.keys[source.bits(width_of(len(self.keys)))]
        tied = _read_run(source, max(key) + 1, kind)
        return [tied[number] for number in key]


def _write_keyed(out: BitWriter, key: Key, distinct: Sequence[Any], kind: Kind) -> None:
    out.code(KEYED)
    out.gamma(len(distinct) - 2)
    _write_run(out, distinct, kind)
    for number in key:
        out.bits(number, width_of(len(distinct)))


def _write_run(out: BitWriter, values: Sequence[Any], kind: Kind) -> None:
    """Values one by one, or those of a grid as a progression, where that is shorter."""
    if kind.grid is None:
        for value in values:
            kind.write(out, value)
        return
    step = _step(values, kind.grid)
    ways: list[Callable[[BitWriter], None]] = [lambda o: [kind.write(o, v) for v in values]]  # type: ignore[list-item]
    if step is not None:
        ways.append(lambda o: (kind.write(o, values[0]), write_integer(o, step, STEP)))  # type: ignore[list-item]
    costs = [_cost(way) for way in ways]
    best = costs.index(min(costs))
    out.bits(best, 1)
    ways[best](out)


def _read_run(source: BitReader, count: int, kind: Kind) -> list[Any]:
    if kind.grid is None or not source.bits(1):
        return [kind.read(source) for _ in range(count)]
    first, step = kind.read(source), read_integer(source, STEP)
    start = kind.grid.index(first)
    assert start is not None  # a progression is of what is on the grid
    return [_at(kind.grid, start + i * step) for i in range(count)]


def _step(values: Sequence[Any], grid: Real) -> int | None:
    """The step of a progression on a grid, around its end where that has a period; None of none."""
    places = [grid.index(value) for value in values]
    first, second = places[:2]
    if first is None or second is None:
        return None
    steps = {second - first}
    if grid.period is not None:
        steps |= {second - first - grid.size, second - first + grid.size}
    able = (s for s in steps if all(_is_at(grid, first + i * s, v) for i, v in enumerate(values)))
    return min(able, key=abs, default=None)


def _is_at(grid: Real, place: int, value: float) -> bool:
    inside = grid.period is not None or 0 <= place < grid.size
    return inside and _at(grid, place) == value


def _at(grid: Real, place: int) -> float:
    return grid.value(place % grid.size if grid.period is not None else place)


def _distinct(values: Sequence[Any], kind: Kind) -> list[Any]:
    """The values of a column: in order, those of a grid, and else as they come."""
    found = dict.fromkeys(values)
    return sorted(found) if kind.grid is not None else list(found)


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


def _cost(way: Callable[[BitWriter], Any]) -> int:
    counter = BitCounter()
    way(counter)
    return len(counter)
