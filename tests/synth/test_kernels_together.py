"""Chains of many units at once, on a device or not, are those of each unit by itself."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import pictures, read
from torch import nn

from grammars.grammar import Grammar, load_grammar
from grammars.program import Sort
from synth import ahead
from synth.batches import Inputs
from synth.devices import check_device
from synth.engine import UnitEvidence
from synth.engines import kernel
from synth.engines.kernel import KernelEngine, problem_of, wary_metric
from synth.errors import InputError
from synth.evidence import LayerEvidence, Probes, gather
from synth.kernels import together
from synth.kernels.forms import Form, Window, forms_of
from synth.kernels.numbers import Device, host
from synth.kernels.problem import Problem
from synth.kernels.search import Grown, dictionary, grow
from synth.kernels.together import grown_together, regrown
from synth.leftovers import leftovers

UNITS, LONGEST, SIDE = 3, 2, 16
FEW = ("edge", "gaussian_derivative", "gabor")  # kernels that units are fitted by
CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA")
)


@cache
def grammar() -> Grammar:
    return load_grammar(tags=("core", "kernel"), installed=False)


@cache
def evidence() -> LayerEvidence:
    """A layer of two channels whose last unit has no weights."""
    layer = nn.Conv2d(2, UNITS, 3, bias=False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
        layer.weight[-1] = 0.0
    network = read(nn.Sequential(layer), (2, SIDE, SIDE))
    images = pictures(30, 2, SIDE, seed=0)
    probes = Probes(Inputs((images[:15],)), Inputs((images[15:],)))
    return next(iter(gather(network, probes, seed=0)))


@cache
def problems() -> tuple[Problem, ...]:
    units = [UnitEvidence(evidence(), c, grammar()) for c in range(UNITS)]
    whole = (problem_of(unit, wary_metric(unit)) for unit in units)
    return tuple(replace(p, forms=[f for f in p.forms if f.primitive.name in FEW]) for p in whole)


@cache
def alone() -> list[list[Grown]]:
    """What is found of each unit by itself."""
    return [list(grow(problem, LONGEST, 0)) for problem in problems()]


@pytest.fixture
def nowhere() -> Iterator[None]:
    """A default device on which nothing can be computed: no tensor may be made on it."""
    alone()
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def check_same(arrays: dict[str, np.ndarray]) -> None:
    """The best chains of all units are those that each has by itself."""
    for unit, (problem, expected) in enumerate(zip(problems(), alone(), strict=True)):
        found = list(regrown(problem, {name: rows[unit] for name, rows in arrays.items()}))
        assert len(found) == LONGEST
        for own, other in zip(expected, found, strict=True):
            assert other.losses[0] == pytest.approx(own.losses[0], rel=1e-6, abs=1e-9)
            assert other.chains.mixes.shape[1:] == own.chains.mixes.shape[1:]
            if unit < UNITS - 1:  # without weights all are as good
                assert (other.chains.forms[0] == own.chains.forms[0]).all()
                assert other.chains.values[0] == pytest.approx(own.chains.values[0], abs=1e-3)


# fits


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_units_together_on_a_device_are_what_each_is_alone(device, nowhere):
    """One code for numpy and for tensors; every tensor is made where the numbers are."""
    check_same(grown_together(problems(), LONGEST, 0, Device(device)))


def test_units_in_parts_are_what_they_are_together(monkeypatch):
    """Memory bounds how many are fitted at once, and changes nothing."""
    monkeypatch.setattr(together, "NUMBERS", 1)
    check_same(grown_together(problems(), LONGEST, 0, np))


@pytest.mark.parametrize("form", forms_of(grammar()), ids=lambda f: f.primitive.name)
def test_forms_are_the_same_by_torch(form: Form, nowhere):
    """Every formula is computed by torch, in float64, as numpy does."""
    window, xp = problems()[0].window, Device("cpu")
    own = dictionary(replace(problems()[0], forms=[form]), 0)[1][::41]
    found = form.kernels(xp.asarray(own), window, xp)
    assert found.dtype == torch.float64
    assert host(found) == pytest.approx(form.kernels(own, window), abs=1e-12)


@pytest.mark.parametrize(
    "formula",
    [
        lambda np, y, x: np.interp(x, [-1.0, 1.0], [0.0, 1.0]) + 0 * y,  # torch has none
        lambda np, y, x: y if (x > 0).all() else np.maximum(x, y),
    ],
)
def test_a_formula_that_torch_cannot_do_is_numpys(formula):
    """A user's kernel may ask numpy for anything."""
    body = lambda k: k.table(formula)  # noqa: E731
    form = Form(SimpleNamespace(body=body, parameters=(), result=Sort.WEIGHTS))  # type: ignore[arg-type]
    window, xp = Window.of([(0, 0), (0, 1), (1, 0)]), Device("cpu")
    found = form.kernels(xp.asarray(np.zeros((2, 0))), window, xp)
    assert host(found) == pytest.approx(form.kernels(np.zeros((2, 0)), window))


# runs


def test_the_search_of_a_unit_goes_on_from_what_was_made_ahead(monkeypatch, tmp_path: Path):
    """On a device the programs of a unit are those of the processor."""
    monkeypatch.setattr(kernel, "Device", lambda name: Device({"cuda": "cpu"}[name]))
    monkeypatch.setattr(kernel, "READ", (1, 1))
    monkeypatch.setattr(kernel, "PLAIN", 1)
    monkeypatch.setattr(kernel, "forms_of", lambda _: problems()[0].forms)
    made = ahead.made_ahead([KernelEngine("cuda")], evidence(), [1, 2], grammar(), seed=0)
    path = str(ahead.save(made, tmp_path))
    unit = UnitEvidence(evidence(), 1, grammar())
    begun = UnitEvidence(evidence(), 1, grammar(), ahead=ahead.rows_of(path, 1))
    expected = list(KernelEngine().propose(unit, budget=2000, seed=0))
    monkeypatch.setattr(kernel, "grow", None)  # is not asked again
    assert list(KernelEngine("cuda").propose(begun, budget=2000, seed=0)) == expected
    assert expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_a_device_that_is_missing_is_one_error():
    """It says what to do."""
    with pytest.raises(InputError, match=r"finds no such device.*--device cpu"):
        check_device("cuda")


def test_nothing_is_made_ahead_on_the_processor():
    """Nor of a layer that is no image."""
    assert ahead.made_ahead([KernelEngine()], evidence(), [0], grammar(), seed=0) == {}
    plain = load_grammar(installed=False)
    assert ahead.made_ahead([KernelEngine("cuda")], evidence(), [0], plain, seed=0) == {}


def test_what_was_made_ahead_is_swept(tmp_path: Path):
    """After a kill the next run removes the file."""
    place = tmp_path / "evidence" / "layer-x"
    place.mkdir(parents=True)
    path = ahead.save({"channels": np.array([0])}, place)
    assert leftovers(tmp_path) == [path]
