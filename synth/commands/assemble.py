"""The command `synth assemble`."""

import json
import os
import re
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.commands.options import json_option
from synth.errors import InputError, Problems, listing

if TYPE_CHECKING:
    from synth.folder import Finished

FILE = click.Path(path_type=Path)
LIMITS = ("bits", "max_kl", "min_agreement")
APART = (*LIMITS, "hand_first", "out", "jobs")  # from --curve
Given = Mapping[str, Any]


@click.command()
@click.argument("folder", type=FILE, metavar="RUN")
@click.option("--bits", metavar="N|P%", help="Most bits, or share of the 32-bit size: 4000, 8%.")
@click.option("--max-kl", type=float, metavar="D", help="Largest mean KL in nats on select.")
@click.option("--min-agreement", type=float, metavar="A", help="Least agreement on select.")
@click.option("--short", is_flag=True, help="Short programs first, where fronts have them.")
@click.option(
    "--hand", "hand_first", is_flag=True, default=None,
    help="Programs of `synth edit` first, where they hold.",
)  # fmt: skip
@click.option("--curve", is_flag=True, help="Show what can be asked for.")
@click.option("--points", type=click.IntRange(2), help="Points of the curve [12].")
@click.option("--out", type=FILE, metavar="DIR", help="Folder of the choice [RUN-<what is asked>].")
@click.option("--jobs", type=click.IntRange(1), help="Workers; they do not change the result.")
@click.option("--config", type=FILE, help="The configuration, if it is not where it was.")
@json_option
def assemble(folder: Path, config: Path | None, as_json: bool, **given: Any) -> None:
    """Choose anew among the fronts of a finished run.

    Nothing is searched. With --bits the least KL within so many, else the fewest bits within what
    is asked; all that is asked together must hold, and what is not asked is no limit. The choice is
    proved, validated on held-out and written into a folder of its own, with all that a run's has.
    Programs that `synth edit` has kept are candidates like others.

    With --curve: points from the fewest bits to the most and what select says of them, which is
    written into RUN/curve.json.

    Exit 0 if the choice is drop-in, 1 if it is not, or if no choice is as asked; then nothing is
    written, and the units that stand in the way are named.
    """
    from synth.folder import open_run

    found = open_run(folder)
    bits = _checked(found, given)
    if given["curve"]:
        _curve(found, given, config, as_json)
    else:
        _choice(found, given, bits, config, as_json)


def _checked(found: "Finished", given: Given) -> int | None:
    """The bits that are asked for. Raises InputError: options that do not go together, or numbers
    that cannot be."""
    from synth.by_hand.edits import edits_of
    from synth.config_rules import POSITIVE, SHARE

    with Problems() as problems:
        if given["curve"]:
            beside = [_flag(name) for name in APART if given[name] is not None]
            problems.add(*(f"{flag} does not go with --curve, which shows all." for flag in beside))
        else:
            problems.add(*_missing(given))
            if given["hand_first"] and not edits_of(found.folder):
                problems.add(f"--hand: {found.folder} has no program that `synth edit` has kept.")
        for name, rule in {"max_kl": POSITIVE, "min_agreement": SHARE}.items():
            if given[name] is not None and not rule.accepts(given[name]):
                problems.add(f"{_flag(name)} {given[name]}: expected {rule.expected}.")
        if given["out"] and given["out"].resolve() == found.folder.resolve():
            problems.add(f"--out {given['out']}: that is RUN itself; name a folder of its own.")
        text = given["bits"]
        return None if text is None else problems.attempt(_bits, found, text)


def _missing(given: Given) -> list[str]:
    """What a choice lacks."""
    found = ["--points goes with --curve."] if given["points"] is not None else []
    asked = any(given[name] is not None for name in (*LIMITS, "hand_first"))
    if not asked and not given["short"]:
        flags = ", ".join(map(_flag, (*LIMITS, "hand_first")))
        found.append(f"nothing is asked: give {flags}, --short or --curve.")
    return found


def _bits(found: "Finished", text: str) -> int:
    """`4000`, or `8%` of the 32-bit size of a network, in bits. Raises InputError."""
    whole = found.summary["bits_original"]
    if share := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
        bits = int(Fraction(share[1]) * whole / 100)
    elif re.fullmatch(r"\d+", text):
        bits = int(text)
    else:
        expected = "expected a whole number, as 4000, or a share of the 32-bit size, as 8%"
        raise InputError(f"--bits {text}: {expected}.")
    if bits > whole:
        raise InputError(f"--bits {text}: the weights themselves take {whole:,}; ask for fewer.")
    layers, least = _kept(found)
    if bits < least:
        which = listing(
            [*layers, *(["opaque nodes"] if found.summary["bits_opaque_nodes"] else [])]
        )
        raise InputError(
            f"--bits {text}: what was not searched ({which}) keeps its weights, which take "
            f"{least:,} bits: ask for more."
        )
    return bits


def _kept(found: "Finished") -> tuple[list[str], int]:
    """The layers that a run has not searched, and the bits of all that has no program in any
    choice."""
    from synth.store import Store

    with Store(found.folder, create=False) as store:
        searched = store.layers()
    rows = [row for row in found.rows if row["layer"] not in searched]
    bits = sum(row["bits"] for row in rows) + found.summary["bits_opaque_nodes"]
    return list(dict.fromkeys(row["layer"] for row in rows)), bits


def _choice(
    found: "Finished", given: Given, bits: int | None, config: Path | None, as_json: bool
) -> None:
    from synth.asked import Asked
    from synth.assembling import assemble, path_from
    from synth.folder import written
    from synth.progress import progress
    from synth.shown.tables import print_json, print_result

    out = (given["out"] or _folder(found.folder, given)).absolute()
    limits = {name: given[name] for name in ("max_kl", "min_agreement", "short")}
    limits["hand_first"] = bool(given["hand_first"])
    beside = found.summary["bits_opaque_nodes"]
    asked = Asked(path_from(out, found.folder), bits, beside=beside, **limits)
    with progress(quiet=False) as tell:
        summary = assemble(found, asked, out, config=config, jobs=given["jobs"], progress=tell)
    print_json(summary) if as_json else print_result(summary, out, written(out))
    sys.exit(0 if summary["verdict"] == "drop-in" else 1)


def _curve(found: "Finished", given: Given, config: Path | None, as_json: bool) -> None:
    from synth.curve import curve_of
    from synth.files import write_atomic
    from synth.folder import CURVE
    from synth.progress import progress
    from synth.shown.curve import print_curve
    from synth.shown.tables import print_json
    from synth.spread import POINTS

    count, short = given["points"] or POINTS, given["short"]
    with progress(quiet=False) as tell:
        curve = curve_of(found, count, short=short, config=config, progress=tell)
    text = json.dumps(curve, indent=1, allow_nan=False) + "\n"
    write_atomic(found.folder / CURVE, text)
    print_json(curve) if as_json else print_curve(curve)


def _folder(run: Path, given: Given) -> Path:
    """RUN-bits-8%-short: the run's folder and what is asked."""
    words = [f"{_flag(n)[2:]}-{given[n]}" for n in LIMITS if given[n] is not None]
    words += ["short"] if given["short"] else []
    words += ["hand"] if given["hand_first"] else []
    path = Path(os.path.abspath(run))
    return path.with_name("-".join([path.name, *words]))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-').removesuffix('-first')}"
