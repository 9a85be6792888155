"""The command `synth diff`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from synth.commands.options import FILE, json_option
from synth.errors import Problems

Row = Mapping[str, Any]

SHOWN = ("bits", "fvu_in_situ", "status", "verdict")  # columns of the table, beside the program


@click.command()
@click.argument("first", type=FILE, metavar="RUN_A")
@click.argument("second", type=FILE, metavar="RUN_B")
@json_option
def diff(first: Path, second: Path, as_json: bool) -> None:
    """Show what changed from one run to another.

    Figures of held-out, and each unit whose text, bits, FVU, status or claim is not the same.
    Exit 0 if nothing is different, 1 if something is.
    """
    from synth.diff import difference, differs
    from synth.folder import open_run
    from synth.shown.tables import print_json

    with Problems() as problems:
        runs = [problems.attempt(open_run, folder) for folder in (first, second)]
    a, b = runs
    assert a is not None and b is not None
    found = difference(a, b)
    print_json(found) if as_json else _print(found)
    sys.exit(int(differs(found)))


def _print(found: Row) -> None:
    from synth.shown.tables import print_lines, print_pairs

    title = f"{found['before']} → {found['after']}"
    print_pairs({"": title} | {k: _arrow(pair) for k, pair in found["figures"].items()})
    rows = [line for unit in found["units"] for line in _lines(unit)]
    if rows:
        print_lines(rows, ("unit", *SHOWN, "program"), title=f"{len(found['units'])} units differ")
    click.echo(f"{found['same']} units are the same.")
    for where in ("before", "after"):
        if others := found[f"only_{where}"]:
            click.echo(f"Only in {found[where]}: {', '.join(others)}.")


def _lines(unit: Row) -> list[list[str]]:
    """A unit before and after, with a column for each figure that changed."""
    changes = unit["changes"]
    texts = changes.get("program", ["as before", "as before"])
    lines = []
    for side, sign in enumerate("-+"):
        cells = [_said(changes[key][side]) if key in changes else "" for key in SHOWN]
        lines.append([f"{sign} {unit['name']}", *cells, texts[side] or "its own weights"])
    return lines


def _arrow(pair: Row | list[Any]) -> str:
    return " → ".join(map(_said, pair))


def _said(value: Any) -> str:
    from synth.shown.tables import number

    return number(value, 4) if isinstance(value, float) or value is None else str(value)
