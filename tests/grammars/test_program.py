"""Programs are canonical data: equal programs are equal by value, here and in other processes."""

import pickle
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_programs import numbers, programs, taps, weights

from grammars.program import (
    Node,
    call,
    const,
    count_terms,
    exact_product,
    exact_sum,
    linear,
    sort_key,
    sum_of_taps,
    tap,
    taps_of,
    terms_of,
    walk,
)

A, B = tap("a", 0), tap("a", 1)
TERMS = st.lists(st.tuples(weights, taps()), max_size=12)


@given(TERMS, numbers, st.randoms(use_true_random=False))
def test_linear_does_not_depend_on_the_order(terms, bias, rng) -> None:
    """Any order of the terms gives the same node."""
    shuffled = rng.sample(terms, len(terms))
    assert linear(shuffled, bias) == linear(terms, bias)


@given(TERMS, numbers)
def test_linear_is_sorted_merged_and_without_zeros(terms, bias) -> None:
    """Each tap occurs once, with the exact sum of its weights, and never with weight zero."""
    totals: dict[Node, Fraction] = {}
    for weight, node in terms:
        totals[node] = totals.get(node, Fraction(0)) + Fraction(weight)
    found, constant = terms_of(linear(terms, bias))
    assert {n: Fraction(w) for w, n in found} == {n: w for n, w in totals.items() if w}
    assert constant == bias
    nodes = [n for _, n in found]
    assert nodes == list(taps_of(linear(terms))) and len(nodes) == len(set(nodes))


@given(st.lists(st.tuples(weights, programs(depth=2)), max_size=4), numbers)
def test_linear_flattens_sums_within_sums(terms, bias) -> None:
    """No argument of a sum is a sum or a number, and a sum of a canonical sum is itself."""
    node = linear(terms, bias)
    for here in walk(node):
        if here.op == "linear":
            assert not {a.op for a in here.args} & {"linear", "const"}
    assert linear([(1.0, node)]) == node


def test_linear_of_nothing_is_a_number_and_of_one_is_that_one() -> None:
    """Sums without terms and single terms of weight one are not wrapped."""
    assert linear([], 2.5) == const(2.5)
    assert linear([(1.0, A)]) == A
    assert linear([(1.0, A), (-1.0, A)]) == const(0.0)
    assert linear([(1.0, A)], 1.0).op == linear([(2.0, A)]).op == "linear"


@given(
    st.lists(taps(siblings=True), unique=True, max_size=12),
    st.lists(weights, min_size=12, max_size=12),
    numbers,
)
def test_sums_of_taps_are_linear(chosen, sizes, bias) -> None:
    """Of sorted taps with weights that are not zero the short way makes the same node."""
    ordered = sorted(chosen, key=sort_key)
    terms = list(zip(sizes, ordered, strict=False))
    node = sum_of_taps([w for w, _ in terms], ordered, bias)
    assert node == linear(terms, bias) and hash(node) == hash(linear(terms, bias))


@pytest.mark.parametrize("bias", [float("nan"), float("inf")])
def test_sums_of_taps_have_finite_biases(bias: float) -> None:
    """NaN and infinity are refused the short way too, and −0.0 is 0.0."""
    for count in range(3):
        with pytest.raises(ValueError, match="finite"):
            sum_of_taps([0.5] * count, [A, B][:count], bias)
    assert repr(sum_of_taps([0.5, 0.5], [A, B], -0.0)["bias"]) == "0.0"


def test_only_the_end_result_of_a_merge_has_to_be_exact() -> None:
    """2⁶⁰ + 1 has no float, but 2⁶⁰ + 1 − 2⁶⁰ is 1 in any order."""
    big = 2.0**60
    for order in ([big, 1.0, -big], [big, -big, 1.0], [1.0, big, -big]):
        assert linear([(w, A) for w in order]) == A
        assert linear([(w, const(1.0)) for w in order], 0.5) == const(1.5)


@pytest.mark.parametrize(
    "terms",
    [[(2.0**60, A), (1.0, A)], [(0.1, linear([(0.1, A)]))], [(1e308, A)] * 3, [(1e308, A)] * 2],
)
def test_inexact_merges_are_errors(terms) -> None:
    """A constant of more than 53 bits, or beyond the largest float, is refused."""
    with pytest.raises(ValueError, match="no exact float"):
        linear(terms)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_constants_are_finite(value: float) -> None:
    """NaN and infinities are no constants, wherever they stand."""
    for build in (const, lambda v: linear([(v, A)]), lambda v: linear([(1.0, A)], v)):
        with pytest.raises(ValueError, match="finite"):
            build(value)


def test_negative_zero_is_zero() -> None:
    """−0.0 is written as 0.0, which prints and compares the same."""
    assert repr(const(-0.0)["value"]) == "0.0"
    assert exact_sum(-0.0, 0.0) == 0.0 and exact_product(-1.0, 0.0) == 0.0
    assert repr(exact_product(-1.0, 0.0)) == "0.0"


def test_taps_hold_plain_integers() -> None:
    """NumPy indices become Python's, so that text and streams are the same."""
    import numpy as np

    node = tap("a", np.int64(3), np.int32(-1), np.int64(2))  # type: ignore[arg-type]
    assert node == tap("a", 3, -1, 2)
    assert all(type(node[k]) is int for k in ("channel", "dy", "dx"))


def test_counting_and_walking() -> None:
    """Leaves are taps, numbers and biases; a walk meets parents first."""
    program = call("max", linear([(2.0, A), (1.0, B)], 1.0), call("relu", A))
    assert count_terms(program) == 4
    assert next(walk(program)) is program
    assert taps_of(program) == (A, B)


def test_unknown_parameter_is_named() -> None:
    """Asking a node for a parameter it has not says which."""
    with pytest.raises(KeyError, match=r"tap has no parameter 'slope'"):
        A["slope"]


CHILD = """
import pickle, sys
node = pickle.loads(sys.stdin.buffer.read())
assert node in {node} and hash(node) == hash((node.op, node.args, node.params))
from grammars.program import call, linear, tap
again = call("relu", linear([(0.75, tap("conv1", 3)), (-0.5, tap("conv1", 4, 1, -1))], 0.5))
assert node == again and hash(node) == hash(again)
sys.stdout.buffer.write(pickle.dumps(node))
"""


def test_nodes_pickle_across_processes() -> None:
    """Another process, with other string hashes, finds the node equal to its own, and back."""
    node = call("relu", linear([(0.75, tap("conv1", 3)), (-0.5, tap("conv1", 4, 1, -1))], 0.5))
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=pickle.dumps(node),
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(p for p in sys.path if p)},
        )
        assert done.returncode == 0, done.stderr.decode()
        back = pickle.loads(done.stdout)
        assert back == node and hash(back) == hash(node) and back in {node}
