"""Equal programs have equal text, and a wrong rewrite is caught."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.canonical import Canonicaliser, canonical
from grammars.canonical.laws import Checker, laws_of
from grammars.grammar import Grammar, load_grammar
from grammars.names import Names
from grammars.parser import parse_program
from grammars.program import Node, call, linear, tap, terms_of
from grammars.text import format_program

INPUTS = 4
GRAMMAR = load_grammar(tags=("core", "formula"), installed=False)
NAMES = Names({"x": INPUTS}, reserved=GRAMMAR)
TAPS = tuple(tap("x", i) for i in range(INPUTS))


def read(text: str, grammar: Grammar = GRAMMAR) -> Node:
    return parse_program(text, NAMES, grammar)


def text_of(program: Node, grammar: Grammar = GRAMMAR) -> str:
    return format_program(canonical(program, grammar), NAMES, grammar)


CANONICAL = {
    # sums, products and powers
    "x_1*x_0 + 0.5*x_2 + x_0*x_1": "0.5*x_2 + 2.0*x_0*x_1",
    "mul(x_2, x_1*(3.0*x_0))": "3.0*x_0*x_1*x_2",
    "(x_3 - x_2)*(-2.0*x_1 - 2.0*x_0)": "(x_2 - x_3)*(2.0*x_0 + 2.0*x_1)",
    "mul(x_0, x_0)": "square(x_0)",
    "x_0*x_0*x_0": "x_0*square(x_0)",
    "square(x_1)*square(x_0)": "square(x_0*x_1)",
    "abs(x_0)*square(x_1)*abs(x_0)": "square(x_0*x_1)",
    "0.25*square(2.0*x_0)": "square(x_0)",
    "square(x_1 - x_0)": "square(x_0 - x_1)",
    # order and idempotence
    "max(x_2, max(x_1, x_0))": "max(max(x_0, x_1), x_2)",
    "min(min(x_0, x_1), min(x_1, x_0))": "min(x_0, x_1)",
    "abs(abs(x_0))": "abs(x_0)",
    "abs(square(-3.0*x_0))": "9.0*square(x_0)",
    "clip(2.0*sigmoid(x_0))": "clip(2.0*sigmoid(x_0))",
    "relu(relu(x_0) + x_1) - relu(x_1 + relu(relu(x_0)))": "0.0",
    "step(relu(x_0))": "step(x_0)",
    "clip(relu(x_0))": "clip(x_0)",
    # signs
    "cos(-x_0 - x_1)": "cos(x_0 + x_1)",
    "cos(2.0*abs(x_0))": "cos(2.0*x_0)",
    "sin(-x_0) + sin(x_0)": "0.0",
    "-tanh(x_0 - x_1)": "tanh(-x_0 + x_1)",
    "tanh(x_1 - x_0)": "tanh(-x_0 + x_1)",
    "-2.0*x_0*tanh(-x_1)": "2.0*x_0*tanh(x_1)",
    "x_1 + sin(-x_0)": "x_1 - sin(x_0)",
    "-tanh(x_0)": "tanh(-x_0)",
    "x_2 + tanh(-sin(x_1 - x_0))": "x_2 + tanh(sin(x_0 - x_1))",
    "-x_0*(x_1 - x_2)": "x_0*(-x_1 + x_2)",
    # numbers
    "max(max(x_0, 1.0), max(x_1, 2.0))": "max(max(2.0, x_0), x_1)",
    "tanh(0.0) + relu(3.0)*x_0": "3.0*x_0",
    "square(square(3.0))*x_0*(x_1 - x_1)": "0.0",
}


@pytest.mark.parametrize("text", CANONICAL)
def test_a_program_in_its_canonical_words(text: str) -> None:
    assert text_of(read(text)) == CANONICAL[text]
    assert text_of(read(CANONICAL[text])) == CANONICAL[text]


@pytest.mark.parametrize("text", ["sqrt(square(x_0))", "exp(x_0)*exp(x_1)", "tanh(1.0)"])
def test_what_holds_almost_everywhere_is_no_rewrite(text: str) -> None:
    """The root has a floor and the exponential a ceiling, and nothing is rounded."""
    assert text_of(read(text)) == text


UNEQUAL = {
    "sqrt(square(x_0))": "abs(x_0)",
    "exp(x_0)*exp(x_1)": "exp(x_0 + x_1)",
    "square(sin(x_0)) + square(cos(x_0))": "1.0",  # true, but unknown functions do not know it
    "tanh(x_0)": "sin(x_0)",
    "relu(x_0 - 5000.0)": "0.0",
    "max(x_0, x_1)": "max(x_0, x_2)",
    "clip(x_0)": "relu(x_0)",
    "clip(sigmoid(x_0), low=0.0, high=0.75)": "sigmoid(x_0)",
}


@pytest.mark.parametrize("text", UNEQUAL)
def test_exact_points_tell_functions_apart(text: str) -> None:
    assert not Checker(GRAMMAR).same(read(text), read(UNEQUAL[text]))


MUTANTS = {
    "abs(x_0)": "x_0",
    "max(x_0, x_1)": "x_0",
    "relu(-x_0)": "-relu(x_0)",
    "cos(-x_0)": "-cos(x_0)",
    "mul(x_0, x_0)": "x_0",
    "tanh(x_0)": "0.5",
    "step(x_0)": "step(2.0*x_0 - 1.0)",
}


@pytest.mark.parametrize("text", MUTANTS)
def test_a_wrong_rule_is_never_applied(text: str) -> None:
    """A rule that gives another function changes nothing, alone or inside of another program."""
    before, after = read(text), read(MUTANTS[text])
    mutant = Canonicaliser(GRAMMAR, (lambda node, _: after if node == before else None,))
    outer = call("sigmoid", linear([(2.0, before)], 1.0))
    assert mutant.normal(before) == before and mutant.normal(outer) == outer


def test_a_rule_that_raises_changes_nothing() -> None:
    def broken(node: Node, grammar: Grammar) -> Node:
        raise RuntimeError(node.op)

    program = read("abs(x_1 - max(x_0, x_1))")
    assert Canonicaliser(GRAMMAR, (broken,)).normal(program) == program


def test_sums_of_taps_under_a_head_return_at_once() -> None:
    """They are what engines propose in thousands: the same object comes back."""
    wide = [tap("x", i) for i in range(300)]
    sums = linear([(-0.5, node) for node in wide], 1.0)
    for program in (sums, call("relu", sums), call("tanh", sums), TAPS[0], call("relu", TAPS[0])):
        assert canonical(program, GRAMMAR) is program


def test_a_function_that_is_not_in_the_grammar_is_not_written() -> None:
    few = Grammar(tuple(p for p in GRAMMAR.primitives if p.name != "square"))
    assert text_of(read("mul(x_0, x_0)", few), few) == "x_0*x_0"


USER = """
from grammars.primitive import Field, primitive

@primitive()
def blend(k, a: Field, b: Field) -> Field:
    '''(a + b)·|a − b|, elementwise; the shapes broadcast.'''
    apart = k.add(a, k.mul(k.const(-1.0), b))
    return k.mul(k.add(a, b), k.max(apart, k.mul(k.const(-1.0), apart)))

@primitive()
def cube(k, a: Field) -> Field:
    '''a³, elementwise; the shape of a.'''
    return k.mul(a, k.mul(a, a))

@primitive()
def broken(k, a: Field) -> Field:
    '''Nothing, elementwise; the shape of a.'''
    raise RuntimeError("no meaning")
"""

OF_USERS = {
    "blend(x_1, x_0)": "blend(x_0, x_1)",
    "cube(-x_0) + x_1*cube(x_0)": "-cube(x_0) + x_1*cube(x_0)",
    "cube(-x_0) + cube(x_0)": "0.0",
    "broken(x_0 + max(x_2, x_1))": "broken(x_0 + max(x_1, x_2))",
}


def test_a_users_functions_have_their_own_laws(tmp_path: Path) -> None:
    """Order and parity are found on exact points, for any function."""
    (tmp_path / "mine.py").write_text(USER, encoding="utf-8")
    grammar = load_grammar(files=[tmp_path / "mine.py"], tags=("core", "formula"), installed=False)
    laws = laws_of(grammar["blend"], ())
    assert laws.commutative and not laws.associative and not laws.idempotent
    assert {text: text_of(read(text, grammar), grammar) for text in OF_USERS} == OF_USERS


# any program

WEIGHTS = st.sampled_from([-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0])
UNARY = ["relu", "abs", "square", "cos", "sin", "tanh", "step", "sqrt", "exp", "sigmoid", "clip"]
PAIRS = ["mul", "max", "min"]


def unary(op: str, node: Node) -> Node:
    return call(op, node, **{n: spec.default for n, spec in GRAMMAR[op].parameters})


def larger(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    terms = st.lists(st.tuples(WEIGHTS, inner), min_size=1, max_size=3)
    sums = st.builds(linear, terms, st.sampled_from([0.0, 0.0, 1.0, -0.5]))
    calls = st.builds(unary, st.sampled_from(UNARY), inner)
    return sums | calls | st.builds(call, st.sampled_from(PAIRS), inner, inner)


NODES = st.recursive(st.sampled_from(TAPS), larger, max_leaves=8)


@settings(max_examples=150)
@given(NODES)
def test_the_canonical_form_is_the_same_function(program: Node) -> None:
    """By its exact values; it is its own canonical form, and its text parses back."""
    found = canonical(program, GRAMMAR)
    assert Checker(GRAMMAR).same(program, found)
    assert canonical(found, GRAMMAR) == found
    assert read(format_program(found, NAMES, GRAMMAR)) == found


def rewritten(node: Node, draw: st.DataObject) -> Node:
    """The same function in other words, by equivalences that everybody knows."""
    if node.op in ("tap", "const"):
        return node
    if node.op == "linear":
        terms, bias = terms_of(node)
        return linear([(w, rewritten(a, draw)) for w, a in terms], bias)
    node = Node(node.op, tuple(rewritten(a, draw) for a in node.args), node.params)
    return draw.draw(st.sampled_from([node, *same_as(node)]))


def same_as(node: Node) -> list[Node]:
    a, b = node.args[0], node.args[-1]
    minus, half = linear([(-1.0, a)]), linear([(0.5, a)])
    nested = call(node.op, *a.args[:1], call(node.op, *a.args[1:], b)) if a.op == node.op else node
    known = {
        "mul": [nested, call("mul", b, a), call("mul", minus, linear([(-1.0, b)]))],
        "max": [nested, call("max", b, a), call("max", a, node)],
        "min": [nested, call("min", b, a), call("min", node, b)],
        "relu": [call("relu", node), call("abs", node)],
        "abs": [call("abs", minus), call("abs", node)],
        "square": [call("mul", a, a), call("square", minus), call("abs", node)],
        "cos": [call("cos", minus), call("cos", call("abs", a))],
        "sin": [linear([(-1.0, call("sin", minus))])],
        "tanh": [linear([(-1.0, call("tanh", minus))])],
        "step": [call("step", call("relu", a)), call("relu", node)],
        "exp": [call("relu", node), call("exp", linear([(2.0, half)]))],
    }
    return known.get(node.op, [])


@settings(max_examples=150)
@given(NODES, st.data())
def test_equal_programs_have_equal_text(program: Node, data: st.DataObject) -> None:
    other = rewritten(program, data)
    assert text_of(program) == text_of(other), format_program(other, NAMES, GRAMMAR)
