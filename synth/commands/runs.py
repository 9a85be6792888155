"""The commands `synth runs` and `synth clean`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from synth.commands.options import json_option
from synth.errors import Problems

FILE = click.Path(path_type=Path)
RESULTS = Path("results")
NARROW = ("run", "verdict", "bits", "state")  # columns of a narrow terminal; the last one wraps
Row = dict[str, Any]


@click.command()
@click.argument("folder", type=FILE, default=RESULTS, required=False)
@json_option
def runs(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER and below, by default results/.

    Each with its state, its verdict and what it takes up.
    """
    from synth.runs import ago, runs_below, size_text
    from synth.shown.tables import WIDE, number, print_json, print_lines, width

    found = runs_below(folder)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    titles = ("run", "state", "verdict", "bits", "agreement", "size", "changed", "configuration")
    rows = [
        (
            one.folder,
            one.state + (f", {one.failed} failed" if one.failed else ""),
            one.verdict or "–",
            "–" if one.bits_share is None else f"{100 * one.bits_share:.3g} %",
            number(one.agreement, 4),
            size_text(one.size),
            ago(one.changed),
            one.config or "–",
        )
        for one in found
    ]
    if width() < WIDE:
        titles, rows = NARROW, [[row[titles.index(name)] for name in NARROW] for row in rows]
    print_lines(rows, titles) if rows else click.echo(f"no runs in {folder}")


@click.command()
@click.argument("folders", type=FILE, metavar="RUN...", nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="Remove the run itself, after asking.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--salvage", "rescue", is_flag=True, help="Keep what a damaged store still holds.")
@json_option
def clean(
    folders: tuple[Path, ...], everything: bool, yes: bool, rescue: bool, as_json: bool
) -> None:
    """Remove what a run can make again.

    That is what killed runs left, copies of old stores and results of other runs. Nothing is
    removed that no run has made.
    """
    from synth.clean import check_run_folder
    from synth.shown.tables import print_json

    with Problems() as problems:
        for folder in folders:
            problems.attempt(check_run_folder, folder)
    done = []
    for folder in folders:
        one = _salvage(folder) if rescue else _remove(folder, yes) if everything else _clean(folder)
        done.append({"folder": str(folder)} | one)
        if not as_json:
            _print(done[-1])
    if as_json:
        print_json(done)


def _print(done: Row) -> None:
    from synth.runs import size_text

    folder = done["folder"]
    if "kept" in done:
        click.echo(f"{folder}: {done['kept']} results kept; the same command goes on from them")
        return
    click.echo(f"{folder}: {size_text(done['freed'])} freed")
    if done.get("others"):
        others = ", ".join(done["others"])
        click.echo(f"{folder} stays, for it holds what no run made: {others}")


def _clean(folder: Path) -> Row:
    from synth.clean import clean

    return {"freed": clean(folder)}


def _remove(folder: Path, yes: bool) -> Row:
    from synth.clean import clean_all
    from synth.runs import read_run, size_text

    run = read_run(folder)
    if not yes:
        click.confirm(f"Remove {folder} ({run.state}, {size_text(run.size)})?", abort=True)
    freed, others = clean_all(folder)
    return {"freed": freed, "others": others}


def _salvage(folder: Path) -> Row:
    from synth.leftovers import working
    from synth.salvage import salvage
    from synth.store import FILE_NAME

    with working(folder):
        return {"kept": salvage(folder / FILE_NAME)}
