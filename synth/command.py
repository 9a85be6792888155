"""The command `synth`: run, show, validate, check, and what is done with finished runs.

Exit codes: 0 drop-in (or all well), 1 finished but not drop-in (or something rejected), 2 bad
input, 3 stopped by a full disk, 130 stopped from the keyboard. Heavy modules are imported inside
the commands, so that `synth --help` answers at once.
"""

import errno
import sys
import tomllib
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from synth.commands.assemble import assemble
from synth.commands.bench import bench
from synth.commands.coarsest import coarsest
from synth.commands.diff import diff
from synth.commands.doctor import doctor
from synth.commands.edit import edit
from synth.commands.export import export
from synth.commands.grammar import FILE, grammar
from synth.commands.options import json_option, run_argument
from synth.commands.prove import prove
from synth.commands.report import report
from synth.commands.runs import clean, runs
from synth.commands.show import show
from synth.commands.tune import tune
from synth.commands.validate import validate
from synth.commands.what_if import what_if
from synth.errors import InputError

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
STOPPED = 130  # what shells report of a program that Ctrl-C ended
_UNCERTIFIED = (
    ("solver", "proved by a solver without a certificate"),
    ("tried", "proved by trying every input, without a certificate"),
    ("enclosed", "proved by enclosures, without a certificate"),
)


class _Group(click.Group):
    """Commands whose InputError ends in one message and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(str(error), err=True)
            raise click.exceptions.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno not in _FORBIDDEN:
                raise
            advice = "change its rights, or work on a copy of its folder"
            click.echo(f"{error.filename}: {error.strerror}: {advice}", err=True)
            raise click.exceptions.Exit(InputError.exit_code) from None
        except KeyboardInterrupt:
            click.echo("stopped; the same command goes on where it was", err=True)
            raise click.exceptions.Exit(STOPPED) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="neuron-synth")
def main() -> None:
    """Write the source of a trained network: a short, proved program for every unit."""


for command in (
    *(show, diff, edit, what_if),
    *(report, validate, assemble, prove, bench),
    *(tune, coarsest, grammar, runs, clean, export, doctor),
):
    main.add_command(command)


def _setting(text: str) -> tuple[str, Any]:
    """`search.max_fvu=0.1` as (key, TOML value); what is no TOML value is text."""
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise click.BadParameter(f"{text!r}, expected TABLE.KEY=VALUE, as in search.max_fvu=0.1.")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value


def _settings(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    return dict(map(_setting, texts))


def _flags(command: Any) -> Any:
    """An option for each key of the configuration that is often changed."""
    rows = {
        "search.layers": ("--layer", "NAME", "Layer to search, or a glob; may be repeated."),
        "search.engines": ("--engine", "NAME", "Search engine; may be repeated."),
        "search.grammar": ("--grammar", "FILE", "File of primitives; may be repeated."),
        "search.basis": ("--basis", "FILE", "Directions that get programs beside the units."),
        "search.max_fvu": ("--max-fvu", float, "Largest FVU of a program, local and in situ."),
        "search.max_error": ("--max-error", float, "ε of the claims, as a share of the range."),
        "search.budget": ("--budget", int, "Candidates that an engine may propose for a unit."),
        "accept.margin": ("--margin", float, "Loss of accuracy that is no loss."),
        "accept.max_kl": ("--max-kl", float, "Largest mean KL in nats on select."),
        "accept.min_agreement": ("--min-agreement", float, "Least agreement on select."),
        "accept.bits": ("--bits", float, "Share of the bits; the least KL within it is chosen."),
        "run.seed": ("--seed", int, "Seed of the split and of every search."),
        "run.jobs": ("--jobs", int, "Workers; they do not change the result."),
        "run.backend": ("--backend", "NAME", "What they are: loky, threading, dask or ray."),
        "run.device": ("--device", "NAME", "Where probes and kernels run: cpu, cuda or cuda:1."),
        "run.out": ("--out", "DIR", "Run folder [results/<name of the configuration>]."),
    }

    for key, (flag, kind, text) in reversed(rows.items()):
        many = key in ("search.layers", "search.engines", "search.grammar")
        typed: dict[str, Any] = {"metavar": kind} if isinstance(kind, str) else {"type": kind}
        command = click.option(flag, _parameter(key), multiple=many, help=text, **typed)(command)
    return command


def _parameter(key: str) -> str:
    return key.replace(".", "__")


@main.command()
@click.argument("config", type=FILE, metavar="CONFIG.toml")
@_flags
@click.option(
    "--set", "settings", multiple=True, metavar="TABLE.KEY=VALUE", callback=_settings,
    help="Any key of the configuration, as TOML; may be repeated.",
)  # fmt: skip
@click.option("--quiet", is_flag=True, default=None, help="Print nothing but errors.")
@click.option("--dry", is_flag=True, help="Print the plan, with the memory and time expected.")
@json_option
def run(
    config: Path,
    settings: dict[str, Any],
    quiet: bool | None,
    dry: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Decompile a network into a run folder.

    A stopped run goes on where it was. Every flag stands above the same key of CONFIG.toml. Layers
    may be run one after another into one folder; those that were never selected keep their weights.
    With --dry nothing is searched or written.
    """
    from synth.config import load_config
    from synth.origin import listed, record

    given = {name.replace("__", "."): value for name, value in flags.items()}
    given |= {"run.quiet": quiet} | listed(settings)
    found = load_config(config, given)
    if dry:
        _plan(found, as_json)
        return
    from synth import chain
    from synth.folder import written
    from synth.job import load_job
    from synth.progress import progress
    from synth.shown.tables import print_json, print_result

    with progress(quiet=found.run.quiet) as tell:
        tell("reading the network", 0, 0)
        job = load_job(found)
        if job.note and not found.run.quiet:
            click.echo(job.note, err=True)
        summary = chain.run(job, progress=tell)
    record(found, given)
    if as_json:
        print_json(summary)
    elif not found.run.quiet:
        print_result(summary, found.out, written(found.out))
    sys.exit(_code(summary["verdict"] == "drop-in" and bool(summary["accepted"])))


@main.command()
@run_argument
@json_option
def check(folder: Path, as_json: bool) -> None:
    """Check all certificates of a run.

    In exact arithmetic; exit 1 if a claim in programs.json is without a sound certificate.
    """
    from synth.folder import check_run, open_run
    from synth.shown.tables import print_json

    found = open_run(folder)
    accepted, rejected = check_run(found)
    counts = Counter(row.get("trust") for row in found.rows)
    if as_json:
        refused = [{"unit": unit, "reason": reason} for unit, reason in rejected]
        trust = {how: counts[how] for how, _ in _UNCERTIFIED}
        print_json({"accepted": accepted, "rejected": refused, "without_certificate": trust})
        sys.exit(_code(not rejected))
    for unit, reason in rejected:
        click.echo(f"REJECTED {unit}: {reason}")
    trusted = "".join(f", {counts[how]} {said}" for how, said in _UNCERTIFIED if counts[how])
    click.echo(f"{len(accepted)} accepted, {len(rejected)} rejected{trusted}")
    sys.exit(_code(not rejected))


def _plan(config: Any, as_json: bool) -> None:
    """Print the plan; Raises InputError with all problems, after it where there is one."""
    from synth.errors import Problems
    from synth.job import read_job
    from synth.plan import plan_of
    from synth.shown.plan import print_plan
    from synth.shown.tables import print_json

    problems = Problems()
    job = read_job(config, problems)
    if job is not None:
        plan = plan_of(job, problems=problems)
        print_json(asdict(plan)) if as_json else print_plan(plan)
        if job.note:
            click.echo(job.note, err=True)
        problems.add(*plan.problems)
    problems.raise_if_any()


def _code(well: bool) -> int:
    return 0 if well else 1
