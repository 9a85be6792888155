"""The command `synth coarsest`."""

from fractions import Fraction
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.commands.options import json_option, unit_argument
from synth.errors import Problems

if TYPE_CHECKING:
    from synth.folder import Finished

FILE = click.Path(path_type=Path)
Row = dict[str, Any]


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@unit_argument()
@click.option("--terms", type=int, metavar="K", help="Most taps of a program.")
@click.option("--epsilon", type=float, metavar="E", help="ε, if it is not the run's.")
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@json_option
def coarsest(
    folder: Path,
    unit: str,
    terms: int | None,
    epsilon: float | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Find the coarsest numbers that a unit's program can have.

    For 1, 2, … taps: the program on the coarsest grid that is proved within ε over the envelope,
    and what is known of coarser ones: that no program on them lies within ε ("impossible", exact or
    on the word of a solver, which is said), or nothing ("unknown"). By default up to where more
    taps give no coarser grid. RUN is a finished run's folder; UNIT is as in `synth show`.
    """
    from synth.folder import open_run
    from synth.shown.coarsest import print_coarsest
    from synth.shown.tables import print_json

    found = open_run(folder)
    row = _asked(found, unit, terms, epsilon)
    document = _sought(found, row, terms, epsilon, config)
    print_json(document) if as_json else print_coarsest(document)


def _asked(found: "Finished", unit: str, terms: int | None, epsilon: float | None) -> Row:
    """The row of a unit. Raises InputError: an unknown one, a layer, a direction, wrong numbers."""
    with Problems() as problems:
        row = problems.attempt(found.unit, unit)
        if terms is not None and terms < 1:
            problems.add(f"--terms {terms}: expected a number of taps of at least 1.")
        if epsilon is not None and not 0 < epsilon < inf:
            problems.add(f"--epsilon {epsilon}: expected a finite number above 0.")
    assert row is not None
    return row


def _sought(
    found: "Finished", row: Row, terms: int | None, epsilon: float | None, config: Path | None
) -> Row:
    """What `--json` prints."""
    from synth.coarsest import UnitCoefficients, check_unit
    from synth.evidence import gather
    from synth.origin import job_of
    from synth.proofs import epsilon_of
    from synth.threads import numeric_threads

    job, name, channel = job_of(found.folder, config), row["layer"], row["channel"]
    check_unit(job.network.layer(name), channel, row["name"])
    called = {(r["layer"], r["channel"]): r["name"] for r in found.rows}
    with numeric_threads(job.config.run.jobs):
        (evidence,) = gather(job.network, job.probes, seed=job.config.run.seed, layers={name})
        own = epsilon_of(evidence.ranges, channel, job.criteria.max_error)
        within = own if epsilon is None else Fraction(epsilon)
        given = evidence.ranges, channel, within, job.grammar
        sought = UnitCoefficients.of(*given, job.named(called).text)
        rows = list(sought.rows(terms))
    said = {"epsilon": str(within), "taps": len(sought.search.taps), "rows": rows}
    return {"unit": row["name"], "layer": name, "channel": channel, **said}
