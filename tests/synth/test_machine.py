"""What a machine leaves to a run, as its files say."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from synth.footprint import MIB
from synth.machine import available, held

CGROUP_V2 = {"sys/fs/cgroup/a/memory.max": "4000000\n", "sys/fs/cgroup/a/memory.current": "1000000"}
CGROUP_V1 = {
    "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000000",
    "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "2500000",
    "sys/fs/cgroup/memory/a/memory.stat": "cache 9\ntotal_inactive_file 100000\n",
}
MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n"}


@pytest.mark.parametrize(
    ("groups", "written", "expected"),
    [
        ("", MEMINFO, 5000 * 1024),
        ("0::/a/b\n", MEMINFO | CGROUP_V2, 3_000_000),
        ("0::/a\n", MEMINFO | CGROUP_V2 | {"sys/fs/cgroup/a/memory.max": "max\n"}, 5000 * 1024),
        ("4:cpu,memory:/a\n0::/\n", MEMINFO | CGROUP_V1, 600_000),
        ("4:memory:/elsewhere\n", CGROUP_V1, None),
    ],
    ids=["no group", "version 2, of a parent", "no limit", "version 1", "not mounted"],
)
def test_control_groups_limit_what_is_free(
    tmp_path: Path, groups: str, written: Mapping[str, str], expected: int | None
) -> None:
    """The least of what is free and of what a group, or one around it, leaves; pages of files that
    can be given back are free."""
    for name, text in (dict(written) | {"proc/self/cgroup": groups}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = available(tmp_path)
    assert found == expected if expected else found is not None and found > 10**8


def test_this_process_holds_something() -> None:
    """What the process holds is between what Python takes and what the machine has."""
    free = available()
    assert 20 * MIB < held() < 2**50 and (free is None or free > MIB)
