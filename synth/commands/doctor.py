"""The command `synth doctor`."""

import sys
from dataclasses import asdict

import click

from synth.commands.options import json_option

TITLES = ("what", "name", "state", "found, or what to do")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what is installed, and what is missing for what.

    A line for Python and each package, for each device, engine and extra. Exit 0 if all that every
    run needs is there, 1 if something of it is missing or too old.
    """
    from synth.doctor import OK, parts
    from synth.shown.tables import print_json, print_lines

    found = list(parts())
    well = all(part.state == OK for part in found if part.needed)
    if as_json:
        print_json({"well": well, "parts": [asdict(part) for part in found]})
    else:
        lines = [[p.kind, p.name, p.state, p.advice or p.found] for p in found]
        print_lines(lines, TITLES)
    sys.exit(int(not well))
