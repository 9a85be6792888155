"""The command `synth validate`."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.commands.options import json_option

if TYPE_CHECKING:
    from synth.assembly import LayerChoice
    from synth.job import Job

FILE = click.Path(path_type=Path)
TINY = 1e-6  # below it, two figures of one replacement are the same
_COMPARED = ("accuracy_original", "accuracy_replaced", "agreement", "kl_mean")


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@click.option("--full", is_flag=True, help="Also where, and under what, the answers differ.")
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@json_option
def validate(folder: Path, full: bool, config: Path | None, as_json: bool) -> None:
    """Judge a run on held-out once more.

    With --full also by class, the answers that change and the worst probes; on probes with noise,
    blur and less contrast; with a random half of the units replaced; and with units ablated and
    rescaled in both networks alike: R² is of how the outputs move. Writes behaviour.json into RUN.
    Exit 0 if its programs are drop-in, as summary.json says.
    """
    from synth.behaviour.display import print_behaviour
    from synth.chain import load_choices, validate_again
    from synth.folder import open_run
    from synth.origin import job_of
    from synth.shown.tables import print_json, print_validation

    found = open_run(folder)
    job = job_of(found.folder, config)
    choices = load_choices(job, folder)
    again = asdict(validate_again(job, choices))
    behaviour = _behaviour(job, choices, folder) if full else None
    if as_json:
        del again["units"]
        print_json(again if behaviour is None else {**again, "behaviour": behaviour})
    else:
        print_validation(again)
        if behaviour is not None:
            print_behaviour(behaviour)
    other = _other(again, found.summary)
    sys.exit(int(again["verdict"] != "drop-in" or bool(other)))


def _behaviour(job: "Job", choices: Sequence["LayerChoice"], folder: Path) -> dict[str, Any]:
    """What `--full` is for, written into the folder as well."""
    from synth.behaviour.report import Examination
    from synth.files import write_atomic
    from synth.folder import BEHAVIOUR
    from synth.threads import numeric_threads

    with numeric_threads(job.config.run.jobs):
        document = Examination(job, choices).document()
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(folder / BEHAVIOUR, text)
    return document


def _other(again: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """The figures that are not as summary.json says; each is told."""
    other = [key for key in _COMPARED if not _same(again[key], summary.get(key))]
    for key in other:
        click.echo(f"summary.json says {key} = {summary.get(key)}, not {again[key]}", err=True)
    return other


def _same(again: float, stated: object) -> bool:
    return isinstance(stated, int | float) and isclose(again, stated, rel_tol=1e-3, abs_tol=TINY)
