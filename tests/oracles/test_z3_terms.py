"""Z3 terms are the programs, exactly: equal to fractions at points, and provably equal as terms."""

import random
from fractions import Fraction
from functools import cache

import pytest
import z3

from grammars.evaluation import Unsupported, evaluate
from grammars.grammar import Grammar, load_grammar
from grammars.interpreters.rational import RationalAlgebra
from grammars.program import Node, call, linear, tap
from oracles.z3_terms import Z3Algebra, real_value, value_at


@cache
def core() -> Grammar:
    return load_grammar(installed=False)


A, B = tap("a", 0), tap("a", 1, dy=-1)
EXACT = {
    "abs": call("abs", A),
    "clip": call("clip", linear([(0.1, A), (0.3, B)]), low=-0.25, high=0.5),
    "leaky_relu": call("leaky_relu", linear([(0.1, A), (-0.7, B)], 0.3), slope=0.01),
    "max": call("max", A, B),
    "max_pool": call("max_pool", A, size=2),
    "mean_pool": call("mean_pool", A, size=3),
    "min": call("min", A, B),
    "prelu": call("prelu", A, slope=-1.5),
    "relu": call("relu", linear([(1 / 3, A)], 1e-3)),
    "shift": call("shift", A, dy=2, dx=-3),
    "step": call("step", linear([(1.0, A), (-1.0, B)])),
}


@pytest.mark.parametrize("name", sorted(EXACT))
def test_term_is_the_exact_value_at_every_point(name: str) -> None:
    """Substituted and simplified, a term is the very fraction of the rational interpreter."""
    algebra = Z3Algebra()
    term = evaluate(EXACT[name], algebra, core())
    rng = random.Random(name)
    for _ in range(10):
        point = {key: Fraction(rng.randint(-9, 9), 7) for key in algebra.variables}
        exact = evaluate(EXACT[name], RationalAlgebra(lambda *k, p=point: p[k]), core())
        assert value_at(term, algebra, point) == exact


EQUAL = {
    "abs is a maximum": (call("abs", A), call("max", A, linear([(-1.0, A)]))),
    "clip by parts": (
        call("clip", A, low=0.0, high=6.0),
        call("min", call("relu", A), linear([], 6.0)),
    ),
    "prelu of slope one": (call("prelu", A, slope=1.0), A),
    "relu minus relu": (
        linear([(1.0, call("relu", A)), (-1.0, call("relu", linear([(-1.0, A)])))]),
        A,
    ),
}


def proves(left: Node, right: Node) -> bool:
    """Z3 finds no point where the programs differ."""
    algebra, solver = Z3Algebra(), z3.Solver()
    terms = [evaluate(program, algebra, core()) for program in (left, right)]
    solver.add(terms[0] != terms[1])
    return solver.check() == z3.unsat


@pytest.mark.parametrize("name", sorted(EQUAL))
def test_identities_are_proved(name: str) -> None:
    """Programs that are equal as functions are proved equal over all reals."""
    assert proves(*EQUAL[name])


def test_a_wrong_identity_is_not_proved() -> None:
    """leaky_relu and relu differ, and Z3 says so."""
    assert not proves(call("relu", A), call("leaky_relu", A, slope=0.01))


def test_equal_taps_are_one_variable() -> None:
    """A tap that is read twice, or through a shift, is one variable."""
    algebra = Z3Algebra()
    evaluate(call("max", tap("a", 0, dy=1), call("shift", A, dy=1, dx=0)), algebra, core())
    assert list(algebra.variables) == [("a", 0, 1, 0)]


@pytest.mark.parametrize("op", ["sigmoid", "tanh"])
def test_transcendentals_are_a_declared_gap(op: str) -> None:
    """Z3 has no transcendentals, and the core primitives say so."""
    assert "z3" in core()[op].gaps
    with pytest.raises(Unsupported, match=f"z3 has no {op}"):
        evaluate(call(op, A), Z3Algebra(), core())


def test_products_of_values_are_refused() -> None:
    """Terms stay linear: a product of two taps has none."""
    algebra = Z3Algebra()
    with pytest.raises(Unsupported, match="linear"):
        algebra.mul(algebra.read("a", 0, 0, 0), algebra.read("a", 1, 0, 0))


def test_numerals_are_exact() -> None:
    """Fractions of any size survive as numerals."""
    value = Fraction(-(10**40) - 1, 3**70)
    assert real_value(value).as_fraction() == value


def test_contexts_are_kept_apart() -> None:
    """An algebra of its own context makes all terms in it."""
    context = z3.Context()
    term = evaluate(EXACT["clip"], Z3Algebra(context=context), core())
    assert term.ctx is context


def test_point_without_a_tap_is_an_error() -> None:
    """A value for every variable is required."""
    algebra = Z3Algebra()
    term = evaluate(EXACT["max"], algebra, core())
    with pytest.raises(KeyError):
        value_at(term, algebra, {("a", 0, 0, 0): Fraction(1)})
