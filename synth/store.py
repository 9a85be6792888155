"""The results of a run in one SQLite file, under keys that are hashes of content."""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from synth.database import (
    ELSEWHERE,
    check_tables,
    connect,
    payload_digest,
    prepare,
    schema_of,
    snapshot,
    telling,
    transaction,
)
from synth.errors import InputError

FILE_NAME = "store.sqlite"
FRONT = "front"  # the kind under which a unit's front is kept, named "<layer>[<channel>]"
CONTROL_FRONT = "control front"  # the same of a control, which shares the names of its units
DIRECTION_FRONT = "direction front"  # the same of directions, "<layer>:direction[<row>]"
DEEP_FRONT = "deep front"  # of units over an earlier bank, "<layer>:deep[<channel>]"
FAILURES = {  # of units that got no front
    FRONT: "failure",
    CONTROL_FRONT: "control failure",
    DIRECTION_FRONT: "direction failure",
    DEEP_FRONT: "deep failure",
}
COSTS = {  # what the engines did for each unit that has a front, under the same keys
    FRONT: "cost",
    CONTROL_FRONT: "control cost",
    DIRECTION_FRONT: "direction cost",
    DEEP_FRONT: "deep cost",
}
KIN = {  # candidates of units that may be a family, by layer, found from such fronts
    FRONT: "kin",
    CONTROL_FRONT: "control kin",
}
UNITS = "units"  # what a store says of itself: how many units are searched, by layer
_IDENTITY = "(SELECT value FROM meta WHERE key = 'identity')"


class Item(NamedTuple):
    """One stored result."""

    key: str
    name: str
    payload: bytes


CHANGED = (
    "none of its settings: the weights or probes themselves, the source of a primitive, or this "
    "package, which was another version. A factory has to give the same weights each time"
)


class Store:
    """Results by (kind, key) in `folder`; made there if `create`.

    Each `put` outside a `batch` is a transaction of its own. In WAL mode a killed process loses
    at most its open batch, and synchronous=FULL keeps what is committed through a power cut too.
    Several processes may write; each opens its own store (a connection does not survive a fork).
    A folder that cannot be written is read as it stands, unless `create`. Raises InputError: no
    store, not a store, a damaged or a newer one; `Stopped` on a full disk.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, create: bool = True, timeout: float = 60.0
    ) -> None:
        self.path = Path(folder) / FILE_NAME
        _check_folder(self.path, create)
        self._open = ExitStack()
        with self._open as opening, telling(self.path):
            if create or _writable(self.path):
                self._connection = connect(self.path, timeout)
                opening.callback(self._connection.close)
                prepare(self._connection, self.path, timeout)
            else:
                self._connection = opening.enter_context(snapshot(self.path))
                _check_old(self._connection, self.path)
            self._open = opening.pop_all()

    def get(self, kind: str, key: str) -> bytes | None:
        """The payload; None without one, or where it is not what was put."""
        query = "SELECT payload, digest FROM results WHERE kind = ? AND key = ?"
        rows = self._execute(query, kind, key)
        return rows[0][0] if rows and rows[0][1] == payload_digest(rows[0][0]) else None

    def put(self, kind: str, key: str, payload: bytes | str, name: str = "") -> None:
        """Stores a payload (text as UTF-8), in place of one under the same key."""
        data = payload.encode() if isinstance(payload, str) else payload
        statement = f"INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, {_IDENTITY}, ?)"
        self._execute(statement, kind, key, name, data, payload_digest(data))

    def take(self, other: "Store", *, without: str) -> None:
        """Takes over what another store holds of its own run, but what is of the kind `without`."""
        query = "SELECT kind, key, name, payload, digest FROM results WHERE kind <> ?"
        rows = other._connection.execute(f"{query} AND identity = {_IDENTITY}", (without,))
        statement = f"INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, {_IDENTITY}, ?)"
        with self.batch(), telling(self.path):
            self._connection.executemany(statement, rows)

    def remove(self, kind: str, key: str) -> None:
        """Takes a result away, if it is there."""
        self._execute("DELETE FROM results WHERE kind = ? AND key = ?", kind, key)

    def items(self, kind: str, name: str | None = None) -> list[Item]:
        """All results of a kind, or those of one name, in the order of their keys, whatever the
        order of writing."""
        query = "SELECT key, name, payload FROM results WHERE kind = ?"
        named = "" if name is None else " AND name = ?"
        rows = self._execute(f"{query}{named} ORDER BY key", kind, *([name] if named else []))
        return [Item(*row) for row in rows]

    def names(self, kind: str) -> list[str]:
        """The names that results of a kind have."""
        query = "SELECT DISTINCT name FROM results WHERE kind = ? ORDER BY name"
        return [name for (name,) in self._execute(query, kind)]

    def count(self, kind: str) -> int:
        """How many results of a kind there are."""
        return self._execute("SELECT COUNT(*) FROM results WHERE kind = ?", kind)[0][0]

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All writes inside are kept together or, after an exception or a kill, not at all.

        Other writers wait meanwhile; an inner batch joins the outer one.
        """
        if self._connection.in_transaction:
            yield
            return
        with telling(self.path), transaction(self._connection):
            yield

    def claim_identity(
        self, digest: str, description: Mapping[str, Any], *, units: Mapping[str, int] | None = None
    ) -> None:
        """Marks the folder as this run's, or raises InputError saying how it is another's.

        `description` is JSON-able, such as `Config.digest_fields()`; `digest` decides. `units` is
        how many units each layer has that is searched: layers may come one after another.
        """
        with self.batch():
            found = self._meta("identity")
            if found is None:
                self._set_meta("identity", digest)
                self._set_meta("description", json.dumps(description, sort_keys=True))
            elif found != digest:
                raise InputError(self._other_run(description))
            before = self._meta(UNITS) or "{}"
            now = json.dumps(json.loads(before) | dict(units or {}), sort_keys=True)
            if now != before:
                self._set_meta(UNITS, now)

    def layers(self) -> frozenset[str]:
        """The layers that some run into this folder was to search."""
        return frozenset(json.loads(self._meta(UNITS) or "{}"))

    def description(self) -> dict[str, Any] | None:
        """What `claim_identity` stored, or None before it."""
        text = self._meta("description")
        return None if text is None else json.loads(text)

    def forget_others(self) -> int:
        """Takes away the results of other runs than the folder's, and gives their room back."""
        statement = f"DELETE FROM results WHERE identity <> {_IDENTITY} RETURNING 1"
        removed = len(self._execute(statement))
        self._execute("VACUUM")
        self._execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _other_run(self, description: Mapping[str, Any]) -> str:
        ours = _flat(json.loads(json.dumps(description)))
        theirs = _flat(self.description() or {})
        differences = [
            f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} here"
            for key in sorted(ours.keys() | theirs.keys())
            if ours.get(key) != theirs.get(key)
        ]
        reason = "\n".join(differences) or CHANGED
        return f"{self.path.parent} holds another run: {ELSEWHERE}. What differs:\n{reason}"

    def _meta(self, key: str) -> str | None:
        rows = self._execute("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    def _set_meta(self, key: str, value: str) -> None:
        self._execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def _execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with telling(self.path):
            return self._connection.execute(statement, values).fetchall()


def _check_folder(path: Path, create: bool) -> None:
    """Raises InputError if there is no store and none may be, or can be, made."""
    if path.is_file():
        return
    if not create:
        raise InputError(f"{path.parent} holds no run ({FILE_NAME} is missing): start one first.")
    try:
        with telling(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {path.parent} cannot be made: {error}") from error


def _check_old(connection: sqlite3.Connection, path: Path) -> None:
    """Raises InputError unless a store can be read without being changed."""
    check_tables(connection, path)
    if schema_of(connection, path) < 2:
        raise InputError(f"{path} is of an older version: copy {path.parent} where it can change.")


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables by dotted key."""
    if not isinstance(value, dict):
        return {prefix: value}
    pairs = ((f"{prefix}.{key}" if prefix else key, inner) for key, inner in value.items())
    return {key: leaf for dotted, inner in pairs for key, leaf in _flat(inner, dotted).items()}
