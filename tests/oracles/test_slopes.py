"""Slopes and Lipschitz constants come from the bodies, the user's included."""

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.evaluation import evaluate
from grammars.grammar import Grammar, load_grammar
from grammars.hoist import ROWS, hoist
from grammars.interpreters.torch import TorchAlgebra
from grammars.program import Node, call, const, linear, tap
from oracles.slopes import lipschitz, slopes

ROW = tap(ROWS, 0)
HONEST = Path(__file__).parent / "honest"


@cache
def grammar() -> Grammar:
    return load_grammar(files=sorted(HONEST.glob("*.py")), installed=False)


SLOPES = [
    (ROW, (1, 1)),
    (call("relu", ROW), (0, 1)),
    (call("abs", ROW), (-1, 1)),
    (call("leaky_relu", ROW, slope=0.125), (Fraction(1, 8), 1)),
    (call("prelu", ROW, slope=-0.25), (Fraction(-1, 4), 1)),
    (call("prelu", ROW, slope=2.0), (2, 1)),
    (linear([(-3.0, call("relu", ROW))]), (0, -3)),
    (call("relu", linear([(-1.0, ROW)])), (-1, 0)),
    (call("min", ROW, linear([(2.0, ROW)])), (2, 1)),
    (
        linear([(1.0, call("relu", ROW)), (-0.5, call("abs", ROW))]),
        (Fraction(1, 2), Fraction(1, 2)),
    ),
    (call("clip", ROW, low=0.0, high=6.0), None),
    (call("step", ROW), None),
    (call("sigmoid", ROW), None),
    (linear([(1.0, ROW)], 0.5), None),
    (call("relu", tap(ROWS, 1)), None),
    (call("max_pool", tap("a", 0), size=2), None),
    (call("product", ROW, ROW), None),
    (const(0.0), (0, 0)),
    (const(1.0), None),
]


@pytest.mark.parametrize(("skeleton", "wanted"), SLOPES)
def test_slopes_of_heads(skeleton: Node, wanted: tuple | None) -> None:
    """Homogeneous skeletons have their two slopes, exactly; all others have none."""
    assert slopes(skeleton, grammar()) == wanted


LIPSCHITZ = [
    (ROW, 1),
    (call("relu", ROW), 1),
    (call("prelu", ROW, slope=-2.5), Fraction(5, 2)),
    (call("clip", ROW, low=0.0, high=6.0), 1),
    (call("sigmoid", linear([(3.0, ROW)])), Fraction(3, 4)),
    (linear([(2.0, call("tanh", ROW)), (-0.5, tap(ROWS, 1))]), Fraction(5, 2)),
    (call("max", ROW, linear([(-4.0, tap(ROWS, 1))])), 4),
    (call("hat", ROW, centre=0.5, height=2.0), 1),
    (call("soft_threshold", ROW, width=0.5), 2),
    (call("sigmoid", const(3.0)), 0),
    (call("step", ROW), None),
    (call("step", const(1.0)), 0),
    (call("softsign_gate", ROW, tap(ROWS, 1)), None),
    (call("product", ROW, ROW), None),
    (call("product", ROW, const(-3.0)), 3),
    (call("max_pool", tap("a", 0), size=2), None),
]


@pytest.mark.parametrize(("skeleton", "wanted"), LIPSCHITZ)
def test_lipschitz_constants_of_skeletons(skeleton: Node, wanted: Fraction | int | None) -> None:
    """Sums add, products scale, the larger branch counts; jumps have no constant."""
    assert lipschitz(skeleton, grammar()) == wanted


HEADS = {"relu": {}, "abs": {}, "leaky_relu": {"slope": 0.25}, "prelu": {"slope": -1.5}}


def skeletons() -> st.SearchStrategy[Node]:
    """Compositions and sums of homogeneous heads over row 0."""
    weights = st.integers(-8, 8).map(lambda n: n / 4)

    def grow(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        heads = st.builds(lambda op, a: call(op, a, **HEADS[op]), st.sampled_from([*HEADS]), inner)
        pairs = st.builds(
            lambda op, a, b: call(op, a, b), st.sampled_from(["max", "min"]), inner, inner
        )
        sums = st.lists(st.tuples(weights, inner), min_size=1, max_size=3).map(linear)
        return heads | pairs | sums

    return st.recursive(st.just(ROW), grow, max_leaves=8)


@settings(max_examples=150)
@given(skeletons())
def test_slopes_are_the_function(skeleton: Node) -> None:
    """A homogeneous program is its two slopes at every point, and its Lipschitz constant holds."""
    found = slopes(skeleton, grammar())
    assert found is not None
    row = torch.linspace(-4.0, 4.0, 65, dtype=torch.float64)
    value = evaluate(skeleton, TorchAlgebra(lambda *_: row), grammar())
    values = np.broadcast_to(np.asarray(value, dtype=np.float64), row.shape)
    wanted = np.where(row > 0, float(found[1]), float(found[0])) * row.numpy()
    assert np.array_equal(values, wanted)
    bound = lipschitz(skeleton, grammar())
    assert bound == max(abs(found[0]), abs(found[1]))


def test_slopes_of_a_hoisted_program() -> None:
    """A unit's program is read through its skeleton."""
    program = call("leaky_relu", linear([(0.5, tap("a", 0)), (-1.0, tap("a", 1))], 0.25), slope=0.5)
    assert slopes(hoist(program, grammar()).skeleton, grammar()) == (Fraction(1, 2), 1)
