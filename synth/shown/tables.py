"""What the command prints: tables and JSON on standard output."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from synth.common.stored import common_lines, common_row
from synth.joint.display import joint_rows

Row = Mapping[str, Any]

WIDE = 110  # columns of a terminal from which a table shows everything
LONGEST = 320  # characters of a program among others
PIPED_WIDTH = 160  # columns of a table that no terminal limits; COLUMNS stands above it
MISSED = "missed on select: KL {kl:.3g}, agreement {agreement:.4f}"
STYLES = {"drop-in": "bold green", "proved": "green", "refuted": "bold red", "opaque": "red"}
NOTHING = "–"


def _screen() -> Console:
    """Plain text where the output is no terminal; names such as `fc1[3]` are never markup."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(highlight=False, emoji=False, markup=False, width=width)


def _show(what: RenderableType) -> None:
    """Print; without trailing blanks where the output is no terminal."""
    screen = _screen()
    if screen.is_terminal:
        screen.print(what)
        return
    with screen.capture() as plain:
        screen.print(what)
    print("\n".join(line.rstrip() for line in plain.get().split("\n")), end="")


def print_result(summary: Row, folder: Path, files: Iterable[str]) -> None:
    """The result of a run, and where it was written."""
    _show(_pairs({**held_out_rows(summary), **source_rows(summary)}))
    for name in files:
        print(f"  {_near(folder / name)}")


def print_validation(summary: Row) -> None:
    """The figures of held-out."""
    _show(_pairs(held_out_rows(summary)))


def held_out_rows(summary: Row) -> dict[str, str]:
    """What held-out says, in words."""
    low, high = (100 * v for v in summary["accuracy_change_interval"])
    before, after = summary["accuracy_original"], summary["accuracy_replaced"]
    change = f"change {100 * summary['accuracy_change']:+.2f} points [{low:+.2f}, {high:+.2f}]"
    truth = "" if summary["labelled"] else ", the original's answers taken as labels"
    recovered = (number(summary[f"recovered_{kind}"], 5) for kind in ("mean", "resample"))
    return {
        **_assembled_row(summary.get("assembled")),
        "verdict": summary["verdict"],
        "accuracy": f"{share(before)} → {share(after)} of {summary['n']} held out{truth}",
        "": change,
        "agreement": f"{share(summary['agreement'])} of answers",
        "KL": f"{number(summary['kl_mean'])} nats in the mean, at most {number(summary['kl_max'])}",
        "FVU in situ": _spread(summary["fvu_in_situ"], "p95"),
        "recovered": "{} of mean ablation, {} of resample ablation".format(*recovered),
        "outside envelope": f"{share(summary['held_out_outside_envelope'])} of held-out",
    }


def _assembled_row(asked: Row | None) -> dict[str, str]:
    """Where a choice comes from that was made anew."""
    return {"chosen from": f"the fronts of {asked['run']}: {asked['asked']}"} if asked else {}


def _failed_row(summary: Row) -> dict[str, str]:
    """The units that could not be searched, and why; the same command tries them again."""
    failed = summary.get("failed_units") or []
    return {
        f"failed: {f['layer']}[{f['channel']}]": f"{f['reason']} (tried {f['attempts']} times)"
        for f in failed
    }


def source_rows(summary: Row) -> dict[str, str]:
    """What was written and what is claimed of it, in words."""
    units = summary["units"]
    counts = ", ".join(f"{count} {status}" for status, count in units.items())
    part = summary["bits"] / summary["bits_original"]
    claims = ", ".join(f"{summary[kind]} {kind}" for kind in ("proved", "refuted", "unknown"))
    return {
        **({} if summary["accepted"] else {"acceptance": MISSED.format(**summary["select"])}),
        "units": f"{sum(units.values())}: {counts}",
        **_failed_row(summary),
        **_engine_rows(summary.get("engines") or {}),
        "short coverage": f"{share(summary['short_coverage_units'])} of units",
        **_family_row(summary.get("families") or ()),
        "bits": f"{summary['bits']:,}, {share(part)} of the original's "
        f"{summary['bits_original']:,} (entropy code: {summary['bits_original_entropy']:,})"
        + _own_primitives(summary),
        **common_row(summary.get("common")),
        **joint_rows(summary.get("joint")),
        **_shuffled_row(summary),
        "programs": f"{summary['accepted_programs']}: {claims}; "
        f"{summary['smt_checked']} proved by Z3 too",
        "inactive": f"{units['inactive']}, of which {summary['dead']} are proved dead",
        "bound/std": _spread(summary["bound_over_std"], "median"),
        **_direction_rows(summary.get("directions") or {}),
        **_discrete_rows(summary.get("discrete")),
    }


def _own_primitives(summary: Row) -> str:
    """How many of the bits are the source of the user's primitives, if programs use any."""
    bits = summary.get("bits_primitives")
    return f"; {bits:,} of them are the source of your primitives" if bits else ""


def cost_text(cost: Row) -> str:
    """What one engine did for a unit, in words."""
    programs = "1 program" if cost["proposed"] == 1 else f"{cost['proposed']} programs"
    done = [f"{programs} in {cost['seconds']:.2g} s"] if cost["proposed"] else []
    return "; ".join([*done, *filter(None, [cost["reason"]])]) or "no programs"


def _engine_rows(engines: Mapping[str, Row]) -> dict[str, str]:
    """For each of several engines how often it was asked, and what came of it."""
    if len(engines) < 2:
        return {}
    rows = {}
    for name, one in engines.items():
        stopped = [f"; stopped in {count}: {why}" for why, count in one["stopped"].items()]
        counts = f"asked for {one['asked']:,} units, on the front of {one['improved']:,}"
        rows[f"engine {name}"] = counts + "".join(stopped)
    return rows


def _family_row(sizes: Sequence[int]) -> dict[str, str]:
    """How many units are written together."""
    if not sizes:
        return {}
    each = " + ".join(map(str, sizes))
    return {"families": f"{len(sizes)}: {each} units, each a program over a table"}


def _shuffled_row(summary: Row) -> dict[str, str]:
    control = summary["shuffled_control"]
    if control is None:  # not asked for
        return {}
    against = "" if control["at_equal_kl"] else " (not at equal KL)"
    return {"shuffled control": f"{summary['bits_shuffled_control']:,} bits{against}"}


def _direction_rows(banks: Row) -> dict[str, str]:
    """For each bank how many directions have programs, and whether they could replace it."""
    rows = {}
    for bank, one in banks.items():
        terms = number(one["terms"]["median"])
        counts = f"{one['passed']} of {one['count']} have programs over {one['source']}"
        place = one["replacement"]
        bits = place["reason"] or (
            f"in its place {place['bits']:,} bits against {place['bits_units']:,}, "
            f"{'accepted' if place['accepted'] else 'missed'} on select"
        )
        proved = f"{one['proved']} proved"
        rows[f"directions of {bank}"] = f"{counts}, {proved}, median {terms} terms; {bits}"
    return rows


def _discrete_rows(found: Row | None) -> dict[str, str]:
    """What is proved of the decisions at all inputs, where these are of few values."""
    if found is None:
        return {}
    rows = {"all inputs": f"{found['points']:,}, decided by {found['decides']}"}
    networks = {"replacement": found["replacement"]}
    networks |= {f"{name} over an earlier bank": row for name, row in found["deep"].items()}
    return rows | {f"  {name}": _decided(row) for name, row in networks.items()}


def _decided(row: Row) -> str:
    """Whether a network decides as the original, and how that is known."""
    match row["verdict"]:
        case "proved":
            again = ", by Z3 too" if row["smt"] == "proved" and row["trust"] == "tried" else ""
            return f"proved equal ({row['trust']}{again})"
        case "refuted":
            return f"refuted: differs at {', '.join(f'{x:g}' for x in row['counterexample'])}"
    return f"unknown: {row['reason']}"


def print_units(layers: Mapping[str, Sequence[Row]], common: Sequence[Row] = ()) -> None:
    """A table a layer, a line a unit, and below it its `common` values; a narrow terminal gets the
    columns that matter most."""
    columns = [c for c in UNIT_COLUMNS if not c.wide or _screen().width >= WIDE]
    for name, rows in layers.items():
        what = "directions" if "bank" in rows[0] else "units"
        table = _table(f"{name}: {len(rows)} {what}")
        for column in columns:
            grows = column.title == "program"
            side = "right" if column.number else "left"
            table.add_column(column.title, justify=side, no_wrap=True, ratio=1 if grows else None)
        for row in rows:
            table.add_row(*(column.cell(row) for column in columns))
        _show(table)
        if shared := [row for row in common if row["layer"] == name]:
            _show(_pairs(common_lines(shared)))


def print_unit(
    row: Row, front: Sequence[Row], costs: Sequence[Row], common: Sequence[Row] = ()
) -> None:
    """One unit: what was chosen and what is claimed of it, the common values that it is written by,
    what the engines took, and its front."""
    asked = {f"engine {cost['engine']}": cost_text(cost) for cost in costs}
    _show(_pairs(unit_rows(row) | common_lines(common) | asked))
    if not front:
        print("It was not searched, so it has no front.")
        return
    print_front(row, front)


def print_front(row: Row, front: Sequence[Row]) -> None:
    """All candidates of a unit, those that were written by hand among them."""
    table = _table(f"front of {row['name']}: {len(front)} candidates, * is the chosen one")
    table.add_column("")
    for title in ("bits", "FVU fit", "select", "worst", "bound"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    table.add_column("program", overflow="fold", ratio=1)
    for one in front:
        figures = [number(one[k]) for k in ("fvu_fit", "fvu_select", "worst", "bound")]
        mark = "*" if one["chosen"] else ""
        style, program = "bold" if one["chosen"] else None, _shortened(one["program"])
        table.add_row(mark, str(one["bits"]), *figures, one["engine"], program, style=style)
    _show(table)
    if any(len(one["program"]) > LONGEST for one in front):
        print("… is where a long program goes on; --json has all of each")


def _shortened(program: str) -> str:
    return program if len(program) <= LONGEST else f"{program[:LONGEST].rpartition(' ')[0]} …"


def print_lines(
    rows: Sequence[Sequence[str]],
    titles: Sequence[str],
    *,
    title: str | None = None,
    right: Sequence[str] = (),
) -> None:
    """A plain table of texts; numbers stand at the `right`, the last column takes what is left."""
    table = _table(title)
    for name in titles[:-1]:
        table.add_column(name, no_wrap=True, justify="right" if name in right else "left")
    table.add_column(titles[-1], ratio=1)
    for row in rows:
        table.add_row(*row)
    _show(table)


def print_pairs(rows: Mapping[str, str]) -> None:
    """Names and what is said of them, a line each."""
    _show(_pairs(rows))


def print_text(lines: Text) -> None:
    """Lines as they are; a terminal shows their colours."""
    _show(lines)


def width() -> int:
    """Columns of the terminal, or of a pipe."""
    return _screen().width


def print_json(value: object) -> None:
    """Indented JSON; an infinite figure is null."""
    print(json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False))


def number(value: float | None, digits: int = 3) -> str:
    """A figure to `digits` digits; – where there is none."""
    return NOTHING if value is None else f"{value:.{digits}g}"


@dataclass(frozen=True)
class _Column:
    """A column of the table of units; `wide` ones need a wide terminal."""

    title: str
    cell: Callable[[Row], str | Text]
    number: bool = False
    wide: bool = False


def _styled(text: str, kind: str) -> Text:
    return Text(text, style=STYLES.get(kind, ""))


UNIT_COLUMNS = (
    _Column("unit", lambda r: _called(r)),
    _Column("status", lambda r: _styled(r["status"], r["status"])),
    _Column("program", lambda r: r.get("written") or r["program"] or "its own weights"),
    _Column("terms", lambda r: number(r["terms"]), number=True, wide=True),
    _Column("bits", lambda r: str(r["bits"]), number=True),
    _Column("FVU local", lambda r: number(r["fvu_local"]), number=True, wide=True),
    _Column("in situ", lambda r: number(r["fvu_in_situ"]), number=True),
    _Column("bound/std", lambda r: number(r["bound_over_std"]), number=True),
    _Column("verdict", lambda r: _styled(_verdict(r), _answer(r))),
    _Column("engine", lambda r: r["engine"], wide=True),
)


def _called(row: Row) -> str:
    """The name in programs and, of a direction, the name that a user gave it."""
    return f"{row['name']} ({row['called']})" if row.get("called") else row["name"]


def _verdict(row: Row) -> str:
    return _answer(row) + (" + Z3" if row["smt_checked"] else "")


def _answer(row: Row) -> str:
    """A constant that other inputs than probes move is no refuted program: it is not dead."""
    moves = row["status"] == "inactive" and row["verdict"] == "refuted"
    return "not dead" if moves else row["verdict"]


def unit_rows(row: Row) -> dict[str, str]:
    """What was chosen for a unit, and what is claimed of it, in words."""
    epsilon = number(float(Fraction(row["epsilon"])))
    what = "direction" if "bank" in row else "unit"
    claim = f"sup |{what} − program| ≤ ε = {epsilon} over the {row['domain']}"
    place, of = ("row", row["bank"]) if "bank" in row else ("channel", row["layer"])
    rows = {
        what: f"{_called(row)}, {place} {row['channel']} of {of}",
        "status": row["status"],
        "program": row["program"] or "its own weights",
        **({"written as": row["written"]} if row.get("written") else {}),
        "terms, bits": f"{number(row['terms'])}, {row['bits']}",
        "FVU": f"{number(row['fvu_local'])} local, {number(row['fvu_in_situ'])} in situ (select)",
        "engine": row["engine"],
        "claim": claim,
        "verdict": _answer(row) + (f" ({row['trust']})" if row.get("trust") else ""),
    }
    if composed := row.get("over_source"):
        rows["over source"] = composed["program"]
        figures = [number(composed[k]) for k in ("terms", "fvu", "bound")]
        rows["written out"] = "{} terms, FVU {} on select, bound {}".format(*figures)
    if row["verdict"] == "proved":
        ratio = number(row["bound_over_std"])
        rows["bound"] = f"{number(row['bound'])}, bound/std {ratio}"
    if row["verdict"] == "refuted":
        rows["worst point"] = f"differs by {number(row['difference'])}"
    smt = "proved" if row["smt_checked"] else row.get("smt_reason") or "not asked"
    return rows | {"reason": row["reason"]} if row.get("reason") else rows | {"Z3": smt}


def _table(title: str | None) -> Table:
    style: dict[str, Any] = {"box": None, "pad_edge": False, "header_style": "bold"}
    return Table(title=title, title_justify="left", expand=True, **style)


def _pairs(rows: Mapping[str, str]) -> Padding:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(name, Text(value, style=STYLES.get(value, "")))
    return Padding(grid, (0, 0, 1, 0))


def _spread(values: Row, other: str) -> str:
    if values["median"] is None:
        return NOTHING
    rest = "" if other == "median" else f"{other} {number(values[other])}, "
    return f"median {number(values['median'])}, {rest}max {number(values['max'])}"


def share(value: float | None) -> str:
    """A share in percent; – where there is none."""
    return NOTHING if value is None else f"{100 * value:.2f} %"


def _near(path: Path) -> Path:
    """The path as a user would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
