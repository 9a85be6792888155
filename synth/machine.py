"""What this machine has: memory that is free, and what this process holds of it."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

KIB = 1024


def held() -> int:
    """Bytes of memory that this process holds; where no file says it, the most it ever held."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    unit = 1 if sys.platform == "darwin" else KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available(root: Path = Path("/")) -> int | None:
    """Bytes that processes may still take: what is free, or what a control group leaves of it.

    `root` is where the system's files are. None where nothing says it.
    """
    found = [*_meminfo(root), *_control_groups(root)]
    if not found:
        with suppress(ValueError, OSError):  # without such files, all that there is
            found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return min(found, default=None)


def _meminfo(root: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * KIB


def _control_groups(root: Path) -> Iterator[int]:
    """What the groups of this process, and those that they are in, leave; of both versions."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield from _left(root / "sys/fs/cgroup", path, "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes"
            yield from _left(root / "sys/fs/cgroup/memory", path, *names)


def _left(mount: Path, path: str, limit: str, usage: str) -> Iterator[int]:
    """Limits less usage, without the file pages that a group would give back."""
    group = mount / path.lstrip("/")
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):  # no limit, or the word max
            left = int((folder / limit).read_text()) - int((folder / usage).read_text())
            yield max(left + _reclaimable(folder), 0)
        if folder == mount:
            return


def _reclaimable(folder: Path) -> int:
    names = "inactive_file", "total_inactive_file"
    with suppress(OSError, ValueError):
        rows = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max((int(value) for name, value in rows if name in names), default=0)
    return 0
