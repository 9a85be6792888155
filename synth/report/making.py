"""Writing the report of a run folder, with units on probes where its job can be opened again."""

from pathlib import Path
from typing import Any

from synth.chain import load_choices
from synth.errors import InputError
from synth.folder import Finished
from synth.origin import job_of
from synth.report.document import document_of
from synth.report.looking import Looking
from synth.report.page import write_report
from synth.report.unfinished import opened
from synth.threads import numeric_threads

WITHOUT = "No unit is shown on probes: --no-probes."


def make_report(
    folder: Path, *, probes: bool = True, config: Path | None = None
) -> tuple[list[Path], list[str]]:
    """The files that were written, the first to open first, and what the page says it lacks.

    Raises InputError: no run, damaged files, or a named configuration that is not that of the run.
    """
    found = opened(folder)
    looking, notes = _looking(found, config) if probes else (None, [WITHOUT])
    return write_report(document_of(found, looking, notes), folder), notes


def _looking(found: Finished, config: Path | None) -> tuple[Looking | None, list[str]]:
    """The units on probes, or what the page says of why they are not there.

    Raises InputError where the configuration that the user named is not that of the run.
    """
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
