"""The command `synth bench`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synth.commands.options import json_option
from synth.errors import InputError

if TYPE_CHECKING:
    from synth.pace import Pace

FILE = click.Path(path_type=Path)
BATCHES = (1, 64)
TITLES = ("batch", "original", "replacement", "times")


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@click.option(
    "--batch", "sizes", type=int, multiple=True, metavar="N",
    help="Probes in a batch; may be repeated.  [1 and 64]",
)  # fmt: skip
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@json_option
def bench(folder: Path, sizes: tuple[int, ...], config: Path | None, as_json: bool) -> None:
    """Time the replacement of a run beside its original.

    Forward passes by turns, on the run's device, with as many threads as torch takes by itself.
    """
    for size in sizes:
        if size < 1:
            raise InputError(f"--batch {size}: expected a number of probes of at least 1.")
    from synth.chain import load_choices
    from synth.folder import open_run
    from synth.origin import job_of
    from synth.pace import paces
    from synth.shown.tables import print_json

    found = open_run(folder)
    job = job_of(found.folder, config)
    measured = paces(job, load_choices(job, folder), sizes or BATCHES)
    print_json([asdict(p) for p in measured]) if as_json else _print(measured)


def _print(measured: Sequence["Pace"]) -> None:
    from synth.shown.tables import print_lines

    lines = [
        [
            str(p.batch),
            f"{1e3 * p.original:.3g} ms",
            f"{1e3 * p.replaced:.3g} ms",
            f"{p.ratio:.3f} [{p.low:.3f}, {p.high:.3f}]",
        ]
        for p in measured
    ]
    print_lines(lines, TITLES, right=TITLES[:-1])
