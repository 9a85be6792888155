"""What `synth tune` prints: tables of agreement, and one unit's tuning curve as a chart."""

from collections.abc import Mapping, Sequence
from typing import Any

from synth.shown.tables import NOTHING, number, print_lines, print_pairs

Row = Mapping[str, Any]

BARS = 28  # characters of the longest bar
DIGITS = 4  # of an agreement
LINES = 40  # of a chart, at most
_EIGHTHS = " ▏▎▍▌▋▊▉"


def print_tunings(rows: Sequence[Row]) -> None:
    """A table a layer: what each unit prefers, and how far its program agrees."""
    for layer in dict.fromkeys(row["layer"] for row in rows):
        units = [row for row in rows if row["layer"] == layer]
        families = list(units[0]["families"])
        titles = ["unit", "status", "R²", "in situ", "r", *families, "prefers"]
        lines = [_line(row, families) for row in units]
        print_lines(lines, titles, title=f"{layer}: R² on stimuli", right=titles[2:-1])


def print_unit_tuning(row: Row) -> None:
    """One unit: its agreement by family, and its tuning curve beside its program's."""
    families, best = row["families"], row["prefers"]
    curve = families[best]["curve"]
    print_pairs({"unit": f"{row['name']}, {row['status']}", "prefers": _preferred(row)})
    lines = [_agreement(name, one) for name, one in (*families.items(), ("all", row["all"]))]
    titles = ("family", "stimuli", "R²", "in situ", "r", "unit prefers", "program prefers")
    print_lines(lines, titles, right=titles[1:5])
    print()
    print_lines(
        _chart(curve), (curve["axis"], "unit", "", "program", ""), right=("unit", "program")
    )


def _line(row: Row, families: Sequence[str]) -> list[str]:
    every = row["all"]
    figures = [number(every[key], DIGITS) for key in ("r2", "r2_in_situ", "pearson")]
    each = [number(row["families"][name]["r2"], DIGITS) for name in families]
    return [row["name"], row["status"], *figures, *each, _preferred(row)]


def _agreement(name: str, one: Row) -> list[str]:
    figures = [number(one[key], DIGITS) for key in ("r2", "r2_in_situ", "pearson")]
    preferred = one.get("preferred", {})
    best = [_parameters(preferred.get(kind)) for kind in ("unit", "program")]
    return [name, str(one["stimuli"]), *figures, *best]


def _preferred(row: Row) -> str:
    best = row["families"][row["prefers"]]["preferred"]["unit"]
    return NOTHING if best is None else f"{row['prefers']}: {_parameters(best)}"


def _parameters(values: Mapping[str, float] | None) -> str:
    if values is None:
        return NOTHING
    sign = {1.0: ["light"], -1.0: ["dark"]}.get(values.get("sign", 0.0), [])
    return ", ".join([f"{k} {v:.3g}" for k, v in values.items() if k != "sign"] + sign)


def _chart(curve: Row) -> list[list[str]]:
    """A line for each value of the axis, or for every second one and so on: bars from the least to
    the largest response of either."""
    step = -(-len(curve["values"]) // LINES)
    low, high = (end(0.0, *curve["unit"], *curve["program"]) for end in (min, max))
    lines = []
    for i in range(0, len(curve["values"]), step):
        pair = curve["unit"][i], curve["program"][i]
        cells = [cell for v in pair for cell in (number(v), _bar(v, low, high))]
        lines.append([f"{curve['values'][i]:g}", *cells])
    return lines


def _bar(value: float, low: float, high: float) -> str:
    eighths = round((value - low) / ((high - low) or 1.0) * BARS * 8)
    whole = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
    return whole.ljust(BARS)
