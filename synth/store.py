"""The results of a run in one SQLite file, under keys that are hashes of content."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from synth.errors import InputError

FILE_NAME = "store.sqlite"
SCHEMA = 1
FRONT = "front"  # the kind under which a unit's front is kept, named "<layer>[<channel>]"
CONTROL_FRONT = "control front"  # the same of a control, which shares the names of its units
_ELSEWHERE = "choose another folder with --out, or remove this one"
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE results (kind TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, "
    "payload BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
)


class Item(NamedTuple):
    """One stored result."""

    key: str
    name: str
    payload: bytes


class Store:
    """Results by (kind, key) in `folder`; made there if `create`.

    Each `put` outside a `batch` is a transaction of its own. In WAL mode a killed process loses
    at most its open batch, and synchronous=FULL keeps what is committed through a power cut too.
    Several processes may write; each opens its own store (a connection does not survive a fork).
    Raises InputError: no store, not a store, a damaged or a newer one.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, create: bool = True, timeout: float = 60.0
    ) -> None:
        self.path = Path(folder) / FILE_NAME
        _check_folder(self.path, create)
        with self._telling():
            self._connection = sqlite3.connect(self.path, timeout=timeout, isolation_level=None)
        try:
            with self._telling():
                self._prepare(timeout)
        except BaseException:
            self._connection.close()
            raise

    def get(self, kind: str, key: str) -> bytes | None:
        """The payload, or None."""
        query = "SELECT payload FROM results WHERE kind = ? AND key = ?"
        rows = self._execute(query, kind, key)
        return rows[0][0] if rows else None

    def put(self, kind: str, key: str, payload: bytes | str, name: str = "") -> None:
        """Stores a payload (text as UTF-8), in place of one under the same key."""
        data = payload.encode() if isinstance(payload, str) else payload
        self._execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)", kind, key, name, data)

    def items(self, kind: str) -> list[Item]:
        """All results of a kind in the order of their keys, whatever the order of writing."""
        query = "SELECT key, name, payload FROM results WHERE kind = ? ORDER BY key"
        return [Item(*row) for row in self._execute(query, kind)]

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All writes inside are kept together or, after an exception or a kill, not at all.

        Other writers wait meanwhile; an inner batch joins the outer one.
        """
        if self._connection.in_transaction:
            yield
            return
        self._execute("BEGIN IMMEDIATE")  # a lock taken later could fail halfway through
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite ends it itself after a full disk
                self._execute("ROLLBACK")
            raise

    def claim_identity(self, digest: str, description: Mapping[str, Any]) -> None:
        """Marks the folder as this run's, or raises InputError saying how it is another's.

        `description` is JSON-able, such as `Config.digest_fields()`; `digest` decides.
        """
        with self.batch():
            found = self._meta("identity")
            if found is None:
                self._set_meta("identity", digest)
                self._set_meta("description", json.dumps(description, sort_keys=True))
            elif found != digest:
                raise InputError(self._other_run(description))

    def description(self) -> dict[str, Any] | None:
        """What `claim_identity` stored, or None before it."""
        text = self._meta("description")
        return None if text is None else json.loads(text)

    def close(self) -> None:
        self._connection.close()

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
        reason = "\n".join(differences) or "the content of weights, probes or source has changed"
        return f"{self.path.parent} holds another run: {_ELSEWHERE}. What differs:\n{reason}"

    def _meta(self, key: str) -> str | None:
        rows = self._execute("SELECT value FROM meta WHERE key = ?", key)
        return rows[0][0] if rows else None

    def _set_meta(self, key: str, value: str) -> None:
        self._execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def _execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._telling():
            return self._connection.execute(statement, values).fetchall()

    def _prepare(self, timeout: float) -> None:
        if self._execute("PRAGMA quick_check") != [("ok",)]:
            raise sqlite3.DatabaseError("its quick check fails")
        self._enter_wal(timeout)
        self._execute("PRAGMA synchronous = FULL")
        with self.batch():
            tables = {row[0] for row in self._execute("SELECT name FROM sqlite_master")}
            if not tables:
                self._make_tables()
            elif not tables >= {"meta", "results"}:
                raise InputError(f"{self.path} is a database of something else: {_ELSEWHERE}.")
            self._check_schema()

    def _enter_wal(self, timeout: float) -> None:
        """Retries by hand: SQLite's own waiting does not cover this change of mode."""
        end = time.monotonic() + timeout
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _make_tables(self) -> None:
        for statement in _TABLES:
            self._execute(statement)
        self._set_meta("schema", str(SCHEMA))

    def _check_schema(self) -> None:
        text = self._meta("schema") or ""
        if not text.isdecimal():
            raise InputError(f"{self.path} has schema {text!r}, expected a number: {_ELSEWHERE}.")
        if int(text) > SCHEMA:
            raise InputError(
                f"{self.path} was written by a newer version (schema {text}, this one reads up to "
                f"{SCHEMA}): upgrade neuron-synth, or {_ELSEWHERE}."
            )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turns SQLite's errors into an InputError with what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            busy = "locked" in str(error)
            advice = "another process is writing; wait for it or stop it" if busy else _ELSEWHERE
            raise InputError(f"{self.path} cannot be used ({error}): {advice}.") from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self.path} is damaged or no store ({error}): {_ELSEWHERE}."
            ) from error


def _check_folder(path: Path, create: bool) -> None:
    """Raises InputError if there is no store and none may be, or can be, made."""
    if path.is_file():
        return
    if not create:
        raise InputError(f"{path.parent} holds no run ({FILE_NAME} is missing): start one first.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {path.parent} cannot be made: {error}") from error


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested tables by dotted key."""
    if not isinstance(value, dict):
        return {prefix: value}
    pairs = ((f"{prefix}.{key}" if prefix else key, inner) for key, inner in value.items())
    return {key: leaf for dotted, inner in pairs for key, leaf in _flat(inner, dotted).items()}
