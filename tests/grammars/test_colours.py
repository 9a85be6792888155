"""Mixes of channels are atoms: named axes of colour, and sums of taps."""

from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.coding import LayerSource, decode, encode, program_bits
from grammars.compiled import compile_bank
from grammars.evaluation import evaluate
from grammars.grammar import Grammar, load_grammar
from grammars.interpreters.rational import RationalAlgebra
from grammars.names import Names
from grammars.parser import ParseError, parse_program
from grammars.program import Node, bank, call, channels_read, count_terms, linear, tap
from grammars.scope import Scope
from grammars.text import format_program

AXES = {"luminance": (5, 9, 2), "red_green": (16, -16, 0), "blue_yellow": (-8, -8, 16)}  # / 16
WINDOW = tuple(("image", c, dy, dx) for c in range(3) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
SCOPE = Scope("conv1", 1, WINDOW)
NAMES = Names({"image": 3, "conv1": 1}, reserved=("conv", "luminance"))
RED, GREEN, BLUE = (tap("image", c) for c in range(3))


@cache
def grammar() -> Grammar:
    return load_grammar(tags=("core", "kernel", "colour"), installed=False)


def kernel(name: str = "gaussian") -> Node:
    return call(name, **{n: spec.default for n, spec in grammar()[name].parameters})


def over(source: Node) -> Node:
    return call("conv", kernel(), source)


def axis(name: str, bgr: int = 0) -> Node:
    return call(name, bank("image", 3), bgr=bgr)


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("bgr", [0, 1])
def test_axes_are_mixes_in_the_order_of_the_channels(name, bgr):
    """What an axis reads at one position, in the network's own order."""
    found = evaluate(
        axis(name, bgr), RationalAlgebra(lambda _, c, y, x: Fraction(100**c)), grammar()
    )
    weights = AXES[name][::-1] if bgr else AXES[name]
    assert found == sum(Fraction(w, 16) * 100**c for c, w in enumerate(weights))


@pytest.mark.parametrize("name", ["red_green", "blue_yellow"])
def test_grey_has_no_colour(name):
    """The opponent axes say nothing of what is equal in all channels."""
    grey = RationalAlgebra(lambda *_: Fraction(7, 3))
    assert evaluate(axis(name), grey, grammar()) == 0
    assert evaluate(axis("luminance"), grey, grammar()) == Fraction(7, 3)


def test_an_axis_is_the_mix_that_it_names():
    """Under a kernel, an axis and the sum of taps that it stands for are one row."""
    mix = linear([(w / 16, tap("image", c)) for c, w in enumerate(AXES["luminance"])])
    index = {key: i for i, key in enumerate(WINDOW)}
    found = compile_bank([over(axis("luminance")), over(mix)], index, grammar()).weight
    assert np.array_equal(*found) and found[0].all()


def test_an_axis_wants_three_channels():
    """Colour of other banks is an error that names the number."""
    with pytest.raises(ValueError, match="banks of 3 channels, and this one has 4"):
        evaluate(
            call("luminance", bank("image", 4), bgr=0), RationalAlgebra(lambda *_: 0), grammar()
        )


def test_text_names_the_bank():
    """A bank is written by its name, a mix as the sum that it is."""
    program = call("relu", linear([(0.75, over(axis("luminance")))], -0.125))
    text = "relu(0.75*conv(gaussian(), luminance(image)) - 0.125)"
    assert format_program(program, NAMES, grammar()) == text
    assert parse_program(text, NAMES, grammar()) == program
    mixed = "conv(gaussian(), 0.5*image_0 - 0.25*image_2)"
    assert parse_program(mixed, NAMES, grammar()) == over(linear([(0.5, RED), (-0.25, BLUE)]))
    assert count_terms(program) == 2 and channels_read([program], "image") == {0, 1, 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("luminance(image_0)", "expected a bank by its name, not an atom"),
        ("0.5*image", "expected a value, not a bank"),
        ("image", "expected a value, not a bank"),
        ("conv(gaussian(), image)", "not a bank"),
        ("luminance(imag)", "did you mean image"),
    ],
)
def test_banks_stand_where_banks_are_wanted(text, said):
    """Other places say what they expect."""
    with pytest.raises(ParseError, match=said):
        parse_program(text, NAMES, grammar())


def test_a_bank_of_another_size_has_no_name():
    """Names know how many channels a bank has."""
    with pytest.raises(KeyError, match="'image' of 4 channels"):
        format_program(call("luminance", bank("image", 4), bgr=0), NAMES, grammar())


weights = st.integers(-40, 40).filter(bool).map(lambda n: n / 16)
places = st.builds(tap, st.just("image"), st.integers(0, 2), st.integers(-1, 1), st.integers(-1, 1))
middles = st.builds(tap, st.just("image"), st.integers(0, 2))
axes = st.builds(axis, st.sampled_from(sorted(AXES)), st.integers(0, 1))
mixes = st.lists(st.tuples(weights, middles | places | axes), min_size=1, max_size=4).map(linear)


def is_atom(node: Node) -> bool:
    return node.op != "const"


@settings(max_examples=100)
@given(st.lists(st.tuples(weights, mixes.filter(is_atom).map(over)), min_size=1, max_size=3))
def test_mixes_are_decoded_and_read_back(terms):
    """Whatever is mixed under kernels, stream and text give the program back."""
    program = call("relu", linear(terms, 0.375))
    source = (LayerSource(SCOPE, (program,)),)
    assert decode(encode(source, grammar()).to_bytes(), [SCOPE], grammar()) == source
    text = format_program(program, NAMES, grammar())
    assert parse_program(text, NAMES, grammar()) == program


def test_colour_is_cheap():
    """A named axis costs a few bits, and a mix of three channels some twenty more."""
    plain, named, mixed = (
        program_bits(over(source), SCOPE, grammar())
        for source in (RED, axis("luminance"), linear([(0.5, RED), (-0.25, GREEN), (0.125, BLUE)]))
    )
    assert named <= plain + 2 and mixed <= named + 25


def test_a_bank_must_be_readable():
    """A stream holds banks of its scope alone, with all their channels."""
    for name, channels in (("other", 3), ("image", 4)):
        program = over(call("luminance", bank(name, channels), bgr=0))
        with pytest.raises(ValueError, match=f"no bank '{name}' with {channels} channels"):
            program_bits(program, SCOPE, grammar())
