"""Units that may have killed their process, each tried in a process of its own."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing import Process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from joblib.externals.loky.backend import get_context

from synth.attempts import DIED, Answer, Limits, attempts, left_behind
from synth.backends import starting
from synth.errors import InputError

Function = Callable[[int], Any]


def alone(
    function: Function, units: Iterable[int], notes: Path, limits: Limits, *, at_once: int
) -> Iterator[Answer]:
    """An attempt at each unit, as they end: here it is certain which unit a process died of."""
    rest, running = list(units), dict[Connection, tuple[int, Process]]()
    try:
        while rest or running:
            while rest and len(running) < at_once:
                running |= [_start(function, rest.pop(0), notes, limits)]
            for ours in wait(list(running)):
                assert isinstance(ours, Connection)
                unit, process = running.pop(ours)
                yield _end(ours, unit, process, notes)
    finally:
        for _, process in running.values():
            _stop(process)


def _start(
    function: Function, unit: int, notes: Path, limits: Limits
) -> tuple[Connection, tuple[int, Process]]:
    context: Any = get_context("loky")  # unlike spawn it does not run a user's script again
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, function, unit, notes, limits))
    with starting():
        process.start()
    theirs.close()  # so that its death ends the pipe
    return ours, (unit, process)


def _work(theirs: Connection, function: Function, unit: int, notes: Path, limits: Limits) -> None:
    try:
        theirs.send(attempts(function, (unit,), notes, limits)[0])
    except InputError as error:
        theirs.send(error)


def _end(ours: Connection, unit: int, process: Process, notes: Path) -> Answer:
    """The answer of a process, or what it died of. Raises InputError if that is its answer."""
    try:
        found = ours.recv()
        _stop(process)  # it has said all that it has to say
    except EOFError:
        found = None
    ours.close()
    process.join()
    if isinstance(found, InputError):
        raise found
    if found is not None:
        return found
    reason = left_behind(notes / str(unit)) or _words(process.exitcode or 0)
    return Answer(unit, reason=reason)


def _stop(process: Process) -> None:
    with suppress(ProcessLookupError):
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def _words(code: int) -> str:
    """An exit code in words."""
    if code == -signal.SIGKILL:
        return DIED
    if code < 0:
        return f"its process ended by signal {signal.Signals(-code).name}"
    return f"its process ended itself with exit code {code}"
