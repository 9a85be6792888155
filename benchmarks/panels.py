"""Small panels beside each other, each with a measured curve and one that was computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, HEIGHT, GAP, COLUMNS = 200, 110, 34, 5
MEASURED, COMPUTED = "#9aa5ad", "#c8553d"


@dataclass(frozen=True)
class Panel:
    """Two series over the same places, scaled by the largest value of the measured one."""

    title: str
    measured: Sequence[float]
    computed: Sequence[float]


def save_panels(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Write all panels under one title, COLUMNS in a row."""
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP) + GAP, rows * (HEIGHT + GAP) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{GAP}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for place, panel in enumerate(panels):
        row, column = divmod(place, COLUMNS)
        parts += _drawn(panel, GAP + column * (WIDTH + GAP), 60 + row * (HEIGHT + GAP))
    path.write_text("\n".join([*parts, "</svg>\n"]), encoding="utf-8")


def _drawn(panel: Panel, left: float, top: float) -> list[str]:
    largest = max(panel.measured)
    base = top + HEIGHT
    return [
        f'<text x="{left}" y="{top - 4}" fill="#555555">{escape(panel.title)}</text>',
        f'<line x1="{left}" y1="{base}" x2="{left + WIDTH}" y2="{base}" stroke="#dddddd"/>',
        _line(panel.measured, largest, left, base, MEASURED, 4),
        _line(panel.computed, largest, left, base, COMPUTED, 1.5),
    ]


def _line(
    values: Sequence[float], largest: float, left: float, base: float, colour: str, wide: float
) -> str:
    step = WIDTH / max(len(values) - 1, 1)
    points = (
        f"{left + i * step:.1f},{base - v / largest * HEIGHT:.1f}" for i, v in enumerate(values)
    )
    path = " ".join(points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{wide}"/>'
