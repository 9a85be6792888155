"""Common values in a finished run: which there are, what reads them, and whether what is written by
them is still the units' programs. No network and no torch."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synth.errors import InputError

if TYPE_CHECKING:
    from synth.folder import Finished

Row = Mapping[str, Any]

KINDS = {"layer": str, "number": int, "name": str, "program": str, "bits": int, "units": list}
OTHER = "what is written of it by common values is not its program"


def are_rows(found: object) -> bool:
    """Whether these are the rows of common values that `programs.json` holds."""
    rows = found if isinstance(found, list) else [None]
    return all(
        isinstance(row, dict) and all(isinstance(row.get(k), kind) for k, kind in KINDS.items())
        for row in rows
    )


def read_by(common: Sequence[Row], row: Row) -> list[Row]:
    """The common values that a unit is written by, or that one of these reads, in order."""
    found: list[Row] = []
    texts = [row.get("written") or ""]
    for value in reversed([one for one in common if one["layer"] == row["layer"]]):
        if any(value["name"] in re.findall(r"\w+", text) for text in texts):
            found.append(value)
            texts.append(value["program"])
    return found[::-1]


def common_row(found: Row | None) -> dict[str, str]:
    """The row of a run's table; none where nothing is shared."""
    if not found:
        return {}
    values, units, saved = (found[key] for key in ("values", "units", "bits_saved"))
    return {"common values": f"{values}, read by {units} units: {saved:,} bits saved"}


def common_lines(common: Sequence[Row]) -> dict[str, str]:
    """What common values say, by their names."""
    return {row["name"]: f"{row['program']}  ({row['bits']} bits)" for row in common}


def altered(run: "Finished") -> dict[str, str]:
    """The units of a run of which is written what their programs do not say, and why."""
    found: dict[str, str] = {}
    for layer, rows in run.layers.items():
        named = [row for row in rows if row.get("written") is not None]
        if named:
            found |= {f"{layer}[{row['channel']}]": OTHER for row in _altered(run, layer, named)}
    return found


def _altered(run: "Finished", layer: str, named: Sequence[Row]) -> Sequence[Row]:
    from synth.reread import Reread

    try:
        programs = Reread(run, layer)
        return [row for row in named if not programs.is_written_so(row["channel"])]
    except (InputError, ValueError, LookupError, TypeError, AttributeError):  # an edited file
        return named
