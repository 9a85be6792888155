"""Programs that were written by hand for units of a run: `edits.json`, apart from what was found.

    {"units": {"fc1[2]": [{"program": "relu(…)", "bits": 34, …, "engine": "hand", "beside": {…}}]}}

Programs have the names of layer and channel, as in the store. The figures are those of a candidate
of a front, and `beside` what `synth edit` found more. `synth assemble` measures each anew.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synth.errors import InputError
from synth.files import write_atomic

Row = dict[str, Any]

FILE_NAME = "edits.json"
HAND = "hand"  # the engine of programs that were written by hand
CANDIDATE = ("program", "bits", "fvu_fit", "fvu_select", "worst", "bound", "engine")


def edits_of(folder: Path) -> dict[str, list[Row]]:
    """The programs of each unit, by `<layer>[<channel>]`. Raises InputError: a damaged file."""
    path = folder / FILE_NAME
    try:
        units = json.loads(path.read_text(encoding="utf-8"))["units"]
        whole = all(row.keys() >= {*CANDIDATE} for rows in units.values() for row in rows)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        whole, units = False, {}
    if not whole:
        raise InputError(f"{path} is damaged: mend or remove it, and write its programs again.")
    return units


def hand_rows(folder: Path, label: str) -> list[Row]:
    """Those of one unit, with the figures of candidates; an infinite one is None."""
    return [dict(row) for row in edits_of(folder).get(label, [])]


def hand_programs(folder: Path) -> dict[str, list[str]]:
    """The texts of all of them."""
    return {label: [row["program"] for row in rows] for label, rows in edits_of(folder).items()}


def keep(folder: Path, label: str, row: Row) -> None:
    """Put a program beside the others of its unit, or in the place of the same one."""
    units = edits_of(folder)
    others = [old for old in units.get(label, []) if old["program"] != row["program"]]
    _write(folder, units | {label: [*others, row]})


def forget(folder: Path, label: str) -> int:
    """Take away the programs of a unit; how many there were."""
    units = edits_of(folder)
    gone = units.pop(label, [])
    if gone:
        _write(folder, units)
    return len(gone)


def take_over(source: Path, folder: Path) -> None:
    """The same programs for another choice from the same fronts, where what lies beside them and
    the rest of the network may be other."""
    units = edits_of(source)
    if units:
        _write(folder, {u: [_alone(row) for row in rows] for u, rows in units.items()})


def _alone(row: Row) -> Row:
    return {name: row[name] for name in CANDIDATE}


def _write(folder: Path, units: Mapping[str, Sequence[Row]]) -> None:
    text = json.dumps({"units": units}, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / FILE_NAME, text + "\n")
