"""Run folders as they lie on a disk: what each is, how far it got, and what it takes up."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.database import check_tables, schema_of, snapshot
from synth.errors import InputError
from synth.lock import occupant
from synth.store import FAILURES, FILE_NAME, FRONT, UNITS

NEWER, DAMAGED, FINISHED = "belongs to a newer version", "damaged", "finished"


@dataclass(frozen=True)
class Run:
    """A run folder; `units` are (searched, all that were asked for), the rest as summary.json says.

    `size` in bytes; `changed` in seconds since 1970; `config` where its configuration was.
    """

    folder: str
    state: str
    units: tuple[int, int]
    failed: int
    verdict: str | None
    bits_share: float | None
    agreement: float | None
    size: int
    changed: float
    config: str | None


def runs_below(folder: Path) -> list[Run]:
    """All runs in a folder and in those below it, by name. Raises InputError: no such folder."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder: runs are in results/ unless --out said otherwise."
        )
    return [read_run(path.parent) for path in sorted(folder.rglob(FILE_NAME))]


def read_run(folder: Path) -> Run:
    """One run, whatever its state; nothing of it is changed."""
    stored, summary = _stored(folder), _json(folder / "summary.json")
    files = [p.stat() for p in _files(folder)]
    return Run(
        folder=str(folder),
        state=_state(folder, stored, summary),
        units=stored.get("units", (0, 0)),
        failed=stored.get("failed", 0),
        verdict=summary.get("verdict"),
        bits_share=summary.get("bits_share"),
        agreement=summary.get("agreement"),
        size=sum(s.st_size for s in files),
        changed=max(s.st_mtime for s in files),
        config=stored.get("config"),
    )


def ago(then: float, now: float | None = None) -> str:
    """A time as a date, and the hour where it was today."""
    today = time.localtime(now)[:3] == time.localtime(then)[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d", time.localtime(then))


def size_text(size: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def _files(folder: Path) -> Iterator[Path]:
    """The files of a run, without those of runs below it."""
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.is_dir() and not path.is_symlink() and not (path / FILE_NAME).exists():
            yield from _files(path)


def _state(folder: Path, stored: dict[str, Any], summary: dict[str, Any]) -> str:
    if "wrong" in stored:
        return stored["wrong"]
    if works := occupant(folder):
        return f"running, process {works.pid} on {works.host}"
    if summary:
        return FINISHED
    done, count = stored["units"]
    return f"stopped at {done} of {count} units"


def _stored(folder: Path) -> dict[str, Any]:
    """What the store says; `wrong` where it cannot be read."""
    path = folder / FILE_NAME
    try:
        with snapshot(path) as connection:
            check_tables(connection, path)
            schema_of(connection, path)
            return _counted(connection)
    except InputError as error:
        return {"wrong": NEWER if "newer" in str(error) else DAMAGED}
    except (sqlite3.DatabaseError, OSError, ValueError):
        return {"wrong": DAMAGED}


def _counted(connection: sqlite3.Connection) -> dict[str, Any]:
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    layers = json.loads(meta.get(UNITS, "{}"))
    query = "SELECT DISTINCT name FROM results WHERE kind = ?"
    names = [name for (name,) in connection.execute(query, (FRONT,))]
    done = sum(name.rpartition("[")[0] in layers for name in names)
    failed = connection.execute(query, (FAILURES[FRONT],)).fetchall()
    config = json.loads(meta.get("description", "{}")).get("config")
    return {"units": (done, sum(layers.values())), "failed": len(failed), "config": config}


def _json(path: Path) -> dict[str, Any]:
    """A table of a file; empty where there is none, or it is damaged."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
