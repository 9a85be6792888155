"""Files: written whole or not at all, and missing ones told with the names nearby."""

import os
import secrets
from pathlib import Path

from synth.disk import telling_full
from synth.errors import nearest

PART = r"\..+\.[0-9a-f]{8}\.part"  # a file that is not yet whole


def write_atomic(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Replaces the file at `path` by `content` (text as UTF-8) in one step.

    A reader, or a process that resumes after a kill, sees the old file or the new one, never a
    part. The folder must exist; `Stopped` on a full disk, else OSError as for any write.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with telling_full(path), open(part, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable: it lives in the folder, not in the file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def missing_file(path: Path) -> str | None:
    """None if `path` is a file, else the problem in words, with near names in its folder."""
    if path.is_file():
        return None
    if path.is_dir():
        return f"{path} is a folder, expected a file."
    if not path.parent.is_dir():
        return f"{path} does not exist, nor does its folder {path.parent}."
    beside = [p.name for p in path.parent.iterdir() if p.is_file() and not p.name.startswith(".")]
    alike = [name for name in beside if name.endswith(path.suffix)]
    return f"{path} does not exist.{nearest(path.name, alike or beside)}"
