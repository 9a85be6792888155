"""Arrays that need not fit in memory: kept in nameless temporary files and mapped from there."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from zipfile import ZipFile

import numpy as np

from synth.errors import InputError

LARGE = Path("/var/tmp")  # on a disk, where /tmp is often memory
NUMBERS = "fiub"  # kinds of dtypes: real numbers and booleans
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Columns = Mapping[str, np.ndarray]
"""What one batch gives: arrays (n, ...) by name."""

_Form = dict[str, tuple[np.dtype, tuple[int, ...]]]


def spool(batches: Iterable[Columns], place: str) -> dict[str, np.ndarray]:
    """All batches in one array (N, ...) a column, mapped; memory holds one batch at a time.

    The files are gone with the process, however it ends. Raises InputError: no batch, one that
    holds no numbers or is unlike the first, or no room on the disk.
    """
    columns: dict[str, _Column] = {}
    with ExitStack() as files, _room(place):
        for number, batch in enumerate(batches):
            what = f"{place}: batch {number}, counted from 0,"
            form = _form(batch, what)
            if not columns:
                columns = {n: _Column(files.enter_context(_file()), *f) for n, f in form.items()}
            _check_like(form, {n: (c.dtype, c.shape) for n, c in columns.items()}, what)
            for name, array in batch.items():
                columns[name].add(array)
        if not columns:
            raise InputError(f"{place} gave no batch.")
        return {name: column.mapped() for name, column in columns.items()}


def unpacked(archive: ZipFile, name: str) -> np.ndarray:
    """The array `name` of an .npz file, unpacked to a temporary file and mapped.

    Errors are those of `zipfile` and of `numpy.load`, which unpickles nothing here.
    """
    with (
        archive.open(f"{name}.npy") as member,
        tempfile.NamedTemporaryFile(suffix=".npy", dir=_folder()) as file,
        _room(f"{archive.filename}:{name}"),
    ):
        shutil.copyfileobj(member, file, 1 << 20)
        file.flush()
        return np.load(file.name, mmap_mode="r", allow_pickle=False)


@dataclass
class _Column:
    """A growing file of rows of one dtype and one shape."""

    file: IO[bytes]
    dtype: np.dtype
    shape: tuple[int, ...]
    count: int = 0

    def add(self, rows: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(rows).data)
        self.count += len(rows)

    def mapped(self) -> np.ndarray:
        self.file.flush()
        shape = (self.count, *self.shape)
        if 0 in shape:  # no file of no bytes can be mapped
            return np.empty(shape, self.dtype)
        return np.memmap(self.file, dtype=self.dtype, mode="r", shape=shape)


def _form(batch: Columns, what: str) -> _Form:
    """The dtype and the shape of a row of each column. Raises InputError if it has none."""
    for name, array in batch.items():
        if array.dtype.kind not in NUMBERS:
            raise InputError(f"{what} has {name} of type {array.dtype}, expected real numbers.")
        if not array.ndim:
            raise InputError(f"{what} has a single number for {name}, expected (n, ...).")
    lengths = {name: len(array) for name, array in batch.items()}
    if len(set(lengths.values())) != 1:
        counts = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise InputError(f"{what} has {counts}: expected as many of each.")
    return {name: (array.dtype, array.shape[1:]) for name, array in batch.items()}


def _check_like(form: _Form, first: _Form, what: str) -> None:
    if form != first:
        raise InputError(f"{what} gives {_words(form)}; the first gave {_words(first)}.")


def _words(form: _Form) -> str:
    rows = (f"{n} ({', '.join(map(str, ('n', *s)))}) {d}" for n, (d, s) in form.items())
    return " and ".join(rows)


def _file() -> IO[bytes]:
    return tempfile.TemporaryFile(dir=_folder())


def _folder() -> str:
    """Where large temporary files go: TMPDIR says, else a folder on a disk if there is one."""
    if "TMPDIR" in os.environ or not os.access(LARGE, os.W_OK | os.X_OK):
        return tempfile.gettempdir()
    return str(LARGE)


@contextmanager
def _room(place: str) -> Iterator[None]:
    """Tells of a full disk and what to do; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        advice = "free some space there, or name another folder by the variable TMPDIR"
        raise InputError(f"{place} does not fit in {_folder()} ({error}): {advice}.") from error
