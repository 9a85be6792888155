"""The command `synth report`."""

from collections.abc import Sequence
from pathlib import Path

import click

from synth.commands.options import json_option

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@click.option("--probes/--no-probes", default=True, help="Show units on held-out probes.")
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@json_option
def report(folder: Path, probes: bool, config: Path | None, as_json: bool) -> None:
    """Write a page to look at the run with.

    report.html in RUN opens from disk in any browser and asks for nothing from elsewhere: every
    unit with its program, its front, its kernels and its claim, and where the network and the
    probes can be read again, what unit and program say to held-out probes. A run that is not
    finished is shown as far as it is.
    """
    from synth.report.making import make_report
    from synth.shown.tables import print_json

    files, notes = make_report(folder, probes=probes, config=config)
    if as_json:
        print_json([str(path) for path in files])
        return
    for note in notes:
        click.echo(note, err=True)
    click.echo(_said(files))


def _said(files: Sequence[Path]) -> str:
    from synth.runs import size_text

    size = size_text(sum(path.stat().st_size for path in files))
    beside = f" and {len(files) - 1} files beside it" if len(files) > 1 else ""
    return f"{files[0]}{beside}: {size}"
