"""The fenced blocks of a document, and what a command line of theirs means."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])

_BLOCK = re.compile(r"(?:^<!-- (parsed only: .+) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
_FILE = re.compile(r"# ([\w.]+\.(?:py|toml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the file that its first line names, and whether it
    is said that it cannot run here."""

    kind: str
    text: str
    file: str | None
    parsed_only: bool

    def commands(self) -> Iterator[list[str]]:
        """The words of each line of a block of commands."""
        for line in self.text.splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def blocks_of(document: Path) -> list[Block]:
    """All blocks in order."""
    found = []
    for note, kind, text in _BLOCK.findall(document.read_text()):
        file = _FILE.match(text) if kind in ("python", "toml") else None
        found.append(Block(kind, text, file and file[1], bool(note)))
    return found
