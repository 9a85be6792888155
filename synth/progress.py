"""What a run says while it works: bars on a terminal, now and then a line where there is none."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Tell = Callable[[str, int, int], None]
"""(what is being done, how much of it is done, how much there is or 0).

What was done before the first call about a thing was not done now, so it says nothing of the pace.
"""

EVERY = 30.0  # seconds between two lines


@contextmanager
def progress(*, quiet: bool) -> Iterator[Tell]:
    """What a run calls: a bar for each thing on a terminal, else a line now and then."""
    if quiet:
        yield lambda what, done, count: None
    elif sys.stderr.isatty():
        with _bars() as tell:
            yield tell
    else:
        yield Lines()


class Tally:
    """Units done over all layers, of `total`; `known` were done before."""

    def __init__(self, tell: Tell, what: str, total: int, known: int) -> None:
        self._tell, self._what, self._total, self._done = tell, what, total, min(known, total)
        self.add(0)

    def add(self, count: int) -> None:
        """So many more are done."""
        self._done = min(self._done + count, self._total)
        self._tell(self._what, self._done, self._total)


class Pace:
    """How long the rest of one thing will take, by what has been done of it since it was begun.

    The clock for that starts when the first of it is done: what came before is getting ready.
    """

    def __init__(self, done: int, now: float) -> None:
        self._begun, self._first, self._start = now, done, now
        self._ready = False

    def remaining(self, done: int, count: int, now: float) -> float | None:
        """Seconds; None where nothing can be said."""
        if done > self._first and not self._ready:
            self._ready, self._first, self._start = True, done, now
        if done <= self._first or count < done:
            return None
        return (now - self._start) * (count - done) / (done - self._first)

    def elapsed(self, now: float) -> float:
        """Seconds since it was begun."""
        return now - self._begun


class Lines:
    """A line on standard error for what is told, at most one in EVERY seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last = clock, clock()
        self._paces: dict[str, Pace] = {}

    def __call__(self, what: str, done: int, count: int) -> None:
        now = self._clock()
        pace = self._paces.setdefault(what, Pace(done, now))
        rest = pace.remaining(done, count, now)
        if now - self._last < EVERY:
            return
        self._last = now
        of = f"{done} of {count}" if count else str(done)
        parts = [f"{what}: {of}", f"{duration(pace.elapsed(now))} so far"]
        parts += [] if rest is None else [f"about {duration(rest)} left"]
        print(time.strftime("%H:%M:%S"), ", ".join(parts), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `8 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


@contextmanager
def _bars() -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    what = TextColumn("{task.description}", markup=False)  # conv1[3] is no markup
    left = TextColumn("{task.fields[left]}", markup=False)
    columns = (SpinnerColumn(), what, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), left)
    screen = Console(stderr=True, markup=False, highlight=False)
    with Progress(*columns, console=screen, transient=True) as bars:
        tasks: dict[str, Any] = {}
        paces: dict[str, Pace] = {}

        def tell(what: str, done: int, count: int) -> None:
            pace = paces.setdefault(what, Pace(done, time.monotonic()))
            if what not in tasks:
                for task in [t for t in bars.tasks if t.total is None]:
                    bars.remove_task(task.id)  # what had no known end is over
                tasks[what] = bars.add_task(what, total=count or None, left="")
            rest = pace.remaining(done, count, time.monotonic())
            left = f"{duration(rest)} left" if rest else ""
            bars.update(tasks[what], completed=done, left=left)

        yield tell
