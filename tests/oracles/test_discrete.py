"""Claims over all inputs of few values: Z3 and trying every input say the same, and are right."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.evaluation import evaluate
from grammars.grammar import Grammar, load_grammar
from grammars.interpreters.rational import RationalAlgebra
from grammars.program import Node, call, linear, tap
from oracles.circuits import Circuit, Domain, deciding
from oracles.claims import Proved, Refuted, Unknown
from oracles.discrete import decide, prove_all
from oracles.exhaustive import check_all, floats

GRAMMAR: Grammar = load_grammar(tags=("core", "discrete"), installed=False)
X = tuple(tap("x", i) for i in range(4))
BITS = Domain({("x", i, 0, 0): (0.0, 1.0) for i in range(4)})
ZERO = Fraction(0)


def total(*weights: float, bias: float = 0.0) -> Node:
    return linear(zip(weights, X, strict=False), bias)


def network(noise: float = 0.0) -> Circuit:
    """Parity of four bits by a bank of rectified sums, as networks learn it."""
    hidden = tuple(call("relu", total(0.3, 0.3, 0.3, 0.3, bias=-0.3 * i)) for i in range(4))
    scales = (1.0, -2.0 + noise, 2.0, -2.0)
    out = linear([(s / 0.3, tap("h", i)) for i, s in enumerate(scales)])
    return Circuit({"h": hidden, "out": (out,)}, (tap("out", 0),))


PARITY = Circuit.alone(call("bit", total(1, 1, 1, 1), place=0))


def test_parity_by_rectified_sums_is_a_bit_of_the_sum() -> None:
    """The decisions of a network and of one word of the grammar are proved equal, by both roads."""
    pair = deciding(network(), 0.5), deciding(PARITY, 0.5)
    found = decide(*pair, BITS, ZERO, GRAMMAR)
    assert found.verdict == Proved("tried", ZERO) and found.smt == Proved("solver", ZERO)


def test_a_network_that_differs_at_one_input_is_refuted_there() -> None:
    """The counterexample is an input at which the two really differ."""
    wrong = Circuit.alone(call("step", total(1, 1, 1, 1, bias=-2.5)))
    right = Circuit.alone(call("step", total(1, 1, 1, 1, bias=-3.5)))
    for found in (
        check_all(wrong, right, BITS, ZERO, GRAMMAR),
        prove_all(wrong, right, BITS, ZERO, GRAMMAR),
    ):
        assert isinstance(found, Refuted) and found.counterexample.sum() == 3


@pytest.mark.parametrize("place", range(6))
def test_bits_are_those_of_whole_numbers(place: int) -> None:
    """`bit` is exact on 0 … 63; beyond, numbers count as the nearest of these."""
    program = call("bit", X[0], place=place)
    for x in (*range(-3, 70), Fraction(9, 4), Fraction(5, 2), Fraction(11, 4)):
        whole = min(max(-int(-(x - Fraction(1, 2)) // 1), 0), 63)
        found = evaluate(program, RationalAlgebra(lambda *_, x=x: Fraction(x)), GRAMMAR)
        assert found == whole >> place & 1, x


def programs() -> st.SearchStrategy[Node]:
    weights = st.integers(-5, 5).filter(bool).map(lambda i: i / 2)

    def larger(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        sums = st.builds(
            linear, st.lists(st.tuples(weights, inner), min_size=1, max_size=3), weights
        )
        calls = st.builds(call, st.sampled_from(["relu", "abs", "step", "sign"]), inner)
        bits = st.builds(lambda a, k: call("bit", a, place=k), inner, st.integers(0, 2))
        pairs = st.builds(call, st.sampled_from(["min", "max"]), inner, inner)
        return sums | calls | pairs | bits

    return st.recursive(st.sampled_from(X), larger, max_leaves=6)


@settings(max_examples=40)
@given(programs(), programs(), st.integers(0, 4))
def test_both_roads_agree(first: Node, second: Node, epsilon: int) -> None:
    """Z3 proves what trying every input proves, and refutes the rest at a real counterexample."""
    pair = Circuit.alone(first), Circuit.alone(second)
    tried = check_all(*pair, BITS, Fraction(epsilon), GRAMMAR)
    smt = prove_all(*pair, BITS, Fraction(epsilon), GRAMMAR)
    assert type(tried) is type(smt)
    if isinstance(tried, Refuted) and isinstance(smt, Refuted):
        assert epsilon < smt.difference <= tried.difference


def test_the_largest_output_is_the_first_among_equals() -> None:
    """Decisions by the largest output are one-hot, as argmax has them."""
    outputs = Circuit(
        {"out": (X[0], X[1], total(0.5, 0.5))}, tuple(tap("out", i) for i in range(3))
    )
    decisions = deciding(outputs, None)
    for point in BITS.points():
        known = dict(zip(BITS.values, map(Fraction, point), strict=True))
        values = outputs.run(RationalAlgebra, known, GRAMMAR)
        found = decisions.run(RationalAlgebra, known, GRAMMAR)
        assert found == [int(i == int(np.argmax([float(v) for v in values]))) for i in range(3)]


def test_the_margin_of_float32_is_reported() -> None:
    """Rounding is far below a margin of a half, and a margin of a hair is not vouched for."""
    found = floats(network(), 0.5, BITS, GRAMMAR)
    assert found.holds and 0.4 < found.margin.least <= 0.5 and 0 < found.margin.rounding < 1e-4
    close = Circuit.alone(total(0.1, 0.2, 0.3, 0.4, bias=-0.6))
    assert not floats(close, 0.0, BITS, GRAMMAR).holds
    whole = Circuit.alone(total(1, 2, -3, 0.5, bias=-1))
    assert floats(whole, 0.0, BITS, GRAMMAR).margin.rounding == 0.0


def test_what_has_no_exact_meaning_is_unknown() -> None:
    smooth = Circuit.alone(call("tanh", X[0]))
    assert isinstance(check_all(smooth, smooth, BITS, ZERO, GRAMMAR), Unknown)
    assert isinstance(prove_all(smooth, smooth, BITS, ZERO, GRAMMAR), Unknown)
