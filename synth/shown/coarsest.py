"""What `synth coarsest` prints: a line for each number of taps."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from synth.shown.tables import NOTHING, number, print_lines, print_pairs

Row = Mapping[str, Any]

TITLES = ("taps", "grid", "bits", "bound", "program, and what is known of coarser grids")


def print_coarsest(document: Row) -> None:
    """The claim, and the coarsest program for each number of taps."""
    epsilon = number(float(Fraction(document["epsilon"])), 4)
    print_pairs(
        {
            "unit": f"{document['unit']}, which reads {document['taps']} taps that move",
            "claim": f"sup |unit − program| ≤ ε = {epsilon} over the envelope",
            "grids": "numbers are multiples of the grid's step; a bias may be finer by 2 bits",
        }
    )
    lines = [line for row in document["rows"] for line in _lines(row)]
    print_lines(lines, TITLES, right=TITLES[:-1])


def _lines(row: Row) -> list[list[str]]:
    """One line of a program and one of what is known beyond it, or one that there is none."""
    if row["verdict"] != "found":
        least = f"0–{row['terms']}" if row["terms"] else "0"
        taps = least if row["trust"] == "checked" else str(row["terms"])
        return [[taps, NOTHING, NOTHING, NOTHING, row["reason"]]]
    figures = [row["grid"], str(row["bits"]), number(row["bound"])]
    lines = [[str(row["terms"]), *figures, row["program"]]]
    return lines + ([["", "", "", "", row["coarser"]]] if row["coarser"] else [])
