"""The command `synth edit`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.commands.options import config_option, json_option, run_argument, unit_argument
from synth.errors import InputError

if TYPE_CHECKING:
    from synth.folder import Finished

Row = dict[str, Any]

TYPED = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""A program may begin with a minus."""


@click.command(context_settings=TYPED)
@run_argument
@unit_argument()
@click.argument("program", required=False)
@click.option("--remove", is_flag=True, help="Take away what was written for the unit.")
@config_option
@json_option
def edit(
    folder: Path, unit: str, program: str | None, remove: bool, config: Path | None, as_json: bool
) -> None:
    """Write a program for a unit by hand.

    PROGRAM is text in the run's names and grammar, as 'relu(0.5*fc1_3 - 0.25)'. It is measured on
    select and on held-out, alone and in situ, proved or refuted within the run's ε, and kept in
    RUN/edits.json, apart from what was searched. `synth show` lists it beside the other candidates,
    and `synth assemble` may take it, or with --hand takes it wherever it holds.

    Exit 0 if it passes as a chosen program must, 1 if it does not.
    """
    from synth.folder import open_run
    from synth.shown.edit import print_edit
    from synth.shown.tables import print_json

    if remove == (program is not None):
        raise InputError("give the text of a program, or --remove, and not both.")
    found = open_run(folder)
    row = found.unit(unit)
    if program is None:
        _remove(found, row, as_json)
        return
    written = _written(found, row, program, config)
    front = found.front(row)
    document = {k: row[k] for k in ("name", "layer", "channel")} | written | {"front": front}
    print_json(document) if as_json else print_edit(row, written, front)
    sys.exit(0 if written["beside"]["passes"] else 1)


def _remove(found: "Finished", row: Row, as_json: bool) -> None:
    from synth.by_hand.edits import forget
    from synth.folder import unit_label
    from synth.leftovers import working
    from synth.shown.tables import print_json

    with working(found.folder):
        count = forget(found.folder, unit_label(row))
    if as_json:
        print_json({"name": row["name"], "removed": count})
    else:
        click.echo(f"{row['name']}: {count} removed that were written by hand")


def _written(found: "Finished", row: Row, text: str, config: Path | None) -> Row:
    """The program as it is kept, in the names of the run. Raises InputError: all that is wrong."""
    from synth.by_hand.editing import Edit
    from synth.by_hand.edits import keep
    from synth.by_hand.parsing import Typed
    from synth.chain import load_choices
    from synth.folder import unit_label
    from synth.leftovers import working
    from synth.origin import job_of
    from synth.threads import numeric_threads

    layer, channel = row["layer"], row["channel"]
    _check_searched(found, layer)
    job = job_of(found.folder, config)
    choices = load_choices(job, found.folder)
    records = job.named({(r["layer"], r["channel"]): r["name"] for r in found.rows})
    own = next(c for c in choices if c.layer.name == layer)
    program = Typed(text, own, channel, records.names, job.grammar).program()
    with numeric_threads(job.config.run.jobs):
        beside = found.summary["bits_opaque_nodes"]
        kept = Edit(job, choices, layer, channel, program, beside).row()
    with working(found.folder):
        keep(found.folder, unit_label(row), kept)
    return kept | {"program": records.text(program)}


def _check_searched(found: "Finished", layer: str) -> None:
    """Raises InputError: nothing is known of a layer, so that no choice can take its programs."""
    from synth.store import Store

    with Store(found.folder, create=False) as store:
        if layer not in store.layers():
            raise InputError(
                f"layer {layer!r} was not searched: run it first, by the same command with "
                f"--layer {layer}."
            )
