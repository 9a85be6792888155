"""What runs beside the workers comes in order, in one thread, and its errors come through."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from synth.aside import aside
from synth.backends import Workers

HERE, THERE = Workers(jobs=1), Workers(jobs=2)


@pytest.mark.parametrize("workers", [HERE, THERE], ids=["here", "there"])
def test_results_and_items_come_in_order(workers):
    """Tasks and items are the same with a thread and without one."""
    with aside(workers) as beside:
        squares = [beside.start(lambda x: x * x, i) for i in range(5)]
        assert list(beside.ahead(iter(range(4)))) == [0, 1, 2, 3]
        assert list(beside.ahead(iter(()))) == []
        assert [s.result() for s in squares] == [0, 1, 4, 9, 16]


def test_the_next_item_is_made_meanwhile():
    """While one item is held, the next is made, and no other."""
    made: list[int] = []
    ready = threading.Event()

    def items() -> Iterator[int]:
        for i in range(3):
            made.append(i)
            if i == 1:
                ready.set()
            yield i

    with aside(THERE) as beside:
        all_ = beside.ahead(items())
        assert next(all_) == 0 and ready.wait(10)
        time.sleep(0.05)
        assert made == [0, 1]
        assert list(all_) == [1, 2]


def test_without_a_thread_nothing_is_made_before_its_time():
    """In the process that searches too, an item is made when it is asked for."""
    made: list[int] = []
    with aside(HERE) as beside:
        all_ = beside.ahead(made.append(i) or i for i in range(3))
        assert next(all_) == 0 and made == [0]


@pytest.mark.parametrize("workers", [HERE, THERE], ids=["here", "there"])
def test_errors_come_through(workers):
    """What a task or an item raises is raised where it is asked for."""

    def items() -> Iterator[int]:
        yield 1
        raise OSError("full")

    with aside(workers) as beside:
        all_ = beside.ahead(items())
        assert next(all_) == 1
        with pytest.raises(OSError, match="full"):
            next(all_)
        with pytest.raises(ZeroDivisionError):
            beside.start(lambda: 1 // 0).result()


def test_a_run_that_ends_does_not_wait_for_what_has_not_begun():
    """An error in the run drops the tasks that wait."""
    begun, done = threading.Event(), []

    def first() -> None:
        begun.set()
        time.sleep(0.2)

    with pytest.raises(KeyboardInterrupt), aside(THERE) as beside:
        beside.start(first)
        beside.start(done.append, 1)
        assert begun.wait(10)
        raise KeyboardInterrupt
    assert not done


def test_sums_have_one_order():
    """The thread computes with one thread of its own, as all numeric tasks do."""
    with aside(THERE) as beside:
        assert beside.start(torch.get_num_threads).result() == 1
