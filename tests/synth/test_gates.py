"""Planted functions of bits are found again, as short as a person would write them."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.evaluation import evaluate
from grammars.grammar import Grammar, load_grammar
from grammars.interpreters.text import HELPERS
from grammars.interpreters.torch import TorchAlgebra
from grammars.program import Node, count_terms, tap
from synth.emission.helpers import Use, primitive_source, support_names
from synth.gates.search import gates_of
from synth.gates.table import Table, bit_of
from synth.gates.weights import symmetric_weights, threshold_weights

GRAMMAR: Grammar = load_grammar(tags=("core", "discrete"), installed=False)


def table(function, inputs: int, *, kept: float = 1.0) -> Table:
    rows = np.array(list(product((0, 1), repeat=inputs)), dtype=np.int64)
    rows = rows[np.random.default_rng(0).random(len(rows)) < kept]
    values = np.array([int(function(*row)) for row in rows.tolist()], dtype=np.int64)
    return Table(rows, values, tuple(tap("x", i) for i in range(inputs)))


def values(program: Node, rows: np.ndarray) -> np.ndarray:
    columns = torch.from_numpy(rows.T.astype(float))
    found = evaluate(program, TorchAlgebra(lambda b, c, dy, dx: columns[c]), GRAMMAR)
    return torch.as_tensor(found, dtype=torch.float64).expand(len(rows)).numpy()


def number(*bits: int) -> int:
    return sum(bit << i for i, bit in enumerate(bits))


PLANTED = {
    "majority": (lambda *x: sum(x) > 2, 5, 6),
    "parity": (lambda *x: sum(x) % 2, 7, 7),
    "exactly two": (lambda *x: sum(x) == 2, 5, 7),
    "between": (lambda *x: 2 <= sum(x) <= 3, 6, 8),
    "above": (lambda a, b, c, d: number(a, b) > number(c, d), 4, 5),
    "equal": (lambda a, b, c, d: number(a, b) == number(c, d), 4, 5),
    "second bit of a sum": (
        lambda a, b, c, d: (number(a, b) + number(c, d)) >> 1 & 1,
        4,
        4,
    ),
    "carry": (lambda a, b, c, d: number(a, b) + number(c, d) > 3, 4, 5),
    "choice": (lambda s, a, b: a if s else b, 3, 5),
    "choice of four": (lambda s, t, a, b, c, d: (a, b, c, d)[2 * s + t], 6, 13),
    "the third input": (lambda a, b, c: c, 3, 1),
    "nothing": (lambda a, b: 0, 2, 1),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_planted_functions_are_found(name: str):
    """The shortest program is the function at every row, in no more terms than planted."""
    function, inputs, terms = PLANTED[name]
    whole = table(function, inputs)
    best = gates_of(whole, GRAMMAR)[0]
    assert (values(best, whole.rows) == whole.values).all()
    assert count_terms(best) <= terms


@pytest.mark.parametrize("name", ["parity", "majority", "exactly two", "between"])
def test_a_part_of_the_rows_is_enough(name: str):
    """A sum that tells three quarters of the rows tells the others."""
    function, inputs, _ = PLANTED[name]
    best = gates_of(table(function, inputs, kept=0.75), GRAMMAR)[0]
    whole = table(function, inputs)
    assert (values(best, whole.rows) == whole.values).all()


@pytest.mark.parametrize(("inputs", "stride"), [(2, 1), (3, 7), (4, 5957)])
def test_functions_of_few_bits_are_written(inputs: int, stride: int):
    """All programs that are found for every so manieth function are the function at every row."""
    for index in range(0, 2**2**inputs, stride):
        whole = table(lambda *x, index=index: index >> number(*x) & 1, inputs)
        found = gates_of(whole, GRAMMAR)
        assert found and all((values(p, whole.rows) == whole.values).all() for p in found)


@settings(max_examples=20)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=6), st.integers(-6, 6))
def test_thresholds_have_weights_no_larger_than_planted(weights: list[int], level: int):
    whole = table(lambda *x: np.dot(weights, x) > level + 0.5, len(weights))
    found = threshold_weights(whole)
    assert found is not None and abs(found).sum() <= abs(np.array(weights)).sum()


def test_parity_is_no_threshold_and_its_sum_is_plain():
    parity = table(lambda *x: sum(x) % 2, 6)
    assert threshold_weights(parity) is None
    assert next(symmetric_weights(parity)).tolist() == [1] * 6


def test_signs_are_bits_too():
    """A tap of −1 and 1 is half of itself and a half."""
    x = torch.tensor([-1.0, 1.0])
    bit = evaluate(bit_of(tap("x", 0), -1.0, 1.0), TorchAlgebra(lambda *_: x), GRAMMAR)
    assert bit.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("place", range(6))
def test_bits_are_emitted_in_lines_that_name_their_parts(place: int):
    """The emitted `bit` says what integers do, and no threshold is written out again and again."""
    use = Use(1, (("place", place),))
    names = {name: name for name in support_names()}
    primitive = load_grammar(tags=("core", "discrete"), installed=False)["bit"]
    source = primitive_source(primitive, [use], names, remember=False)
    scope: dict[str, Any] = {"torch": torch}
    exec(HELPERS + source, scope)
    whole = torch.arange(64)
    assert torch.equal(scope["bit"](whole.double(), place=place), (whole >> place & 1).double())
    assert source.count("select(") <= 8
