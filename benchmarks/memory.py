"""The memory that a process and all its children take together."""

import subprocess
import time
from pathlib import Path

EVERY = 1.0  # seconds between two looks


class Peak:
    """Looks at a process tree until it ends."""

    @staticmethod
    def of(process: subprocess.Popen) -> int:
        """The largest sum of proportional set sizes seen, in bytes: shared pages count once."""
        largest = 0
        while process.poll() is None:
            largest = max(largest, sum(_pages(pid) for pid in _tree(process.pid)))
            time.sleep(EVERY)
        return largest


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found += map(int, path.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def _pages(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
