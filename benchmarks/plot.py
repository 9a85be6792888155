"""Lines over two logarithmic axes, as one SVG file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 420, 70, 40, 130, 50
COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#6d597a")


@dataclass(frozen=True)
class Line:
    """One series of positive numbers."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def save_plot(path: Path, title: str, lines: Sequence[Line]) -> None:
    """Write the lines, with their points, under a title; both axes go over whole decades."""
    xs, ys = (_Axis.over([v for ln in lines for v in getattr(ln, axis)]) for axis in "xy")
    parts = [f'<text x="{LEFT}" y="{TOP - 15}" font-size="15">{escape(title)}</text>']
    for decade in range(xs.low, xs.high + 1):
        x = LEFT + xs.share(10.0**decade) * (WIDTH - LEFT - RIGHT)
        parts.append(_rule(x, TOP, x, HEIGHT - BOTTOM))
        parts.append(_label(x, HEIGHT - BOTTOM + 20, f"{10.0**decade:g}", "middle"))
    for decade in range(ys.low, ys.high + 1):
        y = HEIGHT - BOTTOM - ys.share(10.0**decade) * (HEIGHT - TOP - BOTTOM)
        parts.append(_rule(LEFT, y, WIDTH - RIGHT, y))
        parts.append(_label(LEFT - 8, y + 4, f"{10.0**decade:g}", "end"))
    for line, colour in zip(lines, COLOURS, strict=False):
        parts += _drawn(line, colour, xs, ys)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
    style = (
        'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>'
    )
    path.write_text("\n".join([f"{head} {style}", *parts, "</svg>\n"]), encoding="utf-8")


@dataclass(frozen=True)
class _Axis:
    low: int
    high: int

    @staticmethod
    def over(values: Sequence[float]) -> "_Axis":
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return _Axis(low, max(high, low + 1))

    def share(self, value: float) -> float:
        return (math.log10(value) - self.low) / (self.high - self.low)


def _drawn(line: Line, colour: str, xs: _Axis, ys: _Axis) -> list[str]:
    points = [
        (
            LEFT + xs.share(x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - ys.share(y) * (HEIGHT - TOP - BOTTOM),
        )
        for x, y in zip(line.x, line.y, strict=True)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    x, y = points[-1]
    name = f'<text x="{x + 10:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(line.name)}</text>'
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *dots,
        name,
    ]


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#555555">{text}</text>'
