"""The template filled: one file that holds its data, style and code, and asks for nothing else.

All data is in one JSON element that no browser runs, with every character escaped that could end
it; the page shows it as text only. A Content-Security-Policy allows the page's own code and style,
by their hashes, and no connection, picture, font or frame.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synth.files import write_atomic
from synth.folder import REPORT, REPORT_PARTS
from synth.report.document import Document, LayerPage

LARGEST = 30_000_000  # bytes of one file; the layers of a larger report have files of their own

_STATIC = Path(__file__).parent / "static"
_STYLE = ("page.css",)
_CODE = ("elements.js", "numbers.js", "charts.js", "kernels.js", "program.js", "table.js")
_PAGES = ("overview.js", "layer.js", "unit.js", "page.js")
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def write_report(document: Document, folder: Path, *, largest: int = LARGEST) -> list[Path]:
    """Writes report.html, and where it would be too large a file for each layer beside it.

    Gives the files, the first to open first; parts of an older report are removed.
    """
    pages = [(folder / REPORT, document.layers)]
    files: dict[str, str] = {}
    if sum(len(page.packed) for page in document.layers) > largest:
        parts = [(folder / f"report_{i + 1}.html", page) for i, page in enumerate(document.layers)]
        files = {page.head["name"]: path.name for path, page in parts}
        pages = [(folder / REPORT, ()), *((path, (page,)) for path, page in parts)]
    for path, layers in pages:
        write_atomic(path, _text(document, layers, files))
    written = [path for path, _ in pages]
    for old in set(folder.glob(REPORT_PARTS)) - set(written):
        old.unlink()
    return written


def escaped(value: Any) -> str:
    """JSON in ASCII that may stand in a script element, whatever texts it holds."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def _text(document: Document, layers: Sequence[LayerPage], files: dict[str, str]) -> str:
    style, code = _static(_STYLE), _static((*_CODE, *_PAGES))
    data = document.data(layers, files) | {"index": REPORT}
    policy = (
        f"default-src 'none'; script-src {_hash(code)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"POLICY": policy, "STYLE": style, "DATA": escaped(data), "CODE": code}
    before, *rest = (_STATIC / "page.html").read_text("utf-8").split("{{")
    filled = (parts[name] + after for name, _, after in (part.partition("}}") for part in rest))
    return "".join([before, *filled])


def _static(names: Sequence[str]) -> str:
    return "\n".join((_STATIC / name).read_text("utf-8") for name in names)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
