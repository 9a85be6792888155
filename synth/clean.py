"""Making room: what of a run can be made again is removed, or all that a run ever made."""

from contextlib import suppress
from pathlib import Path

from synth.database import backup_path
from synth.errors import InputError
from synth.folder import (
    DEEP,
    DIRECTIONS,
    GIVEN,
    GIVEN_FILES,
    LATER,
    REPORT_PARTS,
    RESULT_FILES,
)
from synth.leftovers import working
from synth.runs import read_run
from synth.store import FILE_NAME, Store

MADE = (
    *(*RESULT_FILES, DIRECTIONS, DEEP, *LATER, "timing.json"),
    *(f"{FILE_NAME}{end}" for end in ("-wal", "-shm", "")),
)
"""What a run writes into its folder and keeps; the store stands last, for it makes it a run."""


def check_run_folder(folder: Path) -> None:
    """Raises InputError if a folder holds no run."""
    if not (folder / FILE_NAME).is_file():
        raise InputError(
            f"{folder} holds no run ({FILE_NAME} is missing): nothing there is touched."
        )


def clean(folder: Path) -> int:
    """Removes what can be made again: arrays and files of killed runs, old copies and results.

    Gives the bytes that are free now. Raises InputError: no run, or a process works on it.
    """
    check_run_folder(folder)
    before = read_run(folder).size
    with working(folder):
        for path in _copies(folder):
            path.unlink(missing_ok=True)
        with Store(folder, create=False) as store:
            store.forget_others()
    return before - read_run(folder).size


def clean_all(folder: Path) -> tuple[int, list[str]]:
    """Removes all that a run made: (bytes freed, what else is there and stays).

    Raises InputError as `clean` does.
    """
    check_run_folder(folder)
    before = read_run(folder).size
    with working(folder):
        others = {p.name for p in folder.iterdir()} - _ours(folder)
        for path in (*_copies(folder), *_made(folder)):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or something else is in it
            (folder / GIVEN).rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()
    left = sum((folder / name).stat().st_size for name in others if (folder / name).is_file())
    return before - left, sorted(others)


def _ours(folder: Path) -> set[str]:
    from synth.lock import FILE_NAME as LOCK

    return {LOCK, GIVEN, *(path.name for path in (*_copies(folder), *_made(folder)))}


def _made(folder: Path) -> list[Path]:
    """What a run keeps, in which the store comes last."""
    given = (path for name in GIVEN_FILES for path in folder.glob(f"{GIVEN}/{name}"))
    return [*folder.glob(REPORT_PARTS), *given, *(folder / name for name in MADE)]


def _copies(folder: Path) -> list[Path]:
    """Stores of older schemas, and a damaged one, that were kept beside."""
    store = folder / FILE_NAME
    older = backup_path(store, 0).name.replace("0", "*")
    return [*folder.glob(older), folder / f"{store.stem}.damaged{store.suffix}"]
