"""The SQLite file under a store: opened, checked, brought to this schema, its errors as advice."""

import hashlib
import os
import secrets
import shutil
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from synth.disk import FULL, SCARCE, disk_full, free_space
from synth.errors import InputError

SCHEMA = 2
ELSEWHERE = "choose another folder with --out, or remove this one"
TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE results (kind TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, "
    "payload BLOB NOT NULL, identity TEXT, digest TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID",
)
MIGRATIONS = {
    1: (  # results say which run they are of, and notice when they are damaged
        "ALTER TABLE results ADD COLUMN identity TEXT",
        "ALTER TABLE results ADD COLUMN digest TEXT",
        "UPDATE results SET digest = payload_digest(payload)",
        "UPDATE results SET identity = (SELECT value FROM meta WHERE key = 'identity')",
    ),
}


def payload_digest(payload: bytes) -> str:
    """What tells a payload from one that a bad disk has changed."""
    return hashlib.blake2b(payload, digest_size=8).hexdigest()


def connect(path: Path, timeout: float) -> sqlite3.Connection:
    """A connection whose transactions are begun and ended by hand."""
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    connection.create_function("payload_digest", 1, payload_digest, deterministic=True)
    return connection


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads a file as it stands and leaves no trace beside it.

    A file with a log of changes is copied, for SQLite writes even where it only reads a log.
    """
    with tempfile.TemporaryDirectory(prefix="synth-") as folder:
        copy = path
        if (log := log_of(path)).exists():
            copy = Path(folder) / path.name
            shutil.copyfile(path, copy)
            with suppress(FileNotFoundError):  # its process has just ended well
                shutil.copyfile(log, log_of(copy))
        mode = "mode=ro" if copy is not path else "immutable=1"
        uri = f"{copy.absolute().as_uri()}?{mode}"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            yield connection


def log_of(path: Path) -> Path:
    """The write-ahead log of a database."""
    return path.with_name(f"{path.name}-wal")


def prepare(connection: sqlite3.Connection, path: Path, timeout: float) -> None:
    """Makes an open file ready: sound, in WAL mode, with the tables of this schema.

    Raises InputError, or the errors of SQLite, which `telling` turns into one.
    """
    if connection.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
        raise sqlite3.DatabaseError("its quick check fails")
    _enter_wal(connection, path, timeout)
    connection.execute("PRAGMA synchronous = FULL")
    with transaction(connection):
        if not _tables(connection):
            _make_tables(connection)
    check_tables(connection, path)
    if (schema := schema_of(connection, path)) < SCHEMA:
        _migrate(connection, path, schema)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All inside or, after an exception or a kill, nothing; others wait to write meanwhile."""
    connection.execute("BEGIN IMMEDIATE")  # a lock taken later could fail halfway through
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it itself after a full disk
            connection.execute("ROLLBACK")
        raise


def check_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Raises InputError if the file is a database of another program."""
    if not _tables(connection) >= {"meta", "results"}:
        raise InputError(f"{path} is a database of something else: {ELSEWHERE}.")


def schema_of(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of a store. Raises InputError: newer than SCHEMA, or no number."""
    rows = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall()
    text = rows[0][0] if rows else ""
    if not text.isdecimal():
        raise InputError(f"{path} has schema {text!r}, expected a number: {ELSEWHERE}.")
    if int(text) > SCHEMA:
        raise InputError(
            f"{path} was written by a newer version (schema {text}, this one reads up to "
            f"{SCHEMA}): upgrade neuron-synth, or {ELSEWHERE}."
        )
    return int(text)


def backup_path(path: Path, schema: int) -> Path:
    """Where a store is kept as it was before its schema was changed."""
    return path.with_name(f"{path.stem}.schema{schema}{path.suffix}")


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into an InputError with what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _advised(path, error) from error
    except sqlite3.DatabaseError as error:
        from synth.salvage import readable

        raise InputError(
            f"{path} is damaged or no store ({error}). {readable(path)} Else {ELSEWHERE}."
        ) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk_full(path) from error


def _advised(path: Path, error: sqlite3.OperationalError) -> InputError:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL" or (name[:12] == "SQLITE_IOERR" and free_space(path) < SCARCE):
        return disk_full(path)
    writable = path.parent.exists() and os.access(path.parent, os.W_OK)
    if "READONLY" in name or not writable:
        advice = f"make the folder writable, or {ELSEWHERE}"
    elif "locked" in str(error):
        advice = "another process is writing; wait for it or stop it"
    elif name[:12] == "SQLITE_IOERR" or name == "SQLITE_PROTOCOL":
        advice = "its file system, perhaps one over a network, refuses what SQLite needs: " + (
            "choose a folder on a local disk with --out"
        )
    else:
        advice = ELSEWHERE
    return InputError(f"{path} cannot be used ({error}): {advice}.")


def _tables(connection: sqlite3.Connection) -> set[Any]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA),))


def _enter_wal(connection: sqlite3.Connection, path: Path, timeout: float) -> None:
    """Retries by hand: SQLite's own waiting does not cover this change of mode."""
    end = time.monotonic() + timeout
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
    if mode != "wal":
        warnings.warn(
            f"{path}: its file system, perhaps one over a network, does not allow SQLite's WAL "
            f"mode (it stays in {mode!r}): commits are as safe, but slower. Prefer a local disk.",
            stacklevel=2,
        )


def _migrate(connection: sqlite3.Connection, path: Path, schema: int) -> None:
    """Brings an older store to SCHEMA; as it was, it stays beside."""
    _back_up(connection, backup_path(path, schema))
    with transaction(connection):
        for step in range(schema_of(connection, path), SCHEMA):  # another process may have begun
            for statement in MIGRATIONS[step]:
                connection.execute(statement)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(SCHEMA),))


def _back_up(connection: sqlite3.Connection, path: Path) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with closing(sqlite3.connect(part)) as copy:
            connection.backup(copy)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
