"""Many units through workers that may die, hang or run out of memory: it costs their unit only.

loky ends the whole pool when one of its workers dies. Which unit it died of is read from the notes
of the attempts: those that name a cause are charged. If none does, each unit that ran is tried in a
process of its own, where it is certain, and nothing is charged before. The rest goes on.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from synth.alone import alone
from synth.attempts import DIED, Answer, attempts, attempts_here, left_behind
from synth.backends import Workers, connected, starting
from synth.disk import Stopped
from synth.errors import InputError

SPAN = 0.5  # seconds of work that are sent to a worker at once
LONGEST = 64  # units that are sent at once, at most
WAVE = 4  # parts for each worker of a backend that gives no results one by one
BREAKS = 5  # a pool that breaks so often without any answer, or a unit to blame, does not work

Function = Callable[[int], Any]


def each(
    function: Function, units: Iterable[int], workers: Workers, notes: Path | None
) -> Iterator[list[Answer]]:
    """What became of each unit: a value, or the reason of its last attempt, in no certain order.

    `function` is sent to the workers, and `notes` is an empty folder that they see too; without
    one, all is done in this process. Raises InputError if a worker does, and `Stopped` where no
    worker answers at all.
    """
    effort = _Effort(function, workers, notes, dict.fromkeys(units))
    with connected(workers):
        while effort.waiting:
            yield from effort.round()


class Chunks:
    """Units in parts that take about SPAN each, as far as is known when a part is drawn."""

    def __init__(self, units: Iterable[int], jobs: int) -> None:
        self._rest, self._jobs, self._size = list(units), jobs, 1

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        while self._rest:
            share = -(-len(self._rest) // (2 * self._jobs))  # nobody waits long for the last
            size = min(self._size, share)
            chunk, self._rest = self._rest[:size], self._rest[size:]
            yield tuple(chunk)

    def learn(self, answers: list[Answer]) -> None:
        """Draw the next parts by what these took."""
        mean = sum(a.seconds for a in answers) / max(len(answers), 1)
        self._size = max(1, min(LONGEST, round(SPAN / max(mean, SPAN / LONGEST))))


class _Effort:
    """Units that wait, and how often each has failed."""

    def __init__(
        self, function: Function, workers: Workers, notes: Path | None, waiting: dict[int, None]
    ) -> None:
        self.function, self.workers, self.notes, self.waiting = function, workers, notes, waiting
        self._failed, self._breaks = Counter[int](), 0

    def round(self) -> Iterator[list[Answer]]:
        """Every waiting unit once, or up to the end of the pool."""
        try:
            for answers in _pooled(self.function, tuple(self.waiting), self.workers, self.notes):
                yield self._settled(answers)
        except InputError:
            raise
        except Exception as error:  # of the pool: no attempt raises
            yield from self._after(error)

    def _after(self, error: Exception) -> Iterator[list[Answer]]:
        """Charge the unit that a worker died of, or find it among those that ran."""
        self._breaks += 1
        if self._breaks > BREAKS or self.notes is None:
            backend = self.workers.backend
            said = str(error).partition("\n")[0]
            raise Stopped(f"stopped: no worker of the backend {backend!r} answers ({said})")
        left = {unit: left_behind(self.notes / str(unit)) for unit in self.waiting}
        left = {unit: reason for unit, reason in left.items() if reason is not None}
        known = left if self.workers.jobs == 1 else {u: why for u, why in left.items() if why}
        if known:
            yield self._settled([Answer(u, reason=why or DIED) for u, why in known.items()])
        else:
            yield from self._tried_alone(set(left), self.notes)

    def _tried_alone(self, suspects: set[int], notes: Path) -> Iterator[list[Answer]]:
        workers = self.workers
        while suspects := suspects & self.waiting.keys():
            units = sorted(suspects)
            for answer in alone(self.function, units, notes, workers.limits, at_once=workers.jobs):
                yield self._settled([answer])

    def _settled(self, answers: list[Answer]) -> list[Answer]:
        """Those of the answers that are final; a unit that failed waits while it may be retried."""
        final, self._breaks = [], 0
        for answer in answers:
            self._failed[answer.unit] += answer.reason is not None
            failed = self._failed[answer.unit]
            if answer.reason is None or failed > self.workers.retries:
                final.append(replace(answer, tries=failed + (answer.reason is None)))
                del self.waiting[answer.unit]
        return final


def _pooled(
    function: Function, units: tuple[int, ...], workers: Workers, notes: Path | None
) -> Iterator[list[Answer]]:
    """An attempt at each unit, in the parts and the order in which they end."""
    chunks = Chunks(units, workers.jobs)
    for answers in _results(function, chunks, workers, notes):
        chunks.learn(answers)
        yield answers


def _results(
    function: Function, chunks: Chunks, workers: Workers, notes: Path | None
) -> Iterator[list[Answer]]:
    limits = workers.limits
    if notes is not None:
        calls = (delayed(attempts)(function, chunk, notes, limits) for chunk in chunks)
    elif workers.jobs > 1:
        calls = (delayed(attempts_here)(function, chunk, limits) for chunk in chunks)
    else:
        yield from (attempts_here(function, chunk, limits) for chunk in chunks)
        return
    yield from _sent(calls, workers)


def _sent(calls: Iterator[Any], workers: Workers) -> Iterator[list[Answer]]:
    if workers.backend == "ray":  # it gives results only when all are there: part by part
        while part := list(islice(calls, WAVE * workers.jobs)):
            yield from _parallel()(part)
        return
    ahead = 1 if workers.jobs == 1 and workers.backend == "loky" else "2*n_jobs"
    pool = _parallel(return_as="generator_unordered", pre_dispatch=ahead)
    with starting():
        results = pool(calls)
    with closing(results):
        yield from results


def _parallel(**options: Any) -> Any:
    """joblib's Parallel by the backend that is connected; a part is a task."""
    return Parallel(batch_size=1, **options)  # pyright: ignore[reportArgumentType]
