"""What a notebook shows: tables without script or style of their own, every text escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape


def pairs(rows: Mapping[str, str]) -> str:
    """Names and what is said of them, a line each."""
    lines = (f"<tr>{_cell(k, 'th')}{_cell(v)}</tr>" for k, v in rows.items())
    return f"<table>{''.join(lines)}</table>"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """Columns under their titles; all cells are texts."""
    head = "".join(_cell(title, "th") for title in titles)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def code(text: str) -> str:
    """A program as it is written."""
    return f"<pre>{escape(text)}</pre>"


def _cell(text: str, tag: str = "td") -> str:
    return f'<{tag} style="text-align:left">{escape(text)}</{tag}>'
