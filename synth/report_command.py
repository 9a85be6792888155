"""The command `synth report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.errors import InputError

if TYPE_CHECKING:
    from synth.folder import Finished
    from synth.report.looking import Looking

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@click.option("--probes/--no-probes", default=True, help="Show units on held-out probes.")
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@click.option("--json", "as_json", is_flag=True, help="The names of the files as JSON.")
def report(folder: Path, probes: bool, config: Path | None, as_json: bool) -> None:
    """Write a page to look at the run with.

    report.html in RUN opens from disk in any browser and asks for nothing from elsewhere: every
    unit with its program, its front, its kernels and its claim, and where the network and the
    probes can be read again, what unit and program say to held-out probes. A run that is not
    finished is shown as far as it is.
    """
    from synth.display import print_json
    from synth.report.document import document_of
    from synth.report.page import write_report
    from synth.report.unfinished import opened

    found = opened(folder)
    looking, notes = _looking(found, config) if probes else (None, [WITHOUT])
    files = write_report(document_of(found, looking, notes), folder)
    if as_json:
        print_json([str(path) for path in files])
        return
    for note in notes:
        click.echo(note, err=True)
    click.echo(_said(files))


WITHOUT = "No unit is shown on probes: --no-probes."


def _looking(found: "Finished", config: Path | None) -> "tuple[Looking | None, list[str]]":
    """The units on probes, or what the page says of why they are not there.

    Raises InputError where the configuration that the user named is not that of the run.
    """
    from synth.chain import load_choices
    from synth.origin import job_of
    from synth.report.looking import Looking
    from synth.threads import numeric_threads

    if not found.summary:
        return None, [f"{found.folder} is not finished: nothing is chosen yet."]
    try:
        job = job_of(found.folder, config)
        choices = load_choices(job, found.folder)
    except InputError as error:
        if config is not None:
            raise
        return None, [_reason(error)]
    with numeric_threads(job.config.run.jobs):
        return Looking(job, choices), []


def _reason(error: InputError) -> str:
    first: Any = error.problems[0].splitlines()[0]
    return f"No unit is shown on probes, for the run cannot be opened again: {first}"


def _said(files: Sequence[Path]) -> str:
    from synth.runs import size_text

    size = size_text(sum(path.stat().st_size for path in files))
    beside = f" and {len(files) - 1} files beside it" if len(files) > 1 else ""
    return f"{files[0]}{beside}: {size}"
