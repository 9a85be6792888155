"""Families in `decompiled.py`: a function of what differs, called in loops or for rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from grammars.templates import Template
from synth.emission.layout import WIDTH, returned, unpack

Columns = Mapping[str, Sequence[str]]
Row = tuple[str, ...]


@dataclass(frozen=True)
class Loop:
    """Columns of a table that go together, by name, and the rows of their values."""

    names: tuple[str, ...]
    rows: tuple[Row, ...]

    def clause(self) -> list[str]:
        """`for … in …`, in as many lines as it takes."""
        values = [_tuple(row) if len(self.names) > 1 else row[0] for row in self.rows]
        head = f"for {', '.join(self.names)} in "
        line = f"        {head}({', '.join(values)}{',' * (len(values) == 1)})"
        if len(line) <= WIDTH:
            return [line]
        return [f"        {head}(", *(f"            {value}," for value in values), "        )"]


def loops_of(columns: Columns) -> tuple[list[Loop], list[int]]:
    """The loops that run through the rows of a table, and the rows as the loops come to them.

    Several where the table holds each combination of their rows once, and else one over all rows.
    """
    count = len(next(iter(columns.values())))
    loops = [_loop(names, columns) for names in _tied(columns)]
    ranks = [*zip(*(_ranks(loop, columns) for loop in loops), strict=True)]
    if prod(len(loop.rows) for loop in loops) == count == len(set(ranks)):
        return loops, sorted(range(count), key=ranks.__getitem__)
    names = tuple(columns)
    return [Loop(names, tuple(_rows(names, columns)))], list(range(count))


def family_text(function: str, template: Template, units: Sequence[str]) -> Iterator[str]:
    """The statements that compute some units, one for each row of the template's table."""
    loops, order = loops_of(template.columns)
    names = ", ".join(template.columns)
    yield f"    def {function}({names}):"
    yield returned(template.text, indent=8)
    yield ""
    yield unpack([units[i] for i in order], "(").removesuffix("(") + "("
    yield f"        {function}({names})"
    for loop in loops:
        yield from loop.clause()
    yield "    )"


def _tied(columns: Columns) -> list[tuple[str, ...]]:
    """Columns that one another decide, in groups; those of most values decide."""
    groups: list[list[str]] = []
    for name in sorted(columns, key=lambda name: -len(set(columns[name]))):
        for group in groups:
            if len(set(_rows(group, columns))) == len(set(_rows([*group, name], columns))):
                group.append(name)
                break
        else:
            groups.append([name])
    return [tuple(name for name in columns if name in group) for group in reversed(groups)]


def _loop(names: tuple[str, ...], columns: Columns) -> Loop:
    rows = dict.fromkeys(_rows(names, columns))
    return Loop(names, tuple(sorted(rows, key=lambda row: tuple(map(_by_size, row)))))


def _ranks(loop: Loop, columns: Columns) -> list[int]:
    places = {row: i for i, row in enumerate(loop.rows)}
    return [places[row] for row in _rows(loop.names, columns)]


def _rows(names: Sequence[str], columns: Columns) -> list[Row]:
    return [*zip(*(columns[name] for name in names), strict=True)]


def _by_size(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:  # the name of a source
        return 0.0, text


def _tuple(row: Row) -> str:
    return f"({', '.join(row)})"
