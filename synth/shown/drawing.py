"""Kernels in the terminal: unit, program and difference side by side, on one scale.

A weight is a number from −9 to 9, of the largest of them, so that it can be read without colours
too.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from synth.shown.tables import number, print_text, width

if TYPE_CHECKING:
    from synth.folder import Finished

Row = Mapping[str, Any]

KINDS = ("unit", "program", "difference")
MOST = 9  # what the largest weight is shown as
SHOWN = 3  # channels of a kernel: those of the largest weights
CELL = 3  # characters of a weight
GAP = 3  # between kernels


def kernels_of(run: "Finished", row: Row) -> dict[str, Any] | None:
    """The kernels of a unit that reads maps through a window of several places, else None.

    As in the report: `unit`, `program` (None where it is not one sum under a head) and `difference`
    are levels of −127 to 127, channel by channel, and `scale` is the weight of the largest.
    """
    from synth.report.weights import drawn, weights_of
    from synth.reread import reread

    weight = weights_of(run, row["layer"])
    if weight is None:
        return None
    return drawn(weight, row["channel"], reread(run, row["layer"]), row["program"] is not None)


def print_kernels(kernels: Row) -> None:
    """Those of the channels with the largest weights, behind what stands before."""
    print_text(Text("\n").append_text(drawing(kernels, width())))


def drawing(kernels: Row, columns: int) -> Text:
    """The same, at most so many `columns` wide where kernels fit one below another."""
    kinds = [kind for kind in KINDS if kernels[kind] is not None]
    side = CELL * kernels["columns"]
    beside = len(kinds) * (side + GAP) <= columns
    shown = _strongest(kernels)
    lines = [Text(_title(kernels, len(shown)), "bold"), Text()]
    for group in [kinds] if beside else [[kind] for kind in kinds]:
        space = " " * GAP
        lines.append(Text(space.join(kind.ljust(side) for kind in group).rstrip()))
        for place in shown:
            pictures = [_picture(kernels, kind, place) for kind in group]
            lines += [Text(space).join(row) for row in zip(*pictures, strict=True)]
            lines.append(Text())
    return Text("\n").join(lines[:-1])


def _title(kernels: Row, shown: int) -> str:
    of = kernels["of"]
    which = "" if of == 1 else f", {shown} of {of} channels" if shown < of else f", {of} channels"
    without = "" if kernels["program"] is not None else "; the program is not one sum under a head"
    return f"kernels{which}: 9 is {number(kernels['scale'])}{without}"


def _strongest(kernels: Row) -> list[int]:
    """The places, among the channels that are given, of those with the largest weights."""
    size = kernels["rows"] * kernels["columns"]
    pairs = [kernels[kind] for kind in ("unit", "program") if kernels[kind] is not None]

    def largest(place: int) -> int:
        part = slice(place * size, (place + 1) * size)
        return max(abs(level) for levels in pairs for level in levels[part])

    places = range(len(kernels["channels"]))
    return sorted(sorted(places, key=largest, reverse=True)[:SHOWN])


def _picture(kernels: Row, kind: str, place: int) -> list[Text]:
    """One channel of one kernel, row by row."""
    columns, rows = kernels["columns"], kernels["rows"]
    start = place * rows * columns
    levels: Sequence[int] = kernels[kind][start : start + rows * columns]
    return [_line(levels[i : i + columns]) for i in range(0, len(levels), columns)]


def _line(levels: Sequence[int]) -> Text:
    line = Text()
    for level in levels:
        value = round(MOST * level / 127)
        line.append(f"{value or '·':>{CELL}}", _style(value))
    return line


def _style(value: int) -> str:
    """Red above zero and blue below, the stronger the farther from it."""
    if not value:
        return ""
    rest = 255 - 20 * abs(value)
    return f"black on rgb(255,{rest},{rest})" if value > 0 else f"black on rgb({rest},{rest},255)"
