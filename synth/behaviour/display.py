"""What `synth validate --full` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from synth.shown.tables import NOTHING, number, print_lines, print_pairs

Row = Mapping[str, Any]

SHOWN = 10  # lines of a table

Table = tuple[tuple[str, ...], list[list[str]]]
"""Titles, and lines of texts."""


def print_behaviour(document: Row) -> None:
    """Tables of answers, of corrupted probes, and of what halves and interventions say."""
    for titles, lines in tables(document):
        print_lines(lines, titles, right=titles[1:])
        print()
    print_pairs(told(document))


def tables(document: Row) -> list[Table]:
    """The tables that have lines; what a line speaks of stands first."""
    found: list[Table] = [
        (("class", "n", "accuracy", "agreement"), _class_lines(document["classes"])),
        (("changed", "n", "were right", "are right"), _changed_lines(document["changed"])),
        (("worst probes", "KL", "answers", "label"), _worst_lines(document["worst"])),
        (("corrupted", "accuracy", "agreement", "KL"), _corrupted_lines(document["corrupted"])),
    ]
    return [(titles, lines) for titles, lines in found if lines]


def told(document: Row) -> dict[str, str]:
    """What halves and interventions say, in words."""
    halves, causes = document["halves"], document["interventions"]
    lines = {}
    if halves:
        least = min(h["agreement"] for h in halves)
        most = max(_number(h["kl_mean"]) for h in halves)
        lines["half replaced"] = (
            f"agreement at least {100 * least:.2f} %, KL at most {number(most)} in "
            f"{len(halves)} draws of half of the units"
        )
    moving = [(c["r2"], c) for c in causes if c["r2"] is not None]
    if moving:
        worst, what = min(moving, key=lambda pair: pair[0])
        unit = f"{what['layer']}[{what['channel']}] {what['kind']}"
        lines["interventions"] = (
            f"R² {document['r2_interventions']:.4f} of the change of the outputs over "
            f"{len(causes)}; the worst {worst:.4f}, {unit}"
        )
    return lines


def _class_lines(rows: Sequence[Row]) -> list[list[str]]:
    """The classes that agree least."""
    worst = sorted(rows, key=lambda r: (r["agreement"], r["class"]))[:SHOWN]
    return [
        [
            str(r["class"]),
            str(r["n"]),
            f"{_share(r['accuracy_original'])} → {_share(r['accuracy_replaced'])}",
            _share(r["agreement"]),
        ]
        for r in worst
    ]


def _changed_lines(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [f"{r['from']} → {r['to']}", str(r["n"]), str(r["were_right"]), str(r["are_right"])]
        for r in rows[:SHOWN]
    ]


def _worst_lines(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [
            str(r["place"]),
            number(r["kl"]),
            f"{r['original']} → {r['replaced']}",
            NOTHING if r["label"] is None else str(r["label"]),
        ]
        for r in rows[:SHOWN]
    ]


def _corrupted_lines(rows: Sequence[Row]) -> list[list[str]]:
    return [
        [
            f"{r['kind']} {r['strength']:g}",
            f"{_share(r['accuracy_original'])} → {_share(r['accuracy_replaced'])}",
            _share(r["agreement"]),
            number(r["kl_mean"]),
        ]
        for r in rows
    ]


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.2f} %"


def _number(value: float | None) -> float:
    return float("inf") if value is None else value
