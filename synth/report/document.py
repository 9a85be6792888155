"""What the report says, as data: an overview, and for each layer its units with all that is known.

Layers are packed apart, because a page shows one at a time and most of them never.
"""

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synth.figures import finite
from synth.folder import DEEP, TUNING, Finished
from synth.report.families import family_cards
from synth.report.links import Links
from synth.report.overview import overview
from synth.report.units import UnitPages
from synth.report.weights import weights_of
from synth.reread import reread

if TYPE_CHECKING:
    from synth.report.looking import Looking

Row = dict[str, Any]

FORMAT = 1


@dataclass(frozen=True)
class LayerPage:
    """One layer: `head` is what the overview says of it, `packed` its units, compressed."""

    head: Row
    packed: str


@dataclass(frozen=True)
class Document:
    """The whole report."""

    title: str
    notes: tuple[str, ...]
    overview: Row
    layers: tuple[LayerPage, ...]

    def data(self, layers: Sequence[LayerPage], files: Mapping[str, str]) -> Row:
        """What one page holds: the overview, and some of the layers; the others are in `files`."""
        held = {page.head["name"]: page.packed for page in layers}
        heads = [
            page.head
            | {"packed": held.get(page.head["name"]), "file": files.get(page.head["name"])}
            for page in self.layers
        ]
        own: Row = {"format": FORMAT, "title": self.title, "notes": list(self.notes)}
        return own | {"overview": self.overview, "layers": heads}


def document_of(
    run: Finished, looking: "Looking | None" = None, notes: Sequence[str] = ()
) -> Document:
    """The report of a run; without `looking`, no unit is shown on probes, and `notes` say why."""
    links, tuned = Links(run), _tuned(run)
    pages = []
    for layer in run.layers:
        known = reread(run, layer), weights_of(run, layer)
        pages.append(_page(run, layer, UnitPages(run, links, *known, tuned, looking)))
    pages += _deep(run, links)
    return Document(run.folder.resolve().name, tuple(notes), finite(overview(run)), tuple(pages))


def packed(value: Any) -> str:
    """A JSON-able value, compressed, as text; the page undoes it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _page(run: Finished, layer: str, pages: UnitPages) -> LayerPage:
    rows = run.layers[layer]
    units = [pages.unit(row) for row in rows]
    source = run.sources.get(layer) or rows[0].get("source")
    what = "directions" if "bank" in rows[0] else "units"
    families = family_cards(rows, pages.programs)
    common = [dict(row) for row in run.common if row["layer"] == layer]
    body = {"units": units, "families": families, "common": common, "links": pages.words(rows)}
    return LayerPage(_head(layer, source, what, rows, units), packed(finite(body)))


def _head(
    layer: str, source: str | None, what: str, rows: Sequence[Mapping[str, Any]], units: list[Row]
) -> Row:
    """What the overview says of a layer."""
    bits = [row["bits"] for row in rows if row["bits"] is not None]
    return {
        "name": layer,
        "what": what,
        "source": source,
        "statuses": dict(Counter(row["status"] for row in rows)),
        "bits": sum(bits) if bits else None,
        "units": [unit["name"] for unit in units],
    }


def _tuned(run: Finished) -> dict[tuple[str, int], Row]:
    """The rows of tuning.json that speak of the programs that the run has."""
    path = run.folder / TUNING
    if not path.exists():
        return {}
    programs = {(row["layer"], row["channel"]): row["program"] for row in run.rows}
    found = {(r["layer"], r["channel"]): r for r in json.loads(path.read_text("utf-8"))["units"]}
    return {place: row for place, row in found.items() if row["program"] == programs.get(place)}


def _deep(run: Finished, links: Links) -> Iterator[LayerPage]:
    """Layers that were written over an earlier bank, beside the result."""
    path = run.folder / DEEP
    if not path.exists():
        return
    layers: dict[tuple[str, str], list[Row]] = {}
    for row in json.loads(path.read_text("utf-8"))["units"]:
        layers.setdefault((row["layer"], row["source"]), []).append(row)
    for (layer, source), rows in layers.items():
        name = f"{layer} over {source}"
        own = [_deep_row(name, row) for row in rows]
        pages = UnitPages(run, links)
        units = [pages.unit(row, front=row["front"]) for row in own]
        body = {"units": units, "families": [], "common": [], "links": pages.words(own)}
        yield LayerPage(_head(name, source, "units", own, units), packed(finite(body)))


def _deep_row(layer: str, row: Row) -> Row:
    """A row of deep.json with the fields of one of programs.json."""
    front = [
        {"worst": None, "bound": None} | one | {"chosen": one["program"] == row["program"]}
        for one in row["front"]
    ]
    nothing = {"verdict": "unknown", "epsilon": "0", "domain": "", "smt_checked": False}
    return (
        nothing
        | row
        | {"layer": layer, "name": f"{row['unit']} over {row['source']}"}
        | {"front": front}
    )
