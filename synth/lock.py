"""One process works in a run folder at a time; a second one is told which.

The lock is the kernel's (flock), so it ends with its process, however that ends. What stands in the
file only says who holds it.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synth.disk import telling_full
from synth.errors import InputError

FILE_NAME = "run.lock"


@dataclass(frozen=True)
class Occupant:
    """The process that works in a folder, and since when (local time)."""

    pid: int = 0
    host: str = "an unknown machine"
    since: str = "an unknown time"

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def occupy(folder: Path) -> Iterator[None]:
    """Holds `folder`, made if need be. Raises InputError: another process works there."""
    path = folder / FILE_NAME
    _make(folder)
    descriptor = _locked(path)
    if descriptor is None:
        raise InputError(
            f"{occupant(folder) or Occupant()}, works in {folder}: wait for it or stop it, or "
            "choose another folder with --out."
        )
    try:
        with telling_full(path):
            ours = Occupant(os.getpid(), socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S"))
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(asdict(ours)).encode())
        yield
    finally:
        if _is_at(descriptor, path):  # still locked: nobody else can hold this file
            path.unlink()
        os.close(descriptor)


def occupant(folder: Path) -> Occupant | None:
    """Who works in a folder now, if anybody."""
    try:
        with open(folder / FILE_NAME, "rb") as file:
            if _take(file.fileno(), fcntl.LOCK_SH):
                return None
            return _read(file.read())
    except OSError:
        return None


def _make(folder: Path) -> None:
    try:
        with telling_full(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"the folder {folder} cannot be made ({error.strerror})"
        raise InputError(f"{reason}: choose another with --out.") from error


def _locked(path: Path) -> int | None:
    """An open, locked descriptor of the file at `path`; None if another process has it."""
    while True:
        try:
            with telling_full(path):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(
                f"{path.parent} cannot be written ({error.strerror}): make it writable, or choose "
                "another folder with --out."
            ) from error
        if not _take(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            return None
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # its owner removed it between our two steps


def _take(descriptor: int, kind: int) -> bool:
    """Whether the lock is ours; a file system that knows no locks refuses nobody."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _read(content: bytes) -> Occupant:
    """Who wrote the file; what is missing, as in the moment before it is written, is unknown."""
    found: dict[str, Any] = {}
    with suppress(ValueError):
        found = json.loads(content)
    return Occupant(**{k: v for k, v in found.items() if k in Occupant.__dataclass_fields__})
