"""What the page says of one unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from synth.folder import Finished, unit_label
from synth.report.links import Links
from synth.report.pictures import rounded
from synth.report.unfinished import STATUS
from synth.report.weights import drawn
from synth.reread import Reread
from synth.shown.tables import cost_text, unit_rows

if TYPE_CHECKING:
    from synth.report.looking import Looking

Row = dict[str, Any]

LONGEST = 1_500  # characters of a candidate that was not chosen; `synth show` has all of them
FIGURES = ("fvu_local", "fvu_in_situ", "bound", "bound_over_std")
CURVES = ("axis", "values", "unit", "program")


@dataclass(frozen=True, eq=False)
class UnitPages:
    """The units of one layer of a run: its programs as trees, its weights (U, C, h, w) if they can
    be drawn, the rows of tuning.json by layer and channel, and what was seen on probes."""

    run: Finished
    links: Links
    programs: Reread | None = None
    weight: np.ndarray | None = None
    tuned: Mapping[tuple[str, int], Row] = field(default_factory=dict)
    looking: "Looking | None" = None

    def unit(self, row: Row, front: Sequence[Row] | None = None) -> Row:
        """All that is known of a unit; its `front` comes from the store unless it is given."""
        found = self.run.front(row) if front is None else front
        keys = ("layer", "channel", "name", "status", "program", "terms", "bits", "engine")
        place = row["layer"], row["channel"]
        return {
            **{key: row.get(key) for key in keys},
            **{key: rounded(row.get(key)) for key in FIGURES},
            "label": unit_label(row),
            "instead": _instead(row),
            "verdict": row["verdict"],
            "epsilon": rounded(float(Fraction(row["epsilon"]))),
            "family": row.get("family"),
            "written": row.get("written"),
            "facts": [[name, text] for name, text in self._facts(row).items()],
            "front": [_candidate(one) for one in found],
            "sources": self.links.sources.get(row["name"], []),
            "consumers": self.links.consumers.get(row["name"], []),
            "kernels": self._kernels(row),
            "tuning": _tuning(self.tuned[place]) if place in self.tuned else None,
            "seen": self.looking.row(*place) if self.looking and "bank" not in row else None,
        }

    def words(self, rows: Sequence[Row]) -> dict[str, str]:
        """The names in programs that stand for one unit, and which."""
        found: dict[str, list[str]] = {}
        for row in rows:
            found |= self.links.names(row["program"])
        return {word: units[0] for word, units in found.items() if len(units) == 1}

    def _facts(self, row: Row) -> dict[str, str]:
        """What is chosen and claimed, in the words of `synth show`, but for the program."""
        if row["status"] == STATUS:
            return {"status": row["status"]}
        facts, beside = unit_rows(row), "front" in row  # deep programs stand beside the result
        costs = [] if beside else self.run.costs(row)
        facts |= {f"engine {cost['engine']}": cost_text(cost) for cost in costs}
        left = {"program", "claim", "Z3"} if beside else {"program"}
        return {name: text for name, text in facts.items() if name not in left}

    def _kernels(self, row: Row) -> Row | None:
        if self.weight is None:
            return None
        return drawn(self.weight, row["channel"], self.programs, row["program"] is not None)


def _instead(row: Row) -> str:
    """What is said where there is no program."""
    if row["status"] == STATUS:
        return "nothing is chosen yet"
    beside = "bank" in row or "front" in row  # directions and deep programs stand for no unit
    return "no candidate passes" if beside else "its own weights"


def _candidate(one: Row) -> Row:
    text, chosen = one["program"], bool(one["chosen"])
    long = len(text) > LONGEST and not chosen
    figures = {key: rounded(one[key]) for key in ("fvu_fit", "fvu_select", "worst", "bound")}
    shown = {"program": text[:LONGEST] if long else text, "cut": len(text) if long else None}
    return shown | {"bits": one["bits"], "engine": one["engine"], "chosen": chosen} | figures


def _tuning(row: Row) -> Row:
    """The agreement and the curve of each family of stimuli, the preferred one first."""
    best, families = row["prefers"], row["families"]
    order = sorted(families, key=lambda name: name != best)
    return {"r2": rounded(row["all"]["r2"]), "families": [_family(n, families[n]) for n in order]}


def _family(name: str, one: Row) -> Row:
    curve = {key: one["curve"][key] for key in CURVES}
    for key in ("unit", "program"):
        curve[key] = [rounded(value) for value in curve[key]]
    return {"name": name, "r2": rounded(one["r2"]), **curve}
