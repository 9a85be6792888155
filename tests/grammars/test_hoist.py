"""Hoisting and expansion change the form of programs and never what they compute."""

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import core, programs

from grammars.evaluation import Unsupported, evaluate
from grammars.hoist import ROWS, Hoisted, grouped, hoist
from grammars.interpreters.affine import Affine, AffineAlgebra, NotAffine
from grammars.interpreters.rational import RationalAlgebra
from grammars.interpreters.torch import TorchAlgebra
from grammars.program import Node, call, const, linear, tap, walk
from grammars.siblings import expand, pre_of, references

A, B = tap("conv1", 0), tap("conv1", 1)


def value_of(*key) -> Fraction:
    """A fixed value for every tap."""
    return Fraction(random.Random(repr(key)).randint(-64, 64), 16)


def row_value(row: Affine) -> Fraction:
    terms = (Fraction(w) * value_of(*key) for key, w in row.weights.items())
    return sum(terms, Fraction(row.bias))


def through_rows(hoisted: Hoisted, algebra_type, number):
    """The skeleton over its rows."""
    rows = [number(row_value(row)) for row in hoisted.rows]

    def read(bank, channel, dy, dx):
        return rows[channel] if bank == ROWS else number(value_of(bank, channel, dy, dx))

    return evaluate(hoisted.skeleton, algebra_type(read), core())


@settings(max_examples=200)
@given(programs(depth=3))
def test_skeleton_over_rows_is_the_program(program: Node) -> None:
    """Exactly in fractions, and to rounding in floats where there are transcendentals."""
    hoisted = hoist(program, core())
    try:
        wanted = evaluate(program, RationalAlgebra(value_of), core())
    except Unsupported:
        wanted = evaluate(program, TorchAlgebra(lambda *key: float(value_of(*key))), core())
        found = through_rows(hoisted, TorchAlgebra, float)
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-9)
        return
    assert through_rows(hoisted, RationalAlgebra, Fraction) == wanted


@settings(max_examples=100)
@given(programs(depth=3))
def test_no_affine_part_stays_in_the_skeleton(program: Node) -> None:
    """Taps of a skeleton are rows, but for those that are read as atoms."""
    skeleton = hoist(program, core()).skeleton
    atoms = {a for n in walk(skeleton) if n.op.endswith("pool") for a in n.args}
    for node in walk(skeleton):
        assert node.op != "tap" or node["bank"] == ROWS or node in atoms


CASES = {
    "relu": (call("relu", linear([(0.5, A), (1.0, B)], 2.0)), call("relu", tap(ROWS, 0)), 1),
    "affine": (linear([(0.5, A)], 1.0), tap(ROWS, 0), 1),
    "constant": (call("relu", const(-1.0)), const(0.0), 0),
    "sum": (
        linear([(2.0, call("relu", A)), (0.5, B)], 1.0),
        linear([(1.0, tap(ROWS, 1)), (2.0, call("relu", tap(ROWS, 0)))]),
        2,
    ),
    "mean_pool": (call("mean_pool", A, size=2), tap(ROWS, 0), 1),
    "max_pool": (call("max_pool", A, size=2), call("max_pool", A, size=2), 0),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_skeletons(name: str) -> None:
    """The skeletons and rows of typical programs."""
    program, skeleton, count = CASES[name]
    hoisted = hoist(program, core())
    assert hoisted.skeleton == skeleton
    assert len(hoisted.rows) == count


@pytest.mark.parametrize(
    "program",
    [
        linear([(0.1, call("mean_pool", A, size=3))]),
        linear([(0.1, call("mean_pool", A, size=3)), (0.3, B)], 0.7),
        call("relu", linear([(0.1, call("mean_pool", A, size=3)), (1.0, call("abs", B))])),
        linear([(0.1, call("max", const(0.1), const(0.3))), (1.0, A)]),
    ],
)
def test_sums_whose_exact_weights_do_not_fit_are_hoisted_by_terms(program: Node) -> None:
    """0.1/9 has no float: such a sum stays in the skeleton, over rows for its terms."""
    hoisted = hoist(program, core())
    wanted = evaluate(program, RationalAlgebra(value_of), core())
    assert through_rows(hoisted, RationalAlgebra, Fraction) == wanted


def test_units_of_one_skeleton_are_grouped() -> None:
    """Units with equal skeletons run together, each over its own rows."""
    units = [call("relu", linear([(w, A)], 1.0)) for w in (2.0, 3.0)] + [A, call("tanh", B)]
    rows, groups = grouped([hoist(u, core()) for u in [*units, units[0]]])
    assert [g.units for g in groups] == [(0, 1, 4), (2,), (3,)]
    assert [g.rows for g in groups] == [((0,), (1,), (4,)), ((2,),), ((3,),)]
    assert [r.weights for r in rows][:2] == [{("conv1", 0, 0, 0): 2.0}, {("conv1", 0, 0, 0): 3.0}]


@settings(max_examples=100)
@given(programs(depth=2))
def test_affine_forms_are_the_program(program: Node) -> None:
    """Where a program is affine, its form has its value, exactly."""
    try:
        form = evaluate(program, AffineAlgebra(), core())
    except NotAffine:
        return
    assert row_value(form) == evaluate(program, RationalAlgebra(value_of), core())


SIBLINGS = {
    0: call("relu", linear([(0.5, A), (-0.25, B)], 1.0)),
    1: call("leaky_relu", linear([(2.0, A)]), slope=0.5),
    2: linear([(1.0, A), (1.0, B)]),
}
OWN = "conv2"


@settings(max_examples=100)
@given(st.data())
def test_expansion_is_the_sibling(data) -> None:
    """A reference has the value of the sibling, `pre` that before its head."""
    channels = st.integers(0, 2)
    leaves = st.builds(tap, st.sampled_from([OWN, f"{OWN}:pre"]), channels)
    terms = st.lists(st.tuples(st.integers(1, 4).map(float), leaves), min_size=1, max_size=3)
    program = call("relu", linear(data.draw(terms), -0.5))
    expanded = expand(program, OWN, SIBLINGS.__getitem__, core())
    assert references(program, OWN) and not references(expanded, OWN)

    def read(bank, channel, dy, dx):
        if bank == OWN:
            return evaluate(SIBLINGS[channel], RationalAlgebra(value_of), core())
        if bank == f"{OWN}:pre":
            inner = pre_of(SIBLINGS[channel], core())
            return evaluate(inner, RationalAlgebra(value_of), core())
        return value_of(bank, channel, dy, dx)

    wanted = evaluate(program, RationalAlgebra(read), core())
    assert evaluate(expanded, RationalAlgebra(value_of), core()) == wanted


def test_expansion_of_a_negated_copy() -> None:
    """`relu(-pre(sibling))` is affine inside once expanded."""
    program = call("relu", linear([(-1.0, tap(f"{OWN}:pre", 0))]))
    wanted = call("relu", linear([(-0.5, A), (0.25, B)], -1.0))
    assert expand(program, OWN, SIBLINGS.__getitem__, core()) == wanted
    assert expand(A, OWN, SIBLINGS.__getitem__, core()) is A


@pytest.mark.parametrize(
    "program",
    [tap(OWN, 0, 1), tap(f"{OWN}:pre", 0, 0, -1), call("max_pool", tap(OWN, 0), size=2)],
)
def test_siblings_have_no_neighbours(program: Node) -> None:
    """A sibling read at an offset, or by a window, is refused."""
    with pytest.raises(ValueError, match="sibling of 'conv2'"):
        expand(program, OWN, SIBLINGS.__getitem__, core())


@pytest.mark.parametrize(
    ("program", "fragment"),
    [
        (Node("relu", (A, B)), "relu takes 1 arguments, not 2"),
        (call("clip", A), r"clip takes the parameters \['low', 'high'\]"),
        (call("clip", A, high=1.0, low=0.0), "in this order"),
        (call("max_pool", call("relu", A), size=2), "of max_pool has to be of sort atom"),
    ],
)
def test_nodes_that_do_not_fit_their_declaration(program: Node, fragment: str) -> None:
    """Evaluation says which operation has the wrong arguments or parameters."""
    with pytest.raises(TypeError, match=fragment):
        evaluate(program, RationalAlgebra(value_of), core())
