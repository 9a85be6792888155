"""What `synth assemble --curve` prints: a line for each point."""

from collections.abc import Mapping
from typing import Any

from synth.shown.tables import WIDE, number, print_lines, share, width

TITLES = ("bits", "of 32-bit size", "KL", "agreement", "accuracy", "short coverage", "bits per nat")


def print_curve(curve: Mapping[str, Any]) -> None:
    """The points from the fewest bits to the most; * is the run's own choice. A narrow terminal
    gets them without their prices."""
    titles = TITLES if width() >= WIDE else TITLES[:-1]
    rows = [
        [*_cells(row)[: len(titles)], "*" if row["multiplier"] == curve["own"] else ""]
        for row in curve["points"]
    ]
    before = curve["accuracy_original"]
    truth = "" if before is None else f", where the original's accuracy is {share(before)}"
    own = "" if curve["own"] is None else "; * is the run's own choice"
    print_lines(rows, (*titles, ""), title=f"what select says{truth}{own}", right=titles)


def _cells(row: Mapping[str, Any]) -> list[str]:
    shares = [row[key] for key in ("agreement", "accuracy", "short_coverage_units")]
    figures = [f"{row['bits']:,}", share(row["bits_share"]), number(row["kl"])]
    return [*figures, *map(share, shares), f"{row['multiplier']:.3g}"]
