"""Batches side by side: each in a thread that is one numeric thread, results in their order.

A sum over batches is thus the same whatever the number of threads, as sums inside a batch are.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

S = TypeVar("S")
T = TypeVar("T")

_state = threading.local()  # the pool of the thread that opened it: threads of a pool have none


@contextmanager
def numeric_threads(count: int) -> Iterator[None]:
    """One thread a numeric task, whatever the machine; `count` tasks of `each` at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1), _pool(count):
            yield
    finally:
        torch.set_num_threads(before)


def each(function: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """`function` of every item, in order; in threads where `numeric_threads` has some.

    What an item raises is raised when all before it are done, and no later one is started then.
    """
    pool: ThreadPoolExecutor | None = getattr(_state, "pool", None)
    if pool is None:
        return [function(item) for item in items]
    futures = [pool.submit(function, item) for item in items]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


@contextmanager
def _pool(count: int) -> Iterator[None]:
    if count < 2:
        yield
        return
    one = torch.set_num_threads
    outer = getattr(_state, "pool", None)
    with ThreadPoolExecutor(count, initializer=one, initargs=(1,)) as pool:
        _state.pool = pool
        try:
            yield
        finally:
            _state.pool = outer
