"""Lines of generated Python: long calls and sums are wrapped inside their brackets.

Only white space is added, and one pair of parentheses around a bare sum, so that the text without
its layout is what it was.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise

WIDTH = 100
DEEPEST = 48  # columns; what is nested deeper stays there, for lines still have to fit

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[()\[\]{}]|, | [+-] | [*/] ')
_BREAKS = ((", ",), (" + ", " - "), (" * ", " / "))  # loosest first


def assign(target: str, text: str, *, indent: int = 4) -> str:
    """The statement `target = text`, wrapped where it is too long."""
    return _statement(f"{target} = ", text, indent)


def returned(text: str, *, indent: int = 4) -> str:
    """The statement `return text`, wrapped where it is too long."""
    return _statement("return ", text, indent)


def docstring(paragraphs: Iterable[str], *, indent: int = 4) -> str:
    """A docstring; a paragraph is wrapped, unless it begins with a space."""
    margin = " " * indent
    kept = [_escaped(p) for p in paragraphs if p.strip()]
    body = "\n\n".join(_paragraph(p, margin, 3 * (not i)) for i, p in enumerate(kept))
    tail = f"\n{margin}" if "\n" in body or len(body) + 6 > WIDTH or body.endswith('"') else ""
    return f'{margin}"""{body.removeprefix(margin)}{tail}"""'


def _escaped(text: str) -> str:
    """Text that a docstring can hold: neither its own end nor what no editor shows."""
    text = text.replace("\\", "\\\\").replace('"""', r"\"\"\"")
    return "".join(c if c.isprintable() or c.isspace() else repr(c)[1:-1] for c in text)


def unpack(targets: Iterable[str], text: str, *, indent: int = 4) -> str:
    """The statement `a, b, c = text`, wrapped where it is too long."""
    targets = list(targets)
    target = ", ".join(targets) if len(targets) > 1 else f"({targets[0]},)"
    if indent + len(target) + 3 + len(text) <= WIDTH:
        return f"{' ' * indent}{target} = {text}"
    names = _filled([f"{name}," for name in targets], indent + 4)
    return "\n".join([" " * indent + "(", *names, *_laid(") = ", text, "", indent)])


def _statement(start: str, text: str, indent: int) -> str:
    too_long = indent + len(start) + len(text) > WIDTH
    if too_long and _bracket(text) is None and len(_pieces(text)) > 1:
        text = f"({text})"
    return "\n".join(_laid(start, text, "", indent))


def _paragraph(text: str, margin: str, taken: int) -> str:
    if text.startswith(" "):
        return "\n".join(margin + line for line in text.splitlines())
    first = margin + " " * taken  # the quotes stand before the first line
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return margin + "\n".join(lines)[len(first) :]


def _laid(prefix: str, text: str, suffix: str, indent: int) -> list[str]:
    """The lines of prefix + text + suffix."""
    margin = " " * indent
    line = f"{margin}{prefix}{text}{suffix}"
    if len(line) <= WIDTH:
        return [line]
    span = _bracket(text)
    if span is not None:
        first, last = span
        inner = _filled(_pieces(text[first + 1 : last]), min(indent + 4, DEEPEST))
        return [f"{margin}{prefix}{text[: first + 1]}", *inner, f"{margin}{text[last:]}{suffix}"]
    pieces = _pieces(text)
    if len(pieces) == 1:
        return [line]
    pieces[0], pieces[-1] = prefix + pieces[0], pieces[-1] + suffix
    return _filled(pieces, indent)


def _filled(pieces: list[str], indent: int) -> list[str]:
    """As many pieces on a line as fit; a piece that is too long by itself is laid out."""
    lines: list[str] = []
    current = ""
    for piece in pieces:
        if current and indent + len(current) + 1 + len(piece) <= WIDTH:
            current += f" {piece}"
            continue
        lines += [" " * indent + current] if current else []
        current = piece
        if indent + len(piece) > WIDTH:
            lines += _laid("", piece.removesuffix(","), "," * piece.endswith(","), indent)
            current = ""
    return lines + ([" " * indent + current] if current else [])


def _bracket(text: str) -> tuple[int, int] | None:
    """Where the longest bracket of one term opens and closes; None if there is none to break."""
    found: list[tuple[int, int]] = []
    opening = 0
    for depth, token, start in _tokens(text):
        if depth == 0 and token in (*_BREAKS[0], *_BREAKS[1]):
            return None
        if depth == 0 and token in "([{":
            opening = start
        elif depth == 0 and token in ")]}" and start > opening + 1:
            found.append((opening, start))
    return max(found, key=lambda span: span[1] - span[0], default=None)


def _pieces(text: str) -> list[str]:
    """Text cut at its loosest breaks outside brackets; operators begin a piece, commas end one."""
    found = [(token, start) for depth, token, start in _tokens(text) if depth == 0]
    for kinds in _BREAKS:
        cuts = [start + (token == ", ") for token, start in found if token in kinds]
        if cuts:
            edges = [0, *cuts, len(text)]
            return [text[a:b].strip() for a, b in pairwise(edges)]
    return [text]


def _tokens(text: str) -> Iterator[tuple[int, str, int]]:
    """(depth outside the token, token, start) of brackets and possible breaks."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in (")", "]", "}"):
            depth -= 1
        if token[0] != '"':
            yield depth, token, match.start()
        if token in ("(", "[", "{"):
            depth += 1
