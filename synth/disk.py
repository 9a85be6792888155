"""A full disk: told as what it is, wherever it is met, so that a run stops cleanly."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synth.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SCARCE = 2**20  # free bytes below which a failed write is put down to them


class Stopped(InputError):
    """The machine, not the input, ends a run; what is kept stays, and the same command goes on."""

    exit_code = 3

    def __str__(self) -> str:
        return "\n".join(self.problems)


def disk_full(path: Path) -> Stopped:
    """What to say where nothing more can be written at `path`."""
    free = f" ({free_space(path) / 2**20:.1f} MiB free)"
    return Stopped(
        f"stopped: the disk of {path} is full{free}, or your quota on it is spent. Make room there "
        "and give the same command: it goes on where it was, and what was kept is not lost."
    )


def free_space(path: Path) -> int:
    """Free bytes on the disk of `path`, of which some part exists."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


@contextmanager
def telling_full(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns an error for lack of room into `Stopped`, which names `path`; others pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise disk_full(Path(path)) from error
