"""The command `synth what-if`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.commands.options import config_option, json_option, run_argument
from synth.errors import InputError, Problems

if TYPE_CHECKING:
    from synth.folder import Finished

Row = dict[str, Any]

SHOWN = 10  # lines of a table


@click.command("what-if")
@run_argument
@click.option("--ablate", "ablated", metavar="UNIT", multiple=True, help="Set to its mean on fit.")
@click.option("--scale", "scaled", metavar="UNIT=FACTOR", multiple=True, help="Make so much of it.")
@config_option
@json_option
def what_if(
    folder: Path,
    ablated: tuple[str, ...],
    scaled: tuple[str, ...],
    config: Path | None,
    as_json: bool,
) -> None:
    """Interfere with units and see both networks move.

    The same is done to the original and to the replacement; both options may be repeated, and all
    of it is done at once. On up to 1,000 held-out probes: how far each network's distribution moves
    (KL), how many answers change, of which classes, and R² of the replacement's change against the
    original's.
    """
    from synth.folder import open_run
    from synth.shown.tables import print_json

    found = open_run(folder)
    document = _moved(found, _asked(found, ablated, scaled), config)
    print_json(document) if as_json else _print(document)


def _asked(
    found: "Finished", ablated: tuple[str, ...], scaled: tuple[str, ...]
) -> list[tuple[Row, float | None]]:
    """The rows of units and what to make of them. Raises InputError with all that is wrong."""
    if not ablated and not scaled:
        raise InputError("nothing is asked: give --ablate UNIT or --scale UNIT=FACTOR.")
    asked: list[tuple[Row, float | None]] = []
    with Problems() as problems:
        for text in ablated:
            if row := problems.attempt(found.unit, text):
                asked.append((row, None))
        for text in scaled:
            if pair := problems.attempt(_scaled, found, text):
                asked.append(pair)
        names = [row["name"] for row, _ in asked]
        for name in dict.fromkeys(n for n in names if names.count(n) > 1):
            problems.add(f"{name} is named twice: one thing is done to a unit.")
        if not any(row["program"] for row in found.rows):
            problems.add(f"{found.folder} has no program: both networks are the same.")
    return asked


def _scaled(found: "Finished", text: str) -> tuple[Row, float]:
    """`fc1_2=2` as a row and a factor. Raises InputError."""
    unit, equals, value = text.rpartition("=")
    try:
        factor = float(value)
    except ValueError:
        factor = math.nan
    if not equals or not math.isfinite(factor):
        raise InputError(f"--scale {text}: expected UNIT=FACTOR with a number, as fc1_2=2.")
    return found.unit(unit), factor


def _moved(found: "Finished", asked: list[tuple[Row, float | None]], config: Path | None) -> Row:
    """What `--json` prints."""
    from dataclasses import asdict

    from synth.behaviour.what_if import interventions, what_if
    from synth.chain import load_choices
    from synth.origin import job_of
    from synth.threads import numeric_threads

    job = job_of(found.folder, config)
    choices = load_choices(job, found.folder)
    with numeric_threads(job.config.run.jobs):
        scales = {(row["layer"], row["channel"]): factor for row, factor in asked}
        done = interventions(job, scales)
        moved = what_if(job, choices, done)
    told = [{"name": row["name"]} | asdict(i) for (row, _), i in zip(asked, done, strict=True)]
    return {"interventions": told, **moved}


def _print(found: Row) -> None:
    from synth.shown.tables import number, print_lines, print_pairs

    for done in found["interventions"]:
        click.echo(_said(done))
    both = found["original"], found["replacement"]
    click.echo()
    rows = [
        ["KL, mean in nats", *(number(one["kl_mean"]) for one in both), ""],
        ["KL, at most", *(number(one["kl_max"]) for one in both), ""],
        ["answers that change", *(f"{100 * one['changed']:.2f} %" for one in both), ""],
        *_class_lines(found["classes"]),
    ]
    titles = (f"{found['n']} held-out probes", "original", "replacement", "")
    print_lines(rows, titles, right=titles[1:])
    click.echo()
    told = {
        "R² of the change": "–" if found["r2"] is None else f"{found['r2']:.4f}",
        "same answers": f"{100 * found['same_answers']:.2f} % of both networks, interfered with",
    }
    for name, one in zip(("original", "replacement"), both, strict=True):
        if one["answers"]:
            told[f"{name} changes"] = _changes(one["answers"])
    print_pairs(told)


def _class_lines(classes: list[Row]) -> list[list[str]]:
    """The classes whose answers change most, if any does."""
    moving = [one for one in classes if one["original"] or one["replacement"]]
    moving.sort(key=lambda one: (-max(one["original"], one["replacement"]), one["class"]))
    return [
        [f"  of {c['n']} of class {c['class']}", str(c["original"]), str(c["replacement"]), ""]
        for c in moving[:SHOWN]
    ]


def _changes(answers: list[Mapping[str, Any]]) -> str:
    more = f" and {len(answers) - SHOWN} more" if len(answers) > SHOWN else ""
    return ", ".join(f"{a['from']} → {a['to']} ({a['n']})" for a in answers[:SHOWN]) + more


def _said(done: Row) -> str:
    from synth.shown.tables import number

    if done["kind"] == "ablated":
        return f"{done['name']} is ablated: {number(done['shift'])}, its mean on fit"
    return f"{done['name']} is {done['factor']:g} times itself"
