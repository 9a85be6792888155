"""One attempt at a unit, inside the process that makes it: limited, noted, and never raising.

While an attempt lasts there is a note, a file that is named after the unit. It is still there if
the process dies; then it says which unit ran, and where it was if the interpreter could tell.
"""

import faulthandler
import os
import re
import resource
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from synth.errors import InputError

DIED = "its process was killed, as happens where memory ends, or ended itself"
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Limits:
    """What one attempt may take: seconds, and MiB beyond what the process holds; 0 is no limit."""

    seconds: float = 600.0
    memory_mib: int = 0


@dataclass(frozen=True)
class Answer:
    """What became of an attempt at `unit`: a value, or the `reason` why there is none."""

    unit: int
    value: Any = None
    reason: str | None = None
    seconds: float = 0.0
    tries: int = 1


def attempts(
    function: Callable[[int], Any], units: tuple[int, ...], notes: Path, limits: Limits
) -> list[Answer]:
    """One attempt at each unit, in a process that may die of it.

    Raises InputError where the folder of notes cannot be seen from here.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the parent says when to stop
    if not notes.is_dir():
        raise InputError(
            f"a worker on {socket.gethostname()} does not see {notes}: workers on other machines "
            "need the run folder on a file system that all share."
        )
    return [_attempt(function, unit, notes / str(unit), limits) for unit in units]


def attempts_here(
    function: Callable[[int], Any], units: tuple[int, ...], limits: Limits
) -> list[Answer]:
    """The same in the process of the run itself, which nothing here may end."""
    return [_alarmed(function, unit, limits) for unit in units]


def left_behind(note: Path) -> str | None:
    """Takes a note away; None if there is none, else why it was left: empty if that is unknown."""
    try:
        text = note.read_text(encoding="utf-8", errors="replace")
        note.unlink()
    except FileNotFoundError:
        return None
    ours = [thread for thread in text.split("\n\n") if f'{Path(__file__).name}"' in thread]
    place = re.search(r'File "(.+)", line (\d+) in (.+)', (ours or [""])[0])
    where = f" in {place[3]} ({Path(place[1]).name}, line {place[2]})" if place else ""
    first = text.partition("\n")[0]
    if hung := re.match(r"Timeout \((\d+):(\d+):([\d.]+)\)", first):
        hours, minutes, seconds = map(float, hung.groups())
        return f"no answer within {3600 * hours + 60 * minutes + seconds:g} s{where}"
    return first.removeprefix("Fatal Python error: ") + where if first else ""


def _alarmed(function: Callable[[int], Any], unit: int, limits: Limits) -> Answer:
    try:
        with _alarm(limits.seconds):
            return _answer(function, unit, limits)
    except TimeoutError as error:  # it rang just after the answer
        return Answer(unit, reason=_last_line(error))


def _attempt(function: Callable[[int], Any], unit: int, note: Path, limits: Limits) -> Answer:
    """Not made where a note shows that a process died of it: a scheduler may send a task again."""
    before = left_behind(note)
    if before is not None:
        return Answer(unit, reason=before or DIED)
    with _noted(note) as file, _watched(file, limits.seconds), _memory(limits.memory_mib):
        return _answer(function, unit, limits)


def _answer(function: Callable[[int], Any], unit: int, limits: Limits) -> Answer:
    start = time.perf_counter()
    try:
        value = function(unit)
        return Answer(unit, value, seconds=time.perf_counter() - start)
    except InputError:
        raise  # of no single unit
    except MemoryError as error:
        reason = f"out of memory{_limited(limits)}: {error or 'no message'}"
    except (Exception, SystemExit) as error:
        reason = _last_line(error)
    return Answer(unit, reason=reason, seconds=time.perf_counter() - start)


def _limited(limits: Limits) -> str:
    return f" (unit_memory_mib = {limits.memory_mib})" if limits.memory_mib else ""


def _last_line(error: BaseException) -> str:
    """The last line of a traceback, and the place where it was raised."""
    line = traceback.format_exception_only(error)[-1].strip()
    places = traceback.extract_tb(error.__traceback__)
    return f"{line} ({Path(places[-1].filename).name}, line {places[-1].lineno})"


@contextmanager
def _noted(note: Path) -> Iterator[IO[bytes]]:
    """The open note of an attempt; a full disk costs the note and not the unit."""
    try:
        file = open(note, "wb", buffering=0)  # noqa: SIM115 (closed below)
    except OSError:
        file = open(os.devnull, "wb", buffering=0)  # noqa: SIM115
    with file:
        yield file
    note.unlink(missing_ok=True)


@contextmanager
def _watched(file: IO[bytes], seconds: float) -> Iterator[None]:
    """Ends the process after `seconds`, whatever it does, and writes to `file` where it was."""
    faulthandler.enable(file, all_threads=False)
    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()


@contextmanager
def _memory(mebibytes: int) -> Iterator[None]:
    """Lets this process allocate so much more than it has, where the system can say and hold it."""
    held = re.search(r"VmData:\s*(\d+) kB", _STATUS.read_text()) if _STATUS.exists() else None
    if not mebibytes or held is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = int(held[1]) * 1024 + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (min(limit, hard) if hard > 0 else limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises TimeoutError after `seconds` where signals arrive, in the main thread."""
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        with suppress(TypeError):  # a handler that was not set from Python cannot be put back
            signal.signal(signal.SIGALRM, before)
