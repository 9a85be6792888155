"""Bars on a terminal's standard error while a run works."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Tell = Callable[[str, int, int], None]
"""(what is being done, how much of it is done, how much there is or 0)."""


@contextmanager
def progress(*, quiet: bool) -> Iterator[Tell]:
    """What `synth.run.run` calls: a bar for each thing that is done; nothing off a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda what, done, count: None
        return
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
    columns = (SpinnerColumn(), what, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    screen = Console(stderr=True, markup=False, highlight=False)
    with Progress(*columns, console=screen, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tell(what: str, done: int, count: int) -> None:
            if what not in tasks:
                for task in [t for t in bars.tasks if t.total is None]:
                    bars.remove_task(task.id)  # what had no known end is over
                tasks[what] = bars.add_task(what, total=count or None)
            bars.update(tasks[what], completed=done)

        yield tell
