"""What a damaged store still holds: read around the damage, and kept in a new one."""

import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from synth.database import SCHEMA, TABLES, connect, payload_digest, snapshot, transaction
from synth.errors import InputError
from synth.store import FAILURES

KINDS = (*FAILURES, *FAILURES.values(), "choice", "joint refinement", "origin")
_DIGITS = 3  # of a key: a range of keys is lost where a page of it is damaged
_ROWS = "SELECT kind, key, name, payload, %s FROM results WHERE kind = ? AND key >= ? AND key < ?"


def readable(path: Path) -> str:
    """What of a damaged store can be read, as a sentence with what to do."""
    counts = Counter(row[0] for row in _rows(path))
    if not counts:
        return "Nothing of it can be read."
    listed = ", ".join(f"{n} × {kind}" for kind, n in counts.items())
    return f"What can be read of it is {listed}: `synth clean --salvage {path.parent}` keeps that."


def salvage(path: Path) -> int:
    """Puts what can be read of a damaged store in its place, the old one beside; how many results.

    Raises InputError if it is sound, or if nothing can be read.
    """
    if _sound(path):
        raise InputError(f"{path} is not damaged: nothing has been changed.")
    rows, meta = list(_rows(path)), _meta(path)
    if not rows:
        raise InputError(f"nothing of {path} can be read: remove {path.parent} and run again.")
    saved = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with closing(connect(saved, 60.0)) as new, transaction(new):
        for statement in TABLES:
            new.execute(statement)
        new.executemany("INSERT INTO meta VALUES (?, ?)", [*meta.items(), ("schema", str(SCHEMA))])
        new.executemany(
            "INSERT INTO results VALUES (?, ?, ?, ?, ?, payload_digest(?))",
            [(*row, meta.get("identity"), row[3]) for row in rows],
        )
    _replace(path, saved)
    return len(rows)


def _replace(path: Path, saved: Path) -> None:
    damaged = path.with_name(f"{path.stem}.damaged{path.suffix}")
    os.replace(path, damaged)
    for end in ("-wal", "-shm"):  # what the log held is in `saved`
        path.with_name(path.name + end).unlink(missing_ok=True)
    os.replace(saved, path)


def _sound(path: Path) -> bool:
    try:
        with snapshot(path) as connection:
            return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError:
        return False


def _rows(path: Path) -> Iterator[tuple[str, str, str, bytes]]:
    """Every result that can be read and is what was written."""
    with suppress(sqlite3.DatabaseError, OSError), snapshot(path) as connection:
        digest = "digest" if _has_digests(connection) else "NULL"
        for kind in KINDS:
            for low, high in _ranges() if _any(connection, kind) else ():
                with suppress(sqlite3.DatabaseError):
                    for *row, written in connection.execute(_ROWS % digest, (kind, low, high)):
                        if written is None or written == payload_digest(row[3]):
                            yield row[0], row[1], row[2], row[3]


def _has_digests(connection: sqlite3.Connection) -> bool:
    """Whether the results are of a schema that has digests."""
    return any(row[1] == "digest" for row in connection.execute("PRAGMA table_info(results)"))


def _any(connection: sqlite3.Connection, kind: str) -> bool:
    """Whether there may be results of a kind."""
    try:
        query = "SELECT 1 FROM results WHERE kind = ? LIMIT 1"
        return connection.execute(query, (kind,)).fetchone() is not None
    except sqlite3.DatabaseError:
        return True


def _ranges() -> Iterator[tuple[str, str]]:
    """Ranges that hold all keys: those of hashes finely, whatever comes after them in one."""
    edges = [f"{i:0{_DIGITS}x}" for i in range(16**_DIGITS)]
    yield from zip(edges, [*edges[1:], "g"], strict=True)
    yield "g", "\U0010ffff"


def _meta(path: Path) -> dict[str, str]:
    """What the store says of itself, without its schema; empty where that is damaged."""
    with suppress(sqlite3.DatabaseError), snapshot(path) as connection:
        rows = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        return {key: value for key, value in rows.items() if key != "schema"}
    return {}
