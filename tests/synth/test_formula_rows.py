"""Which formulas are one function: all that are told to be are, and hardly any other is missed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_formulas import planted
from torch import Tensor

from synth.formulas import library as library_module
from synth.formulas.library import Library
from synth.formulas.rows import SAME, Rows, Shelf

SAMPLES = 48


def rows_of(values: Tensor) -> Rows:
    """Rows of some values, and of nothing else that is told here."""
    zeros = torch.zeros(len(values), dtype=torch.long)
    return Rows(values, zeros, zeros.float(), zeros, torch.stack([zeros, zeros], 1))


def first_by_hand(values: Tensor, known: Tensor) -> list[int]:
    """The first row of each function that is not known, by comparing all with all."""
    kept: list[int] = []
    for i, row in enumerate(values):
        others = torch.cat([known, values[kept]])
        apart = (others - row).abs().amax(1) if len(others) else torch.empty(0)
        if not (apart <= SAME * row.abs().max()).any():
            kept.append(i)
    return kept


@settings(max_examples=40)
@given(st.lists(st.integers(0, 11), max_size=40), st.sets(st.integers(0, 11)), st.integers(0, 99))
def test_the_first_row_of_each_function_is_fresh(which: list[int], known: set[int], seed: int):
    """Rounding makes no new function, and a function that is known is not fresh."""
    generator = torch.Generator().manual_seed(seed)
    functions = torch.randn(12, SAMPLES, generator=generator) * torch.logspace(-6, 6, 12)[:, None]
    rounding = 1 + 1e-7 * torch.randn(len(which), SAMPLES, generator=generator)
    values = functions[which] * rounding if which else functions[:0]
    shelf = Shelf(12, SAMPLES)
    shelf.add(rows_of(functions[sorted(known)]))
    found = shelf.fresh(values)
    assert found.tolist() == first_by_hand(values, functions[sorted(known)])
    assert (
        rows_of(values).distinct.values.tolist()
        == values[first_by_hand(values, values[:0])].tolist()
    )
    shelf.add(rows_of(values).at(found))
    assert not len(shelf.fresh(values))


def test_what_only_looks_the_same_stays():
    """Two functions that differ at one sample by a thousandth have one key, and are two."""
    row = torch.linspace(-1, 1, SAMPLES)
    other = row.clone()
    other[20] += 1e-3
    shelf = Shelf(4, SAMPLES)
    shelf.add(rows_of(row[None]))
    assert shelf.fresh(torch.stack([row, other])).tolist() == [1]
    assert len(rows_of(torch.stack([row, other, row])).distinct) == 2


def test_a_shelf_has_its_rows_in_the_order_in_which_they_came():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(9, SAMPLES, generator=generator)
    shelf = Shelf(9, SAMPLES)
    for part in values.split(4):
        shelf.add(rows_of(part))
    assert torch.equal(shelf.rows.values, values) and shelf.room == 0
    assert not len(shelf.fresh(values.flip(0)))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    """What is stored and what is best is a matter of formulas, not of how many go at once."""
    samples = planted("cos(x_0*x_1) + 0.3*x_2", count=64)
    whole = Library(samples, 4000)
    monkeypatch.setattr(library_module, "PIECE", 100)
    monkeypatch.setattr(library_module, "CHUNK", 300)
    small = Library(samples, 4000)
    bits = int(whole.stored.bits[-1])  # of the last price the budget takes another part
    stored, again = (m.stored.at((m.stored.bits < bits).nonzero()[:, 0]) for m in (whole, small))
    assert whole.programs(stored) == small.programs(again)
    best, again = (m.best.at((m.best.bits < bits).nonzero()[:, 0]) for m in (whole, small))
    assert torch.allclose(best.likeness, again.likeness, atol=1e-4)
