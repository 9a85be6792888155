"""What the first page says of a run: its figures, the network, the operating points, the controls.

A section is a title with `pairs` of texts, or with a table of `columns` and `rows` of texts.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synth.behaviour.display import tables, told
from synth.folder import BEHAVIOUR, Finished
from synth.report.pictures import rounded
from synth.shown.tables import held_out_rows, number, share, source_rows

Row = dict[str, Any]

CONTROL_COLUMNS = ("on held-out", "bits", "KL", "agreement", "accuracy")
TITLES = {
    "random": "random programs of equal bits",
    "rounding": "plain rounding at equal bits",
    "pruning": "plain pruning at equal bits",
}


def overview(run: Finished) -> Row:
    """Of a run that is not finished, the parts that need a summary are empty."""
    summary = run.summary
    return {
        "verdict": summary.get("verdict"),
        "units": dict(Counter(row["status"] for row in run.rows)),
        "graph": graph(run),
        "points": points(summary),
        "sections": list(sections(run)),
    }


def graph(run: Finished) -> list[Row]:
    """The banks in order with what each reads; of runs of older versions the layers alone."""
    if run.banks:
        keys = ("name", "kind", "operation", "reads")
        return [{key: bank[key] for key in keys} for bank in run.banks]
    names = dict.fromkeys(row["layer"] for row in run.rows)
    return [{"name": name, "kind": "layer", "operation": "", "reads": []} for name in names]


def points(summary: Mapping[str, Any]) -> list[Row]:
    """The operating points by bits; the chosen one has the figures of select in the summary."""
    if not summary:
        return []
    chosen = summary["select"]
    rows = [
        {key: rounded(point[key], 6) for key in ("bits", "kl", "agreement")}
        | {"chosen": all(point[key] == chosen[key] for key in ("kl", "agreement"))}
        for point in summary["operating_points"]
    ]
    return sorted(rows, key=lambda row: row["bits"])


def sections(run: Finished) -> Iterator[Row]:
    """What is told in words and tables, the most important first."""
    if run.summary:
        yield _pairs("Held-out", held_out_rows(run.summary))
        yield _pairs("Source", source_rows(run.summary))
        yield _table("Controls", CONTROL_COLUMNS, list(_controls(run.summary)))
        yield from _opaque(run.summary)
        yield from _deep(run.summary.get("deep") or {})
    if (path := run.folder / BEHAVIOUR).exists():
        yield from _behaviour(json.loads(path.read_text(encoding="utf-8")))


def _controls(summary: Mapping[str, Any]) -> Iterator[list[str]]:
    """The replacement, and what stands beside it."""
    same, before = share(1.0), share(summary["accuracy_original"])
    yield ["original", f"{summary['bits_original']:,}", "0", same, before]
    figures = [number(summary["kl_mean"]), share(summary["agreement"])]
    yield ["replacement", f"{summary['bits']:,}", *figures, share(summary["accuracy_replaced"])]
    for name, title in TITLES.items():
        row = (summary.get("controls") or {}).get(name)
        if row is not None:
            figures = [number(row["kl_mean"]), share(row["agreement"]), share(row["accuracy"])]
            yield [title, f"{row['bits']:,}", *figures]
    shuffled = summary.get("shuffled_control")
    if shuffled is not None:
        kl = f"{number(shuffled['kl'])} on select"
        bits = f"{summary['bits_shuffled_control']:,}"
        yield ["the same search on shuffled weights", bits, kl, "–", "–"]


def _opaque(summary: Mapping[str, Any]) -> Iterator[Row]:
    rows = [[o["node"], o["operation"], o["reason"]] for o in summary.get("opaque_nodes") or ()]
    if rows:
        yield _table("Left as they are", ("node", "operation", "reason"), rows)


def _deep(layers: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """Layers over an earlier bank, in the place of those that would go."""
    rows = []
    for name, one in layers.items():
        units = ", ".join(f"{count} {status}" for status, count in one["units"].items())
        far = one.get("held_out") or {}
        figures = [number(far.get("kl_mean")), share(far.get("agreement"))]
        bits = one["reason"] or f"{one['bits']:,} against {one['bits_layers']:,}"
        rows.append([f"{name} over {one['source']}", units, bits, *figures])
    if rows:
        columns = ("programs over earlier banks", "units", "bits", "KL", "agreement")
        yield _table("Deep programs", columns, rows)


def _behaviour(document: Mapping[str, Any]) -> Iterator[Row]:
    """Where and under what the answers differ."""
    for titles, lines in tables(document):
        yield _table(f"Behaviour: {titles[0]}", titles, lines)
    if pairs := told(document):
        yield _pairs("Behaviour: causes", pairs)


def _pairs(title: str, pairs: Mapping[str, str]) -> Row:
    return {"title": title, "pairs": [[name, text] for name, text in pairs.items()]}


def _table(title: str, columns: Sequence[str], rows: list[list[str]]) -> Row:
    return {"title": title, "columns": list(columns), "rows": rows}
