"""Products of values are written a*b and read back as the same product."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammars.grammar import Grammar, load_grammar
from grammars.names import Names
from grammars.parser import ParseError, parse_program
from grammars.program import Node, call, const, linear, tap
from grammars.text import format_program

X, Y, Z = (tap("x", i) for i in range(3))
GRAMMAR = load_grammar(tags=("core", "formula"), installed=False)
NAMES = Names({"x": 3}, reserved=GRAMMAR)


def mul(a: Node, b: Node) -> Node:
    return call("mul", a, b)


def read(text: str, grammar: Grammar = GRAMMAR) -> Node:
    return parse_program(text, NAMES, grammar)


WRITTEN = {
    "x_0*x_1": mul(X, Y),
    "x_0*x_1*x_2": mul(mul(X, Y), Z),
    "0.5*x_0*x_1 - 2.0": linear([(0.5, mul(X, Y))], -2.0),
    "x_2 - x_0*x_1": linear([(-1.0, mul(X, Y)), (1.0, Z)]),
    "(x_0 + 1.0)*(x_1 - x_2)": mul(linear([(1.0, X)], 1.0), linear([(1.0, Y), (-1.0, Z)])),
    "cos(x_0)*exp(-x_1)": mul(call("cos", X), call("exp", linear([(-1.0, Y)]))),
    "mul(x_0, x_1*x_2)": mul(X, mul(Y, Z)),
    "mul(0.5*x_0, x_1)": mul(linear([(0.5, X)]), Y),
    "mul(x_0, 2.0)": mul(X, const(2.0)),
    "mul(mul(-x_0, x_1), x_2)": mul(mul(linear([(-1.0, X)]), Y), Z),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_product_is_written_as_people_do(text: str):
    assert format_program(WRITTEN[text], NAMES, GRAMMAR) == text
    assert read(text) == WRITTEN[text]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0.5*(x_0*x_1)", "0.5*x_0*x_1"),
        ("x_0*0.5*x_1*4", "2.0*x_0*x_1"),
        ("-x_0*-1.0", "x_0"),
        ("x_1*x_0/4", "0.25*x_1*x_0"),
        ("x_0 - x_1*(x_2)", "x_0 - x_1*x_2"),
    ],
)
def test_numbers_are_one_weight(text: str, same: str):
    assert read(text) == read(same)


def nodes() -> st.SearchStrategy[Node]:
    weights = st.integers(-8, 8).filter(bool).map(lambda i: i / 4)

    def larger(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        sums = st.builds(linear, st.lists(st.tuples(weights, inner), max_size=3), weights)
        calls = st.builds(call, st.sampled_from(["relu", "cos", "square"]), inner)
        return st.builds(mul, inner, inner) | sums | calls

    return st.recursive(st.sampled_from([X, Y, Z]), larger, max_leaves=8)


@given(nodes())
def test_any_nest_of_products_parses_back(program: Node):
    assert read(format_program(program, NAMES, GRAMMAR)) == program


def test_a_grammar_without_products_says_so():
    core = load_grammar(installed=False)
    with pytest.raises(ParseError, match="a number and a program; the tag 'formula'"):
        read("x_0*x_1", core)
