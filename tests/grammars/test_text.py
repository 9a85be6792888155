"""Text is Python and parses back to the same program; what is no program is explained."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import BANKS, OWN, core, numbers, programs, weights

from grammars import parser
from grammars.names import Names
from grammars.parser import LONGEST, ParseError, parse_program
from grammars.program import call, const, linear, tap
from grammars.text import format_program

NAMES = Names({**BANKS, OWN: 4}, reserved=core())
A = tap("conv1", 3)


def text_of(program, **options) -> str:
    return format_program(program, NAMES, core(), **options)


def parse(text: str):
    return parse_program(text, NAMES, core())


@settings(max_examples=300)
@given(programs(siblings=True), st.sampled_from([1, 2, 32]))
def test_text_parses_back(program, group) -> None:
    """parse(format(p)) == p for programs over all primitives, however sums are grouped."""
    text = text_of(program, group=group)
    assert parse(text) == program
    ast.parse(text, mode="eval")


@pytest.mark.parametrize("count", [1, 31, 32, 33, 1000, 5000])
def test_long_sums_parse_back(count: int) -> None:
    """Sums of thousands of terms are printed in groups that Python's parser can read."""
    bank = Names({"wide": count, **BANKS})
    program = linear([((-1) ** i * (i % 7 + 1) / 8, tap("wide", i)) for i in range(count)], 0.5)
    for node in (program, call("relu", program)):
        assert parse_program(format_program(node, bank, core()), bank, core()) == node


@pytest.fixture
def quick(monkeypatch):
    """Every sum of taps is read without Python's parser if it can be, short ones too."""
    monkeypatch.setattr(parser, "SHORT", 0)


@settings(max_examples=200)
@given(programs(siblings=True), st.sampled_from([1, 2, 32]))
def test_sums_that_are_read_quickly_parse_back(program, group) -> None:
    """What is read without Python's parser is the same program, or is left to the parser."""
    text = text_of(program, group=group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser, "SHORT", 0)
        assert parse(text) == program


SUM = "0.75*conv1_3 - shift(conv1_4, dy=1, dx=-1) - 2.5e-07*pre(conv2_3) + 0.5"


@pytest.mark.parametrize("text", [SUM, f"relu({SUM})", f"clip({SUM}, low=-1.0, high=4.0)"])
def test_stored_sums_do_not_need_the_parser(quick, monkeypatch, text) -> None:
    """Sums in canonical text are read without it, but for the head's parameters."""
    expected, calls = parse(text), []
    real = ast.parse
    monkeypatch.setattr(ast, "parse", lambda *a, **k: calls.append(a[0]) or real(*a, **k))
    assert parse(text) == expected and text_of(expected) == text
    assert all(len(t) < 40 for t in calls)


@pytest.mark.parametrize(
    "text",
    [
        "shift(conv1_4, dy=1) + conv1_3",  # not in order
        "conv1_3 + conv1_3",
        "conv1_3 + conv1_4 + 1.0 + 1.0",
        "relu(conv1_3) + relu(conv1_4)",
        "0.0*conv1_3 + conv1_4",
        "conv1_3 - (conv1_4 - 0.5)",
        "(conv1_3 + conv1_4)",
        "relu(0.50*conv1_3 + conv1_4)",
        "conv1_3  +  conv1_4",
    ],
)
def test_other_texts_mean_what_they_say(quick, monkeypatch, text) -> None:
    """A sum that is written in another manner is what the parser says it is."""
    found = parse(text)
    monkeypatch.setattr(parser, "SHORT", 10**9)
    assert found == parse(text)


@pytest.mark.parametrize(
    "text", ["conv1_3 + conv1_99", "wrong(conv1_3 + conv1_4)", "relu(conv1_3 + conv1_4, low=1.0)"]
)
def test_what_is_wrong_is_told_all_the_same(quick, text) -> None:
    """Names that nothing has, and parameters that a head does not take, raise ParseError."""
    with pytest.raises(ParseError):
        parse(text)


def test_text_reads_as_a_person_would_write() -> None:
    """The canonical text of the usual programs."""
    filtered = linear([(0.75, A), (-0.125, tap("conv1", 4, 1, -1))], 0.5)
    assert (
        text_of(call("relu", filtered))
        == "relu(0.75*conv1_3 - 0.125*shift(conv1_4, dy=1, dx=-1) + 0.5)"
    )
    assert text_of(linear([(-1.0, A)])) == "-conv1_3"
    assert text_of(call("relu", linear([(-1.0, tap("conv2:pre", 3))]))) == "relu(-pre(conv2_3))"
    assert text_of(tap("conv2:pre", 3, 1)) == "shift(pre(conv2_3), dy=1)"
    assert text_of(call("leaky_relu", A, slope=0.01)) == "leaky_relu(conv1_3)"
    assert text_of(const(-2.0)) == "-2.0"


def test_parameters_print_as_python_numbers() -> None:
    """Whole and NumPy numbers print as the floats and integers that are parsed back."""
    import numpy as np

    node = call("clip", A, low=np.float64(-1), high=4)  # type: ignore[arg-type]
    assert text_of(node) == "clip(conv1_3, low=-1.0, high=4.0)"
    assert text_of(call("max_pool", A, size=np.int64(3))) == "max_pool(conv1_3, size=3)"  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False), numbers)
def test_every_float_survives(weight, bias) -> None:
    """Constants are written by repr: all 53 bits come back."""
    program = linear([(weight, A)], bias)
    assert parse(text_of(program)) == program


EQUIVALENT = {
    "conv1_3/4": linear([(0.25, A)]),
    "2*(conv1_3 + 1) - conv1_3": linear([(1.0, A)], 2.0),
    "conv1_3*3": linear([(3.0, A)]),
    "-(conv1_3 - 1)": linear([(-1.0, A)], 1.0),
    "shift(shift(conv1_3, dy=1), dy=1, dx=2)": tap("conv1", 3, 2, 2),
    "shift(conv1_3)": A,
    "shift(conv1_3, dy=100)": tap("conv1", 3, 100),
    "relu( conv1_3 )  # a comment": call("relu", A),
    "clip(conv1_3, high=2)": call("clip", A, low=0.0, high=2.0),
    "2*3 + 1": const(7.0),
    "1e-3*conv1_3": linear([(1e-3, A)]),
}


@pytest.mark.parametrize("text", sorted(EQUIVALENT))
def test_free_spelling_is_read(text: str) -> None:
    """What a person may write instead is the same canonical program."""
    assert parse(text) == EQUIVALENT[text]


BAD = [
    ("", "not a Python expression"),
    ("relu(", "not a Python expression"),
    ("a = 1", "not a Python expression"),
    ("conv1_3 +\n", "not a Python expression"),
    ("\0", "not a Python expression"),
    ("\ud800", "not a Python expression"),
    ("(" * 300 + "1" + ")" * 300, "not a Python expression"),
    ("-" * 100_000 + "1", "not a Python expression"),
    ("conv1_3 and 1", "expected a number, a name, a sum"),
    ("[1]", "expected a number, a name, a sum"),
    ("+conv1_3", "expected a number, a name, a sum"),
    ("conv1_3[0]", "expected a number, a name, a sum"),
    ("lambda: 1", "expected a number, a name, a sum"),
    ("relu(*conv1_3)", "expected a number, a name, a sum"),
    ("'text'", "expected a number"),
    ("True", "expected a number"),
    ("1j", "expected a number"),
    ("None", "expected a number"),
    ("1e999", "expected a finite number"),
    ("9" * 400, "expected a finite number"),
    ("conv1_3 ** 2", "expected +, -, * or /"),
    ("conv1_3 // 2", "expected +, -, * or /"),
    ("conv1_3 * conv1_3", "a product of a number and a program"),
    ("relu(conv1_3) * relu(conv1_3)", "a product of a number and a program"),
    ("conv1_3 / 3", "a power of two to divide by"),
    ("conv1_3 / 0", "a power of two to divide by"),
    ("1 / conv1_3", "expected a number"),
    ("0.1*(0.1*conv1_3)", "no exact float"),
    ("1e16 + 1.5", "no exact float"),
    ("conv1_33", "unknown name 'conv1_33'; did you mean conv1_3"),
    ("conv9_3", "unknown name 'conv9_3'"),
    ("conv1_6", "unknown name 'conv1_6'"),
    ("relu", "unknown name 'relu'"),
    ("relo(conv1_3)", "unknown primitive 'relo'; did you mean relu"),
    ("tap(conv1_3)", "unknown primitive 'tap'"),
    ("linear(conv1_3)", "unknown primitive 'linear'\n"),
    ("conv1.relu(conv1_3)", "a call of a primitive by its name"),
    ("relu()", "relu takes 1 argument, not 0"),
    ("relu(conv1_3, conv1_4)", "relu takes 1 argument, not 2"),
    ("relu(x=conv1_3)", "relu has no parameter 'x'"),
    ("relu(**conv1_3)", "relu has no parameter '**'"),
    ("leaky_relu(conv1_3, slop=0.5)", "no parameter 'slop'; did you mean slope?"),
    ("leaky_relu(conv1_3, slope=2)", "expected slope between 0.0 and 1.0, not 2.0"),
    ("leaky_relu(conv1_3, slope=conv1_3)", "expected a number"),
    ("leaky_relu(conv1_3, slope=0.5, slope=0.25)", "'slope' is given twice"),
    ("max_pool(conv1_3, size=2.5)", "expected a whole number for size, not 2.5"),
    ("max_pool(conv1_3, size=17)", "expected size between 2 and 16"),
    (
        "max_pool(relu(conv1_3))",
        "expected an atom (a tap, a convolution or a mix of such), not a value",
    ),
    ("shift(conv1_3 + 1.0, dy=1)", "expected an atom"),
    ("shift(conv1_3, dy=True)", "expected a number"),
    ("pre(relu(conv1_3))", "expected pre(name of a sibling unit)"),
    ("pre(conv1_3, conv1_4)", "expected pre(name of a sibling unit)"),
    ("pre()", "expected pre(name of a sibling unit)"),
]


@pytest.mark.parametrize(("text", "fragment"), BAD, ids=[repr(text)[:40] for text, _ in BAD])
def test_bad_text_is_explained(text: str, fragment: str) -> None:
    """Text that is no program raises ParseError, with what was expected instead."""
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert fragment in str(caught.value)


def test_error_shows_the_offending_part() -> None:
    """The message quotes the whole text and the part of it that is wrong."""
    with pytest.raises(ParseError) as caught:
        parse("relu(conv1_3 + 0.5*sine(conv1_4))")
    assert "in: relu(conv1_3 + 0.5*sine(conv1_4))" in str(caught.value)
    assert "at: sine(conv1_4)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "wrong", "row"),
    [
        ("relu(conv1_3 + 0.5*sine(conv1_4))", "sine(conv1_4)", 0),
        ("conv1_3\n + é", "é", 1),
        ("relu(conv1_3 + )", ")", 0),
        ("  1.0*conv1_3*nobody", "nobody", 0),
    ],
)
def test_error_knows_the_place(text: str, wrong: str, row: int) -> None:
    """The place is that of the part, in characters, line by line."""
    with pytest.raises(ParseError) as caught:
        parse(f"({text})" if "\n" in text else text)
    assert caught.value.place is not None
    line, first, last = caught.value.place
    assert line == row and text.strip().split("\n")[row][first:last] == wrong


def test_endless_text_is_refused() -> None:
    """Text beyond the limit is refused before Python's parser sees it."""
    with pytest.raises(ParseError, match="longer than"):
        parse("1" * (LONGEST + 1))


def test_unknown_tap_is_named() -> None:
    """Printing a tap without a name says which bank and channel."""
    with pytest.raises(KeyError, match=r"no bank 'conv9' with channel 2"):
        text_of(tap("conv9", 2))


@settings(max_examples=200)
@given(st.text(alphabet="conv1_3relu()+-*/.,=0123456789 shifted y", max_size=40))
def test_any_text_is_a_program_or_a_parse_error(text: str) -> None:
    """The parser raises nothing but ParseError, and what it reads prints and parses back."""
    try:
        program = parse(text)
    except ParseError:
        return
    assert parse(text_of(program)) == program


@settings(max_examples=30)
@given(st.lists(st.tuples(weights, programs(depth=1)), min_size=1, max_size=3))
def test_text_is_stable(terms) -> None:
    """Printing what was parsed gives the same text again."""
    text = text_of(linear(terms))
    assert text_of(parse(text)) == text
