"""A finished run, read back from its folder: no network, no probes and no torch."""

import json
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from synth.by_hand.edits import FILE_NAME as EDITS
from synth.by_hand.edits import hand_rows
from synth.common.stored import altered, are_rows
from synth.errors import InputError, nearest
from synth.packing import unpacked
from synth.store import COSTS, DIRECTION_FRONT, FRONT, Store

Row = dict[str, Any]

WRITTEN = (
    "decompiled.py",
    "replacement.safetensors",
    "certificates.json",
    "programs.json",
    "summary.json",
)
"""What a user looks for in a run folder, the most readable first."""

RESULT_FILES = (*WRITTEN, "units.safetensors")
"""What the same seed gives the same bytes of; certificates speak of the numbers in the last."""

DIRECTIONS = "directions.json"  # there only if the run had a basis
UNCERTIFIED = ("solver", "tried", "enclosed")  # proofs that no file holds
DEEP = "deep.json"  # and this if it had a bank to write layers over
TUNING = "tuning.json"
PROOFS = "proofs.json"
BEHAVIOUR = "behaviour.json"
CURVE = "curve.json"
REPORT = "report.html"
GIVEN, GIVEN_CONFIG = "given", "run.toml"  # what was in memory, as files (`synth.api.given`)
GIVEN_FILES = (GIVEN_CONFIG, "network.pt2", "*inputs_[0-9]*.npy", "*labels.npy")
LATER = (TUNING, PROOFS, BEHAVIOUR, CURVE, REPORT, EDITS)
"""There only after `synth tune`, `prove`, `validate --full`, `assemble --curve`, `report` and
`edit`."""
REPORT_PARTS = "report_[0-9]*.html"  # beside the report of a large run

_NEEDED = {"layer", "name", "channel", "status", "program", "bits", "verdict", "epsilon"}
_OF_DIRECTIONS = {"bank", "called", "source"}


@dataclass(frozen=True, eq=False)
class Finished:
    """A run folder whose files are all there.

    `rows` are those of programs.json, `directions` those of directions.json, if there is one.
    `sources` is what programs call the whole bank that a layer reads, and `renamed` has the names
    that stand for those of layer and channel, under which the store keeps its fronts. `banks` says
    how the layers hang together (`synth.banks`); runs of older versions have none. `common` are the
    values that units of a layer share (`synth.common`).
    """

    folder: Path
    summary: Row
    rows: tuple[Row, ...]
    directions: tuple[Row, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    banks: tuple[Row, ...] = ()
    common: tuple[Row, ...] = ()

    @cached_property
    def grammar(self) -> Any:
        """The primitives that its programs may have: the user's too, where their files are."""
        from grammars.grammar import GrammarError, load_grammar

        with Store(self.folder, create=False) as store:
            known = store.description() or {}
        try:
            search, beside = known["search"], Path(known["config"]).parent
            files = [beside / file for file in search["grammar"]]
            return load_grammar(files=files, tags=search["tags"], installed=search["plugins"])
        except (GrammarError, KeyError, TypeError):  # they are elsewhere, or the run is an old one
            return load_grammar(tags=None)

    @cached_property
    def certified(self) -> Row:
        """The certificates, and what they say of the layers. Raises InputError: damaged."""
        return _read(self.folder / "certificates.json")

    @property
    def claims(self) -> tuple[Row, ...]:
        """Units and directions: all that has a program."""
        return (*self.rows, *self.directions)

    @cached_property
    def layers(self) -> dict[str, tuple[Row, ...]]:
        """The units of each layer, and the directions of each bank."""
        names = dict.fromkeys(row["layer"] for row in self.claims)
        return {name: tuple(r for r in self.claims if r["layer"] == name) for name in names}

    def find(self, text: str) -> str | Row:
        """The layer, or the unit, that a user calls `conv1`, `conv1_3` or `conv1[3]`.

        Layer "0" of an nn.Sequential has units `m0_3`, but `0_3` is understood too. Directions are
        `conv1_direction`, `conv1_direction_3` or what the user has called them. Raises InputError
        with the near names.
        """
        if text in self.layers:
            return text
        for row in self.claims:
            if text in (row["name"], unit_label(row), f"{row['layer']}_{row['channel']}"):
                return row
        for row in self.directions:
            if text == row["called"]:
                return row
            if text == row["name"].rpartition("_")[0]:
                return row["layer"]
        raise InputError(self._unknown(text))

    def unit(self, text: str) -> Row:
        """The unit of a layer that a user calls so. Raises InputError: a layer, or a direction."""
        row = self.find(text)
        if isinstance(row, str):
            names = [r["name"] for r in self.layers[row]]
            raise InputError(f"{text!r} is a layer: name one of its units, as {names[0]!r}.")
        if "bank" in row:
            raise InputError(f"{text!r} is a direction: name a unit of a layer.")
        return row

    def front(self, row: Row) -> list[Row]:
        """The front of a unit, cheapest first, and programs that were written by hand; empty for a
        layer that was not searched.

        Each candidate has `chosen`. A chosen program that was re-fitted on the replaced sources,
        or is the constant of an unread unit, is no candidate and stands last.
        """
        candidates = [
            c for payload in self._stored(row, lambda kind: kind) for c in unpacked(payload)
        ]
        if "bank" not in row:
            candidates += hand_rows(self.folder, unit_label(row))
            candidates.sort(key=lambda c: c["bits"])
        for candidate in candidates:
            candidate["program"] = self._in_words(candidate["program"])
            candidate["chosen"] = candidate["program"] == row["program"]
        if row["program"] is not None and not any(c["chosen"] for c in candidates):
            candidates.append(_chosen_apart(row))
        return candidates

    def costs(self, row: Row) -> list[Row]:
        """What each engine did for a unit, in the order in which they were asked."""
        return [
            cost for payload in self._stored(row, COSTS.__getitem__) for cost in json.loads(payload)
        ]

    def _stored(self, row: Row, kind_of: Callable[[str], str]) -> list[bytes]:
        """What the store has of a unit: of the kind that belongs to that of its front."""
        label, kind = unit_label(row), DIRECTION_FRONT if "bank" in row else FRONT
        with Store(self.folder, create=False) as store:
            return [item.payload for item in store.items(kind_of(kind), label)]

    def _in_words(self, program: str) -> str:
        """A stored program with the names that units have got since."""
        if not self.renamed:
            return program
        return re.sub(r"\w+", lambda m: self.renamed.get(m[0], m[0]), program)

    def _unknown(self, text: str) -> str:
        asked = re.fullmatch(r"(.+?)(?:\[(\d+)\]|_(\d+))", text)
        if asked and asked[1] in self.layers:
            last = len(self.layers[asked[1]]) - 1
            return f"{self.folder} has no unit {text!r}: layer {asked[1]!r} has units 0 to {last}."
        names = [row["name"] for row in self.claims]
        hint = nearest(text, names if asked else self.layers)
        return f"{self.folder} has no unit or layer {text!r}.{hint}"


def open_run(folder: Path) -> Finished:
    """Raises InputError: no folder, no run, a run that is not finished, or damaged files."""
    if not folder.is_dir():
        raise InputError(_no_folder(folder))
    with Store(folder, create=False):
        pass  # its problems come first
    summary, programs = (_read(folder / name) for name in ("summary.json", "programs.json"))
    rows, directions = _rows(folder / "programs.json", "units", programs), ()
    if (path := folder / DIRECTIONS).exists():
        directions = _rows(path, "directions", _read(path), _OF_DIRECTIONS)
    sources, renamed = (programs.get(key) or {} for key in ("sources", "renamed"))
    banks, common = tuple(programs.get("banks") or ()), programs.get("common") or []
    if not are_rows(common):
        raise InputError(f"{folder / 'programs.json'} is damaged: run the same command again.")
    return Finished(folder, summary, rows, directions, sources, renamed, banks, tuple(common))


def written(folder: Path) -> tuple[str, ...]:
    """The names of the files that a finished run has left."""
    return (*WRITTEN, DIRECTIONS) if (folder / DIRECTIONS).exists() else WRITTEN


def unit_label(row: Row) -> str:
    """`<layer>[<channel>]`: what the store and the certificates call a unit."""
    return f"{row['layer']}[{row['channel']}]"


def check_run(run: Finished) -> tuple[list[str], list[tuple[str, str]]]:
    """(accepted units, rejected units with a reason) of a run folder.

    The checker decides on the certificates; here, every program that is claimed proved must have
    one that speaks of this very program and this ε, and what is written of a unit by common values
    must be its program.
    """
    from oracles.cover_checker import check_all

    report = check_all(run.folder)
    refused = dict(report.rejected) | altered(run)
    proved = [
        r for r in run.claims if r["verdict"] == "proved" and r.get("trust") not in UNCERTIFIED
    ]
    claimed = {unit_label(row): row for row in proved}
    certificates = _certificates(run)
    for label, row in claimed.items():
        if label not in refused and (reason := _mismatch(run, row, certificates.get(label))):
            refused[label] = reason
    for label in set(report.accepted) - claimed.keys():
        refused[label] = "a certificate of a unit that programs.json does not claim to be proved"
    return [label for label in report.accepted if label not in refused], list(refused.items())


def _mismatch(run: Finished, row: Row, certificate: Row | None) -> str | None:
    if certificate is None:
        return "programs.json claims it proved, but it has no certificate"
    if certificate["epsilon"] != row["epsilon"]:
        return f"its certificate is for ε = {certificate['epsilon']}, not {row['epsilon']}"
    text = certificate["program"]
    if text == row["program"] or text == _expanded(run, row):
        return None
    return f"its certificate is of another program: {text[:80]}"


def _expanded(run: Finished, row: Row) -> str | None:
    """The program of a unit free of siblings and kernels, as text; None where it cannot be read."""
    from synth.reread import Reread

    try:
        programs = Reread(run, row["layer"])
        return programs.text(programs.plain(row["channel"]))
    except (ValueError, KeyError, TypeError, AttributeError):  # an edited file: whatever it says
        return None


def _certificates(run: Finished) -> dict[str, Row]:
    try:
        found: Sequence[Row] = run.certified["certificates"]
        return {certificate["unit"]: certificate for certificate in found}
    except (InputError, KeyError, TypeError):
        return {}  # the checker says what is wrong with the file


def _chosen_apart(row: Row) -> Row:
    figures = {"bits": row["bits"], "fvu_fit": None, "fvu_select": row.get("fvu_local")}
    rest = {"worst": None, "bound": row.get("bound"), "engine": row.get("engine")}
    return {"program": row["program"], **figures, **rest, "chosen": True}


def _rows(path: Path, key: str, found: Row, also: Set[str] = frozenset()) -> tuple[Row, ...]:
    """The rows of programs.json, or such that have more fields; InputError if they do not."""
    rows = found.get(key)
    needed = _NEEDED | also
    whole = isinstance(rows, list) and all(isinstance(r, dict) and r.keys() >= needed for r in rows)
    if not rows or not whole:
        raise InputError(f"{path} is damaged: run the same command again.")
    return tuple(rows)


def _read(path: Path) -> Row:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        advice = (
            "run the same command again, it goes on where it stopped; "
            "synth report shows it as far as it is"
        )
        raise InputError(
            f"{path.parent} is not finished ({path.name} is missing): {advice}."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: expected a table, not a {type(found).__name__}.")
    return found


def _no_folder(folder: Path) -> str:
    if folder.exists():
        return f"{folder} is a file, expected the folder of a run."
    beside = folder.parent
    runs = [p.name for p in beside.iterdir() if p.is_dir()] if beside.is_dir() else []
    hint = nearest(folder.name, runs) if runs else ""
    return f"the run folder {folder} does not exist.{hint}"
