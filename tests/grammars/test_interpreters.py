"""Interpreters agree beyond the contract: text runs, torch keeps gradients, sums stay flat."""

import ast
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import core, numbers, programs, taps, weights

from grammars.evaluation import evaluate
from grammars.interpreters.affine import Affine, AffineAlgebra, NotAffine
from grammars.interpreters.text import HELPERS, TextAlgebra
from grammars.interpreters.torch import TorchAlgebra
from grammars.program import Node, call, const, linear, tap

A = tap("conv1", 0)


def tensor(*key) -> torch.Tensor:
    """Five fixed values for every tap."""
    seed = sum(map(ord, repr(key)))
    return torch.from_numpy(np.random.default_rng(seed).integers(-32, 32, 5) / 8)


def run_text(program: Node) -> np.ndarray:
    """The value of the program's Python source."""
    names: dict[str, torch.Tensor] = {}

    def name(*key) -> str:
        names[f"v{len(names)}"] = tensor(*key)
        return f"v{len(names) - 1}"

    source = evaluate(program, TextAlgebra(name), core())
    namespace = {"torch": torch, **names}
    exec(HELPERS, namespace)
    return np.broadcast_to(np.asarray(eval(source, namespace), dtype=float), (5,))


@settings(max_examples=150)
@given(programs(depth=3))
def test_source_text_computes_the_program(program: Node) -> None:
    """The emitted expression, run as Python, gives what torch gives."""
    direct = evaluate(program, TorchAlgebra(tensor), core())
    wanted = np.broadcast_to(np.asarray(direct, dtype=float), (5,))
    assert np.allclose(run_text(program), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "program",
    [
        call("max_pool", A, size=16),
        call("mean_pool", A, size=16),
        linear([(1 / 8, tap("conv1", i)) for i in range(2000)], 1.0),
    ],
    ids=["max_pool", "mean_pool", "linear"],
)
def test_source_text_of_wide_programs_is_python(program: Node) -> None:
    """Windows of 256 cells and sums of 2,000 terms nest less deep than Python's parser allows."""
    source = evaluate(program, TextAlgebra(lambda *key: "x"), core())
    ast.parse(source, mode="eval")


def test_source_text_holds_symbols_in_place_of_parameters() -> None:
    """A body called with a name for its parameter writes that name, for vectorised emission."""
    body = core()["leaky_relu"].body
    assert body(TextAlgebra(lambda *_: ""), "x", slope="slope") == "maximum(x, (slope * x))"


def test_numpy_constants_are_written_as_numbers() -> None:
    """Source text holds Python's floats, whatever numbers the constants are."""
    assert TextAlgebra(lambda *_: "").const(np.float64(0.5)) == "0.5"


def test_torch_keeps_single_precision_and_device() -> None:
    """Constants adopt the dtype of the maps."""
    for op, params in (
        ("step", {}),
        ("prelu", {"slope": 0.1}),
        ("clip", {"low": 0.0, "high": 1.0}),
    ):
        value = evaluate(call(op, A, **params), TorchAlgebra(lambda *_: torch.ones(2, 3)), core())
        assert value.dtype is torch.float32 and value.shape == (2, 3)


@pytest.mark.parametrize(
    "program",
    [
        call("relu", A),
        linear([(0.1, call("mean_pool", A, size=3))]),
        call("step", A),
        call("tanh", A),
    ],
)
def test_programs_that_bend_have_no_affine_form(program: Node) -> None:
    """What is not affine, or not exactly so in floats, says NotAffine."""
    with pytest.raises(NotAffine):
        evaluate(program, AffineAlgebra(), core())


class Stepwise(AffineAlgebra):
    """The affine algebra without a shortcut: every tap and every sum by itself."""

    def shortcut(self, node: Node) -> None:
        return None


def form_of(program: Node, algebra: AffineAlgebra) -> Affine | None:
    try:
        return evaluate(program, algebra, core())
    except NotAffine:
        return None


sums = st.builds(
    linear, st.lists(st.tuples(weights, taps(siblings=True)), min_size=1, max_size=12), numbers
)


@settings(max_examples=100)
@given(sums | programs(depth=3, siblings=True))
def test_the_affine_shortcut_changes_nothing(program: Node) -> None:
    """The form of a sum of taps as it stands is the one that adds them up, in the same order."""
    short, long = form_of(program, AffineAlgebra()), form_of(program, Stepwise())
    assert short == long
    if short is not None and long is not None:
        assert list(short.weights.items()) == list(long.weights.items())


def test_affine_forms_decide_constant_comparisons() -> None:
    """Heads over constants are constants."""
    program = linear([(2.0, call("clip", linear([], 9.0), low=0.0, high=6.0)), (1.0, A)])
    form = evaluate(program, AffineAlgebra(), core())
    assert (form.weights, Fraction(form.bias)) == ({("conv1", 0, 0, 0): 1.0}, 12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "program",
    [
        call("step", A),
        call("max", A, const(0.1)),
        call("min", const(0.1), A),
        call("prelu", A, slope=0.1),
        call("max", call("tanh", const(0.1)), A),
    ],
)
def test_source_text_keeps_the_precision_of_the_maps(program: Node, dtype: torch.dtype) -> None:
    """Numbers in emitted source adopt the dtype of the maps and lose nothing in float64."""
    maps = torch.tensor([-1.0, 0.0, 0.5], dtype=dtype)
    namespace = {"torch": torch, "x": maps}
    exec(HELPERS, namespace)
    found = eval(evaluate(program, TextAlgebra(lambda *_: "x"), core()), namespace)
    wanted = evaluate(program, TorchAlgebra(lambda *_: maps), core())
    assert found.dtype is dtype
    assert torch.equal(found, wanted)
