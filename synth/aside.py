"""What a run does in its own process while workers search: one thread, one task after the other."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from synth.backends import Workers

T = TypeVar("T")


class Aside:
    """Starts tasks in a thread of its own; without one, a task is done when it is started."""

    def __init__(self, thread: ThreadPoolExecutor | None) -> None:
        self._thread = thread

    def start(self, task: Callable[..., T], *arguments: object) -> Future[T]:
        """`task` of these arguments; its result, or what it raised, comes later."""
        if self._thread is not None:
            return self._thread.submit(task, *arguments)
        done: Future[T] = Future()
        done.set_result(task(*arguments))
        return done

    def ahead(self, items: Iterator[T]) -> Iterator[T]:
        """The items, of which the next is made while something is done with this one.

        The first is made here: nothing else is done yet, and this thread may have others beside it.
        """
        if self._thread is None:
            yield from items
            return
        item = next(items, None)
        while item is not None:
            coming: Future[T | None] = self.start(next, items, None)
            yield item
            item = coming.result()


@contextmanager
def aside(workers: Workers) -> Iterator[Aside]:
    """A thread beside workers; none where they are this process, which is then busy itself."""
    if workers.here:
        yield Aside(None)
        return
    thread = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield Aside(thread)
    finally:
        thread.shutdown(cancel_futures=True)
