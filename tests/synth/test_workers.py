"""A unit whose worker dies, hangs or fails costs itself one retry, never another or the run."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from faulty import Faulty

from synth import workers as module
from synth.attempts import Answer, Limits, attempts, left_behind
from synth.backends import Workers, check_workers, connected
from synth.disk import Stopped
from synth.errors import InputError
from synth.workers import Chunks, each

UNITS = 14
BAD = {1: "kill", 3: "crash", 5: "leave", 7: "hang", 9: "swallow", 11: "fail"}
REASONS = {
    "kill": "its process was killed, as happens where memory ends",
    "crash": r"Segmentation fault in crash \(faulty.py, line \d+\)",
    "leave": "its process ended itself with exit code 3",
    "hang": r"no answer within 1 s in hang \(faulty.py, line \d+\)",
    "swallow": r"out of memory \(unit_memory_mib = 1000\): Unable to allocate 4",
    "fail": r"ZeroDivisionError: a bug \(faulty.py, line \d+\)",
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, Path]:
    """A folder where calls are counted, and one for notes."""
    for name in ("seen", "notes"):
        (tmp_path / name).mkdir()
    return str(tmp_path / "seen"), tmp_path / "notes"


def outcome(function: Faulty, workers: Workers, notes: Path | None) -> dict[int, Answer]:
    """The answers by unit; each unit has one, and nothing is left of the notes."""
    answers = [a for part in each(function, range(UNITS), workers, notes) for a in part]
    assert sorted(a.unit for a in answers) == list(range(UNITS))
    assert notes is None or not any(notes.iterdir())
    return {a.unit: a for a in answers}


def check_others(found: dict[int, Answer], bad: Iterable[int]) -> None:
    """All units but the bad ones have their value and were charged nothing."""
    others = [a for unit, a in found.items() if unit not in bad]
    assert [(a.value, a.tries, a.reason) for a in others] == [(a.unit**2, 1, None) for a in others]


def test_bad_units_are_reported(folders: tuple[str, Path]) -> None:
    """Every fault ends after one retry with its reason; no other unit is charged."""
    seen, notes = folders
    workers = Workers(2, unit_seconds=1.0, unit_memory_mib=1000)
    found = outcome(Faulty(BAD, seen, takes=0.02), workers, notes)
    for unit, fault in BAD.items():
        answer = found[unit]
        assert answer.value is None and answer.tries == 2
        assert answer.reason and re.match(REASONS[fault], answer.reason), answer.reason
    check_others(found, BAD)


def test_bad_moments_are_retried(folders: tuple[str, Path]) -> None:
    """Where each fault comes but once every unit is found, by one worker too."""
    seen, notes = folders
    workers = Workers(1, unit_seconds=1.0, unit_memory_mib=1000)
    found = outcome(Faulty(BAD, seen, once=True), workers, notes)
    assert all(found[unit].value == unit**2 and found[unit].tries == 2 for unit in BAD)
    check_others(found, BAD)


def test_no_retries(folders: tuple[str, Path]) -> None:
    """With retries = 0 the first failure is the last."""
    seen, notes = folders
    function = Faulty({3: "fail"}, seen)
    assert outcome(function, Workers(2, retries=0), notes)[3].tries == 1
    assert function.calls(3) == 1


@pytest.mark.parametrize(
    ("workers", "fault", "reason"),
    [
        (Workers(), "fail", "ZeroDivisionError: a bug"),
        (Workers(unit_seconds=0.3), "hang", "TimeoutError: no answer within 0.3 s"),
        (Workers(2, "threading"), "fail", "ZeroDivisionError: a bug"),
    ],
    ids=["fail", "hang", "threads"],
)
def test_faults_in_this_process(
    workers: Workers, fault: str, reason: str, folders: tuple[str, Path]
) -> None:
    """Here a bug is reported in the same way, and in the main thread Python code that hangs is."""
    before = signal.getsignal(signal.SIGALRM)
    found = outcome(Faulty({3: fault}, folders[0]), workers, None)
    assert (found[3].reason or "").startswith(reason) and found[3].tries == 2
    check_others(found, [3])
    assert signal.getsignal(signal.SIGALRM) == before


def test_a_pool_that_never_answers_stops(
    folders: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that end before any unit begins end the run with what they said, not a loop."""

    def broken(*_: object) -> Iterator[list[Answer]]:
        raise OSError("no more processes")
        yield

    monkeypatch.setattr(module, "_pooled", broken)
    with pytest.raises(Stopped, match=r"no worker of the backend 'loky' answers \(no more proc"):
        outcome(Faulty({}, folders[0]), Workers(2), folders[1])


def test_a_pool_may_break_again_and_again(
    folders: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as each break leads to an answer the run goes on, however many there are."""
    seen, notes = folders

    def broken(_: object, units: tuple[int, ...], *__: object) -> Iterator[list[Answer]]:
        for unit in units[:2]:
            (notes / str(unit)).touch()
        raise OSError("a worker was killed")
        yield

    def alone(function: Faulty, units: list[int], *_: object, at_once: int) -> Iterator[Answer]:
        yield from (Answer(unit, function(unit)) for unit in units)

    monkeypatch.setattr(module, "_pooled", broken)
    monkeypatch.setattr(module, "alone", alone)
    check_others(outcome(Faulty({}, seen), Workers(2), notes), [])
    assert UNITS // 2 > module.BREAKS


def test_a_worker_elsewhere_needs_the_folder(tmp_path: Path) -> None:
    """A worker that does not see the run folder says so, for it is no fault of a unit."""
    with pytest.raises(InputError, match="on a file system that all share"):
        list(each(Faulty({}, ""), range(UNITS), Workers(2), tmp_path / "nowhere"))


def test_a_task_that_comes_again(folders: tuple[str, Path]) -> None:
    """A note of an earlier attempt means that a process died of the unit: it is not tried here."""
    seen, notes = folders
    (notes / "1").touch()
    function = Faulty({}, seen)
    first, second = attempts(function, (0, 1), notes, Limits())
    assert first.value == 0 and second.reason and "killed" in second.reason
    assert function.calls(1) == 0 and left_behind(notes / "1") is None
    assert attempts(function, (1,), notes, Limits())[0].value == 1


def test_parts_follow_the_time_that_units_take() -> None:
    """Slow units are sent one by one and quick ones together; the last are spread."""
    chunks = Chunks(range(100), 2)
    drawn = iter(chunks)
    assert len(next(drawn)) == 1
    chunks.learn([Answer(0, seconds=0.1)] * 2)
    assert len(next(drawn)) == 5
    chunks.learn([Answer(0, seconds=60.0)])
    assert len(next(drawn)) == 1
    chunks.learn([Answer(0)])
    rest = [len(part) for part in drawn]
    assert sum(rest) == 93 and rest[0] == 24 and rest[-1] == 1 and rest == sorted(rest)[::-1]


# a cluster


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that does not answer is told with its address."""
    monkeypatch.setattr("synth.backends.SECONDS", 0.2)
    there = Workers(backend="dask", scheduler="tcp://127.0.0.1:9")
    with (
        pytest.raises(InputError, match=r"run.scheduler = 'tcp://127.0.0.1:9' cannot be reached"),
        connected(there),
    ):
        pass


@pytest.mark.parametrize(
    ("workers", "missing", "message"),
    [
        (Workers(backend="ray"), "ray", "needs the package 'ray'.*pip install ray"),
        (Workers(backend="dask"), "distributed", "pip install distributed"),
        (
            Workers(scheduler="tcp://a:1"),
            "",
            "run.scheduler = 'tcp://a:1' is for the backends dask",
        ),
        (Workers(backend="threading", unit_memory_mib=9), "", "needs a process for each worker"),
    ],
    ids=["ray", "dask", "scheduler", "threading"],
)
def test_what_cannot_be_done_is_told_before(
    workers: Workers, missing: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is not installed, and settings that do not fit, are one InputError each."""
    monkeypatch.setattr("synth.backends.find_spec", lambda name: None if name == missing else name)
    with pytest.raises(InputError, match=message):
        check_workers(workers)
    check_workers(Workers())


# Ctrl-C

INTERRUPTED = """
import signal
import sys
from pathlib import Path
from faulty import Faulty
from synth.backends import Workers
from synth.workers import each

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, if the tests run behind an &
function = Faulty({}, sys.argv[1], takes=0.2)
try:
    for answers in each(function, range(1000), Workers(2), Path(sys.argv[2])):
        print("answer", flush=True)
except KeyboardInterrupt:
    print("stopped")
    sys.exit(130)
"""


def test_ctrl_c_ends_everything_quietly(folders: tuple[str, Path]) -> None:
    """SIGINT to the whole group, as a terminal sends it, ends in 130 with no word of a worker."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, folders[0], str(folders[1])],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout and process.stdout.readline() == "answer\n"
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output.splitlines()[-1], errors) == (130, "stopped", "")
    end = time.monotonic() + 10
    with suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        pytest.fail("a worker is left")
