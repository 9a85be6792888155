"""Batches side by side: results in order, one numeric thread each, errors as they come."""

import threading

import pytest
import torch

from synth.threads import each, numeric_threads


def test_results_keep_their_order_in_any_number_of_threads():
    late = threading.Event()

    def slow_first(item: int) -> int:
        if item == 0:
            assert late.wait(30)  # the second item can only be done beside it
        late.set()
        return item * item

    with numeric_threads(2):
        assert each(slow_first, range(5)) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("count", [1, 3])
def test_every_task_is_one_numeric_thread(count: int):
    before = torch.get_num_threads()
    with numeric_threads(count):
        assert each(lambda _: torch.get_num_threads(), range(6)) == [1] * 6
    assert torch.get_num_threads() == before


def test_without_threads_and_inside_of_one_items_are_done_here():
    def here(_: int) -> threading.Thread:
        return threading.current_thread()

    assert set(each(here, range(3))) == {threading.current_thread()}
    with numeric_threads(2):
        inner = each(lambda i: (here(i), *each(here, range(3))), range(2))
    assert all(len(set(row)) == 1 for row in inner)
    assert set(each(here, range(3))) == {threading.current_thread()}


@pytest.mark.parametrize("count", [1, 2])
def test_what_an_item_raises_is_raised(count: int):
    done: list[int] = []

    def third_fails(item: int) -> None:
        if item == 2:
            raise ZeroDivisionError(item)
        done.append(item)

    with numeric_threads(count), pytest.raises(ZeroDivisionError, match="2"):
        each(third_fails, range(4))
    assert {0, 1} <= set(done)
