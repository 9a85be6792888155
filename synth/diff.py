"""What two runs of a network differ in: texts, figures and claims of units, and what held-out says.

A program is the same if it is so under the names of layer and channel: what units are called after
depends on what they were found to be.
"""

import re
from collections.abc import Mapping
from typing import Any

from synth.errors import InputError, listing
from synth.folder import Finished, unit_label

Row = dict[str, Any]

COMPARED = ("status", "bits", "fvu_local", "fvu_in_situ", "engine", "verdict", "bound", "epsilon")
FIGURES = (
    *("verdict", "n", "accuracy_original", "accuracy_replaced", "agreement", "kl_mean", "kl_max"),
    *("recovered_mean", "recovered_resample", "held_out_outside_envelope"),
    *("bits", "bits_share", "short_coverage_units", "proved", "smt_checked"),
)


def difference(a: Finished, b: Finished) -> Row:
    """What `synth diff --json` prints; `before` is `a` and `after` is `b`.

    Raises InputError where the two have no unit in common.
    """
    first, second = _units(a), _units(b)
    both = [label for label in first if label in second]
    if not both:
        have = listing(dict.fromkeys(row["layer"] for row in a.rows))
        other = listing(dict.fromkeys(row["layer"] for row in b.rows))
        raise InputError(
            f"{a.folder} and {b.folder} have no unit in common ({have}; {other}): they are of two "
            "networks."
        )
    changed = [_changed(first[label], second[label], a, b) for label in both]
    return {
        "before": str(a.folder),
        "after": str(b.folder),
        "figures": _figures(a.summary, b.summary),
        "units": [row for row in changed if row is not None],
        "same": sum(row is None for row in changed),
        "only_before": [label for label in first if label not in second],
        "only_after": [label for label in second if label not in first],
    }


def differs(found: Mapping[str, Any]) -> bool:
    return any(found[key] for key in ("figures", "units", "only_before", "only_after"))


def _units(run: Finished) -> dict[str, Row]:
    return {unit_label(row): row for row in run.claims}


def _figures(first: Row, second: Row) -> dict[str, list[Any]]:
    """Those that are not the same: [before, after]."""
    pairs = {key: [first.get(key), second.get(key)] for key in FIGURES}
    statuses = first["units"].keys() | second["units"].keys()
    pairs |= {f"units {s}": [r["units"].get(s, 0) for r in (first, second)] for s in statuses}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _changed(first: Row, second: Row, a: Finished, b: Finished) -> Row | None:
    """A unit with what is not the same of it, as [before, after]; None if nothing is."""
    changes = {key: [first.get(key), second.get(key)] for key in COMPARED}
    changes = {key: pair for key, pair in changes.items() if pair[0] != pair[1]}
    if _plain(first, a) != _plain(second, b):
        changes = {"program": [first["program"], second["program"]]} | changes
    if not changes:
        return None
    place = {key: second[key] for key in ("layer", "channel", "name")}
    return place | {"changes": changes}


def _plain(row: Row, run: Finished) -> str | None:
    """A program under the names of layer and channel."""
    if row["program"] is None:
        return None
    names = {new: old for old, new in run.renamed.items()}
    return re.sub(r"\w+", lambda m: names.get(m[0], m[0]), row["program"])
