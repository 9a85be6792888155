"""A run whose workers are killed at random, and whose disk is full once, against one left alone.

`make bench NAME=faults` prints the tables and writes results/faults.json; it exits 1 where a bar is
missed. Takes about four minutes on two cores. The disk is a small one in memory: to mount it takes
root, or a Linux that lets users have a namespace of their own.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.report import Report  # noqa: E402  (the repository is not a package)
from synth.folder import RESULT_FILES  # noqa: E402
from synth.runs import read_run  # noqa: E402

NETWORK = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(24, 120), nn.ReLU(), nn.Linear(120, 80), nn.ReLU(), nn.Linear(80, 10)
    )

def probes():
    inputs = torch.rand(1500, 24, generator=torch.Generator().manual_seed(1))
    return inputs, network()(inputs).argmax(1)
"""
CONFIG = """
[network]
factory = "network.py:network"
[probes]
inputs = "network.py:probes"
[search]
budget = 120
[run]
jobs = 2
controls = []
retries = 20 # by far more than usual: random kills may meet one unit again and again
"""
UNITS = 210
DISK = 128  # MiB
LEFT = 40_000  # bytes that are left when the disk is filled
PAUSE = (0.5, 3.0)  # seconds from the first new unit after a kill to the next kill
KILLS = 12


@dataclass
class Disturbances:
    """What was done to a run."""

    kills: int = 0
    tried_again: int = 0  # units that were worked at when their pool was ended
    full: int = 0
    exits: list[int] = field(default_factory=list)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    if os.geteuid() != 0:
        os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.argv])
    report = Report("faults", given.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as name, _disk(Path(name) / "disk") as disk:
        folder = Path(name)
        (folder / "network.py").write_text(NETWORK, encoding="utf-8")
        (folder / "run.toml").write_text(CONFIG, encoding="utf-8")
        start = time.perf_counter()
        code = _synth(folder, folder / "alone").wait()
        _row(report, "left alone", folder / "alone", start, Disturbances(exits=[code]))
        start = time.perf_counter()
        done = _disturbed(folder, disk / "run", random.Random(given.seed))
        _row(report, "disturbed", disk / "run", start, done)
        _checks(report, folder / "alone", disk / "run", done)
    return report.finish()


def _disturbed(folder: Path, run: Path, generator: random.Random) -> Disturbances:
    """A run of which workers are killed, and whose disk is filled when a third of it is there."""
    done, ballast = Disturbances(), run.parent / "ballast"
    while done.exits[-1:] not in ([0], [1]) and len(done.exits) < 5:
        process = _synth(folder, run)
        try:
            _disturb(process, run, ballast, generator, done)
        finally:
            process.kill()
        done.exits.append(process.wait())
        ballast.unlink(missing_ok=True)
    return done


def _disturb(
    process: "subprocess.Popen[bytes]",
    run: Path,
    ballast: Path,
    generator: random.Random,
    done: Disturbances,
) -> None:
    """Kill and fill while a process works; it comes on between two kills."""
    known, due = _searched(run), float("inf")
    while process.poll() is None:
        time.sleep(0.05)
        found = _searched(run)
        if not done.full and found > UNITS // 3:
            _fill(ballast)
            done.full += 1
        if found > known and due == float("inf") and done.kills < KILLS:
            due = time.monotonic() + generator.uniform(*PAUSE)
        if time.monotonic() > due and _kill_one(process.pid, run, generator, done):
            known, due = found, float("inf")


def _fill(ballast: Path) -> None:
    """Leave next to no room on a disk, on which others write meanwhile."""
    with suppress(OSError):
        ballast.write_bytes(bytes(max(shutil.disk_usage(ballast.parent).free - LEFT, 0)))


def _searched(run: Path) -> int:
    return read_run(run).units[0] if (run / "store.sqlite").exists() else 0


def _kill_one(parent: int, run: Path, generator: random.Random, done: Disturbances) -> bool:
    """Kill one of the workers of a process, if any works."""
    notes = len(list(run.glob("evidence/layer-*/notes/*")))
    workers = sorted(_workers(parent))
    if not notes or not workers:
        return False
    with suppress(ProcessLookupError):
        os.kill(generator.choice(workers), signal.SIGKILL)
        done.kills += 1
        done.tried_again += notes
    return True


def _workers(parent: int) -> Iterator[int]:
    """The children of a process that search units, those that search a suspected one included."""
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            command = status.with_name("cmdline").read_bytes()
            child = f"PPid:\t{parent}\n" in status.read_text(encoding="utf-8")
            if child and b"popen_loky" in command:
                yield int(status.parent.name)


def _row(report: Report, name: str, run: Path, start: float, done: Disturbances) -> None:
    found = read_run(run)
    report.rows.append(
        {
            "network": name,
            "seconds": round(time.perf_counter() - start, 1),
            "units": found.units[1],
            "failed_units": found.failed,
            "kills": done.kills,
            "units_tried_again": done.tried_again,
            "full_disks": done.full,
            "exits": done.exits,
            "verdict": found.verdict,
        }
    )


def _checks(report: Report, alone: Path, disturbed: Path, done: Disturbances) -> None:
    units, failed = read_run(disturbed).units[1], read_run(disturbed).failed
    differing = [
        name
        for name in RESULT_FILES
        if (alone / name).read_bytes() != (disturbed / name).read_bytes()
    ]
    told = ", ".join(differing) or "none"
    report.check("units", units, ">= 200", units >= 200)
    report.check("workers killed", done.kills, str(KILLS), done.kills == KILLS)
    report.check("runs stopped by a full disk", done.exits.count(3), "1", done.exits.count(3) == 1)
    report.check("units that failed", failed, "0", failed == 0)
    report.check("result files that differ from a run left alone", told, "none", told == "none")


def _synth(folder: Path, run: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "synth", "run", str(folder / "run.toml"), "--out", str(run)]
    return subprocess.Popen([*command, "--quiet"], cwd=ROOT)


@contextmanager
def _disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    size = f"size={DISK}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "faults", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


if __name__ == "__main__":
    raise SystemExit(main())
