"""What a run needs only while it works: removed when it ends, and after a kill by the next one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from synth.files import PART
from synth.lock import occupy

FOLDER = "evidence"  # in a run folder: the arrays of layers, and the notes of workers
ARRAYS, INDEX = "evidence.*.npy", "arrays.json"  # a layer's evidence as files
NOTES = "notes"  # a folder with a file for each unit that is worked at
AHEAD = "ahead.npz"  # what engines made of all units of a layer at once


@contextmanager
def working(folder: Path) -> Iterator[None]:
    """Holds a run folder for this process, and leaves nothing behind but results.

    Raises InputError: another process works there, or it cannot be made or written.
    """
    with occupy(folder):
        sweep(folder)
        try:
            yield
        finally:
            sweep(folder)


def sweep(folder: Path) -> int:
    """Removes what runs that are over left in a folder; how many bytes that were.

    Nothing else is touched: a file must have a name that we give, in a place where we put it.
    """
    freed = sum(map(_removed, leftovers(folder)))
    for inner in sorted((folder / FOLDER).glob("**/"), reverse=True):
        with suppress(OSError):  # something else is in it
            inner.rmdir()
    return freed


def leftovers(folder: Path) -> list[Path]:
    """The files that `sweep` removes."""
    spool = folder / FOLDER
    found = [*spool.rglob(ARRAYS), *spool.rglob(INDEX), *spool.glob(f"*/{AHEAD}")]
    found += [p for p in spool.glob(f"*/{NOTES}/*") if p.name.isdecimal()]
    found += [p for p in (*folder.glob(".*"), *spool.rglob(".*")) if re.fullmatch(PART, p.name)]
    return found


def _removed(path: Path) -> int:
    """The size of a file that is removed."""
    size = path.stat().st_size
    path.unlink()
    return size
