"""Kernels are what their formulas say: turned, moved, rounded, and cut to a window."""

from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.compiled import compile_bank
from grammars.grammar import Grammar, load_grammar
from grammars.hoist import hoist
from grammars.kernels import RADIUS, Table, table
from grammars.names import Names
from grammars.parser import ParseError, parse_program
from grammars.primitive import Primitive, Real
from grammars.program import Node, Sort, Value, call, linear, tap
from grammars.text import format_program

SIZE = 2 * RADIUS + 1
ANY = SimpleNamespace(table=table)  # what kernels need of an algebra


@cache
def grammar() -> Grammar:
    return load_grammar(tags=("core", "kernel"), installed=False)


KERNELS = sorted(p.name for p in grammar().primitives if p.result is Sort.WEIGHTS)
DIRECTED = [n for n in KERNELS if "angle" in dict(grammar()[n].parameters)]
PLACED = [n for n in KERNELS if "dx" in dict(grammar()[n].parameters)]


def image(found: Table) -> np.ndarray:
    """A kernel as an array, rows down."""
    result = np.zeros((SIZE, SIZE))
    for (dy, dx), weight in found.items():
        result[dy + RADIUS, dx + RADIUS] = weight
    return result


def of(name: str, **changed: Value) -> np.ndarray:
    """A kernel at its defaults, but for what is changed."""
    primitive = grammar()[name]
    defaults = {n: spec.default for n, spec in primitive.parameters}
    return image(primitive.body(ANY, **defaults | changed))


def anywhere(primitive: Primitive) -> st.SearchStrategy[Mapping[str, Value]]:
    """Parameters on their grids."""
    return st.fixed_dictionaries(
        {
            name: st.integers(0, spec.size - 1).map(spec.value)
            if isinstance(spec, Real)
            else st.integers(spec.low, spec.high)
            for name, spec in primitive.parameters
        }
    )


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=20)
@given(st.data())
def test_kernels_are_tables_of_dyadics(name, data):
    """Wherever its parameters are, a kernel's weights are multiples of 2⁻¹⁰ of at most 2."""
    found = grammar()[name].body(ANY, **data.draw(anywhere(grammar()[name])))
    weights = np.array(list(found.values()))
    assert (weights * 1024 == np.rint(weights * 1024)).all() and (weights != 0).all()
    assert (np.abs(weights) <= 2).all()
    assert all(max(abs(dy), abs(dx)) <= RADIUS for dy, dx in found)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_say_something(name):
    """At its defaults a kernel has a largest weight of about one, in the middle of the window."""
    assert 0.5 <= np.abs(of(name)[RADIUS - 2 : RADIUS + 3, RADIUS - 2 : RADIUS + 3]).max() <= 1


@pytest.mark.parametrize("name", DIRECTED)
def test_a_quarter_turn_turns_the_table(name):
    """Angles grow to the left, as people see them: 90 more degrees turn the kernel once."""
    spec = grammar()[name].parameter("angle")
    assert isinstance(spec, Real)
    for angle in (0.0, 5.0, 30.0):
        if angle + 90 <= spec.high:
            turned = of(name, angle=angle + 90)
            assert np.abs(np.rot90(of(name, angle=angle)) - turned).max() <= 2**-10


@pytest.mark.parametrize("name", PLACED)
def test_places_move_the_table(name):
    """dy moves a kernel down, and dx to the right."""
    here = of(name)
    assert np.array_equal(here[:-1, :], of(name, dy=1.0)[1:, :])
    assert np.array_equal(here[:, :-2], of(name, dx=2.0)[:, 2:])
    parts = of(name, dy=0.375), of(name, dx=0.375)  # an edge may be moved along itself
    assert not all(np.array_equal(here, part) for part in parts)


SIGNS = {  # (down, right) of what is light, and of what is dark
    ("edge", "angle", 0.0): ((0, 3), (0, -3)),
    ("edge", "angle", 90.0): ((-3, 0), (3, 0)),
    ("gaussian_derivative", "angle", 0.0): ((0, 1), (0, -1)),
    ("gaussian_derivative", "order", 2): ((0, 0), (0, 2)),
    ("gabor", "phase", 90.0): ((0, -1), (0, 1)),
    ("gabor", "phase", 0.0): ((0, 0), (0, 2)),
    ("corner", "angle", 0.0): ((0, 3), (3, 0)),
    ("corner", "angle", 270.0): ((3, 0), (0, 3)),
    ("line", "angle", 0.0): ((0, 4), (1, 0)),
    ("centre_surround", "radius", 1.0): ((0, 0), (0, 2)),
    ("difference_of_gaussians", "sigma", 1.0): ((0, 0), (0, 3)),
    ("cosine", "phase", 0.0): ((3, 0), (0, 4)),
    ("checker", "size", 2.0): ((2, 2), (0, 2)),
}


@pytest.mark.parametrize("case", SIGNS, ids=lambda c: "-".join(map(str, c)))
def test_light_and_dark(case):
    """What a person is told of a kernel is where it is light and where it is dark."""
    (name, parameter, value), (light, dark) = case, SIGNS[case]
    found = of(name, **{parameter: value})
    assert found[light[0] + RADIUS, light[1] + RADIUS] > 0.1
    assert found[dark[0] + RADIUS, dark[1] + RADIUS] < 0


def test_arcs_bulge_towards_their_angle():
    """An arc goes through its place, and its ends lie behind it, on the circle."""
    found = of("curve", angle=0.0, radius=4.0, span=180.0)
    middle = RADIUS
    assert found[middle, middle] == 1
    assert found[middle + 4, middle - 4] > 0.9 and found[middle - 4, middle - 4] > 0.9
    assert abs(found[middle, middle + 4]) < 0.01 and abs(found[middle, middle - 4]) < 0.01
    ring = of("curve", angle=0.0, radius=4.0, span=360.0)
    assert ring[middle, middle - 8] > 0.9


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("gaussian_derivative", {}),
        ("line", {"flank": 0.5}),
        ("edge", {}),
        ("difference_of_gaussians", {"ratio": 1.5}),
        ("gabor", {"phase": 90.0}),
    ],
)
def test_even_light_says_nothing(name, changed):
    """Kernels that compare light with dark sum to nothing, but for rounding and the cut."""
    found = of(name, **changed)
    assert abs(found.sum()) <= 0.02 * np.abs(found).sum()


def test_a_table_is_rounded_and_finite():
    """Half a step is rounded to even, zeros are left out, and what is not finite is refused."""
    found = table(lambda np, y, x: np.where((y == 0) & (x == 1), 0.5 + 2**-12, 0.0))
    assert found == {(0, 1): 0.5}
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="finite"):
        table(lambda _, y, x: 1 / (y + x))


# over sources

GABOR = call("gabor", **{n: s.default for n, s in grammar()["gabor"].parameters})
WINDOW = [("image", 0, dy, dx) for dy in range(-1, 2) for dx in range(-2, 3)]


def convolved(kernel: Node, source: Node) -> Node:
    return call("conv", kernel, source)


def test_kernels_are_cut_to_the_window():
    """In a layer's window a convolution is one row of its weights there, under any head."""
    index = {key: i for i, key in enumerate(WINDOW)}
    both = [(0.75, convolved(GABOR, tap("image", 0))), (0.5, tap("image", 0, 1, 1))]
    program = call("relu", linear(both, -0.125))
    bank = compile_bank([program], index, grammar())
    whole = of("gabor")
    expected = [0.75 * whole[dy + RADIUS, dx + RADIUS] for _, _, dy, dx in WINDOW]
    expected[index["image", 0, 1, 1]] += 0.5
    assert bank.weight.tolist() == [expected] and bank.bias.tolist() == [-0.125]
    rows = np.random.default_rng(0).standard_normal((7, len(WINDOW)))
    assert bank.apply(rows)[:, 0] == pytest.approx(np.maximum(rows @ expected - 0.125, 0))


def test_a_tap_outside_of_the_window_is_an_error():
    """Kernels are cut; what a program itself reads has to be there."""
    index = {key: i for i, key in enumerate(WINDOW)}
    kernel = convolved(GABOR, tap("image", 0))
    outside = call("relu", linear([(0.75, kernel), (0.5, tap("image", 0, 9, 0))]))
    with pytest.raises(KeyError):
        compile_bank([outside], index, grammar())


def test_without_a_window_nothing_is_cut():
    """The same program by itself reads all of the kernel."""
    (row,) = hoist(convolved(GABOR, tap("image", 0, 2, 0)), grammar()).rows
    found = {(dy - 2, dx): w for (_, _, dy, dx), w in row.weights.items()}
    assert np.array_equal(image(found), of("gabor"))


def test_atoms_may_be_moved():
    """A convolution is an atom: it may be read elsewhere, and convolved again."""
    moved = call("shift", convolved(GABOR, tap("image", 0)), dy=1, dx=-1)
    direct = convolved(GABOR, tap("image", 0, 1, -1))
    assert hoist(moved, grammar()).rows == hoist(direct, grammar()).rows


def test_text_says_what_a_unit_looks_for():
    """Text is as a person writes it, and parses back; defaults are left out."""
    names = Names({"image": 3}, reserved=grammar())
    kernel = parse_program("conv(gabor(angle=45, wavelength=5), image_1)", names, grammar())
    program = call("relu", linear([(0.75, kernel)], -0.125))
    text = format_program(program, names, grammar())
    assert text == "relu(0.75*conv(gabor(angle=45.0, wavelength=5.0), image_1) - 0.125)"
    assert parse_program(text, names, grammar()) == program


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conv(image_0, image_1)", "expected a kernel, not an atom"),
        ("conv(gabor(), 0.5*image_1 + 1.0)", "expected an atom (a tap, a convolution or a mix"),
        ("relu(gabor())", "expected a value, not a kernel"),
        ("conv(gabor(angle=200), image_1)", "expected angle between 0.0 and 175.0, not 200"),
        ("conv(gabor(angel=20), image_1)", "did you mean angle?"),
    ],
)
def test_sorts_are_checked(text, said):
    """What is no kernel, no atom or no parameter is told."""
    names = Names({"image": 3}, reserved=grammar())
    with pytest.raises(ParseError) as error:
        parse_program(text, names, grammar())
    assert said in str(error.value)
