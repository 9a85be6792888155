"""The command `synth tune`."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.commands.options import json_option, units_of
from synth.errors import InputError, Problems

if TYPE_CHECKING:
    from synth.folder import Finished
    from synth.job import Job
    from synth.stimuli.field import Field

FILE = click.Path(path_type=Path)

Asked = dict[str, list[int]]
"""The channels of each layer."""


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@click.argument("units", nargs=-1, metavar="[UNIT]...", shell_complete=units_of)
@click.option("--layer", "layers", metavar="NAME", multiple=True, help="Layer; may be repeated.")
@click.option("--colour", default="all", metavar="NAME", help="Axis of colour of the pictures.")
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@json_option
def tune(
    folder: Path,
    units: tuple[str, ...],
    layers: tuple[str, ...],
    colour: str,
    config: Path | None,
    as_json: bool,
) -> None:
    """Compare units and programs on synthetic pictures.

    Gratings, bars, edges, curves and spots at graded angles, sizes and positions; R² is of the
    program's responses to them against the unit's. UNIT is as in `synth show`; by default every
    layer that has a program. One unit is shown with its tuning curve. Writes tuning.json into RUN.
    """
    from synth.files import write_atomic
    from synth.folder import TUNING, open_run
    from synth.origin import job_of
    from synth.shown.tables import print_json
    from synth.shown.tune import print_tunings, print_unit_tuning

    found = open_run(folder)
    asked = _asked(found, units, layers)
    document: dict[str, Any] = {"colour": colour}
    document |= _tuned(job_of(found.folder, config), found, asked, colour)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(folder / TUNING, text)
    if as_json:
        print_json(document)
    elif len(document["units"]) == 1:
        print_unit_tuning(document["units"][0])
    else:
        print_tunings(document["units"])


def _asked(found: "Finished", units: Sequence[str], layers: Sequence[str]) -> Asked:
    """What to tune. Raises InputError: an unknown unit or layer, or a direction."""
    asked: Asked = {}
    with Problems() as problems:
        for text in (*layers, *units):
            what = problems.attempt(found.find, text)
            if isinstance(what, dict):
                asked.setdefault(what["layer"], []).append(what["channel"])
            elif what is not None:
                asked[what] = [row["channel"] for row in found.layers[what]]
        known = {row["layer"] for row in found.rows}
        for name in asked.keys() - known:
            problems.add(f"{name!r} is a bank of directions: tune takes units and layers.")
    return {name: sorted(set(channels)) for name, channels in asked.items()}


def _tuned(job: "Job", found: "Finished", asked: Asked, colour: str) -> dict[str, Any]:
    """What the pictures were, and the rows of all units asked for."""
    from synth.chain import load_choices
    from synth.stimuli.screen import screen_of
    from synth.threads import numeric_threads
    from synth.tuning import rows_of, tune

    choices, probes = load_choices(job, found.folder), job.parts.fit.inputs
    rows: list[dict[str, Any]] = []
    with numeric_threads(job.config.run.jobs):
        screen = screen_of(job.network, probes, colour=colour)
        asked = asked or _written(found, job)
        fields = _fields(job, asked)
        for name, channels in asked.items():
            known = {row["channel"]: row for row in found.layers[name]}
            spot = name, channels, fields[name]
            rows += rows_of(tune(job.network, choices, job.grammar, screen, *spot), known)
    return {"screen": screen.figures(), "units": rows}


def _fields(job: "Job", layers: Iterable[str]) -> "dict[str, Field]":
    """Where each layer looks. Raises InputError: those without space, all in one message."""
    from synth.stimuli.field import field_of

    with Problems() as problems:
        found = {
            name: problems.attempt(
                field_of, job.network, job.network.layer(name), job.parts.fit.inputs
            )
            for name in layers
        }
    return {name: field for name, field in found.items() if field}


def _written(found: "Finished", job: "Job") -> Asked:
    """Every layer that reads maps and has a program. Raises InputError where there is none."""
    asked: Asked = {}
    for layer in job.network.layers:
        rows = found.layers[layer.name]
        if layer.in_shape[1:] != (1, 1) and any(row["program"] for row in rows):
            asked[layer.name] = [row["channel"] for row in rows]
    if not asked:
        raise InputError(f"{found.folder} has no program in a layer that reads maps.")
    return asked
