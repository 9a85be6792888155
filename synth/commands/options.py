"""Arguments and options that commands share; each means the same everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from synth.errors import InputError

FILE = click.Path(path_type=Path)

Command = Callable[..., Any]


def units_of(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """The units of the run that stands before, for a shell that completes."""
    from synth.folder import open_run

    try:
        found = open_run(context.params["folder"])
    except (InputError, KeyError, TypeError):  # a shell is told nothing, and no error
        return []
    names = (*found.layers, *(row["name"] for row in found.claims))
    return [CompletionItem(name) for name in names if name.startswith(typed)]


def run_argument(command: Command) -> Command:
    """RUN, the folder of a run."""
    return click.argument("folder", type=FILE, metavar="RUN")(command)


def unit_argument(*, required: bool = True) -> Callable[[Command], Command]:
    """UNIT, a name of `synth show`; shells complete it."""
    return click.argument("unit", required=required, shell_complete=units_of)


def config_option(command: Command) -> Command:
    """--config, for a run whose configuration has moved."""
    text = "The configuration, if it is not where it was."
    return click.option("--config", type=FILE, help=text)(command)


def json_option(command: Command) -> Command:
    """--json, with which one JSON document is all that standard output gets."""
    text = "One JSON document in place of text; see docs/commands.md."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)
