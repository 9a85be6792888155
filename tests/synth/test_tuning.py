"""Tuning: planted units prefer what was planted, and agreement says how near a program is."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from grammars.grammar import load_grammar
from grammars.program import Node, call, linear, tap
from synth.assembly import LayerChoice, Status, UnitChoice, opaque_layer
from synth.batches import Inputs
from synth.kernels.forms import Form, Window
from synth.network import Network, read_network
from synth.stimuli.field import field_of
from synth.stimuli.screen import screen_of
from synth.tuning import LayerTuning, agreement, rows_of, tune

GRAMMAR = load_grammar(tags=("core", "kernel"), installed=False)
ANGLE, WAVELENGTH = 30.0, 4.0
PLANTED = {"angle": ANGLE, "wavelength": WAVELENGTH, "sigma": 2.5, "length": 2.5, "phase": 90.0}


@cache
def planted() -> Network:
    """A gabor, a constant, and a unit behind both."""
    gabor = Form(GRAMMAR["gabor"])
    values = np.array([[PLANTED.get(n, s.default) for n, s in gabor.primitive.parameters]])
    down, right = np.indices((11, 11)).reshape(2, -1) - 5.0
    kernel = gabor.kernels(values, Window(down, right)).reshape(11, 11)
    module = nn.Sequential(nn.Conv2d(1, 2, 11, padding=5), nn.ReLU(), nn.Conv2d(2, 1, 3))
    module.extend([nn.Flatten(), nn.Linear(19 * 19, 2)])
    torch.manual_seed(0)
    with torch.no_grad():
        module[0].weight.copy_(torch.from_numpy(np.stack([kernel, 0 * kernel]))[:, None])
        module[0].bias.copy_(torch.tensor([-0.1, 0.5]))
    return read_network(module, torch.rand(2, 1, 21, 21))


PROBES = Inputs((np.random.default_rng(0).uniform(-1, 1, (40, 1, 21, 21)).astype(np.float32),))


def written(choice: LayerChoice, channel: int, program: Node) -> LayerChoice:
    """The layer with one unit replaced by a program."""
    unit = UnitChoice(channel, Status.PROGRAM, program, 9, 0.0, 0.0, "test")
    units = tuple(unit if u.channel == channel else u for u in choice.units)
    return replace(choice, units=units)


def tuned(layer: str, program: Node | None = None) -> LayerTuning:
    """All units of a layer, of which the first gabor may have a program."""
    choices = [opaque_layer(la) for la in planted().layers]
    if program is not None:
        choices[0] = written(choices[0], 0, program)
    la = planted().layer(layer)
    screen, field = screen_of(planted(), PROBES), field_of(planted(), la, PROBES)
    return tune(planted(), choices, GRAMMAR, screen, layer, range(la.units), field)


def rows(layer: str, program: Node | None = None) -> list[dict]:
    kept = {"layer": layer, "status": "program", "program": None}
    known = {i: kept | {"name": f"unit{i}", "channel": i} for i in range(2)}
    return rows_of(tuned(layer, program), known)


def relu_of(**changes: float) -> Node:
    (source,) = planted().input_names
    kernel = call("gabor", **{**PLANTED, **changes}, dy=0.0, dx=0.0)
    return call("relu", linear([(1.0, call("conv", kernel, tap(source, 0, 0, 0)))], -0.1))


def test_a_planted_gabor_is_found() -> None:
    """The unit prefers the planted angle, wavelength and phase, and so does its own program."""
    gabor, constant = rows("0")
    for kind in ("unit", "program", "in_situ"):
        found = gabor["families"]["grating"]["preferred"][kind]
        assert found == {"angle": ANGLE, "wavelength": WAVELENGTH, "phase": 90.0}
    assert constant["families"]["grating"]["preferred"]["unit"] is None
    curve = gabor["families"]["grating"]["curve"]
    assert curve["values"] == [5.0 * i for i in range(36)]
    assert curve["values"][int(np.argmax(curve["unit"]))] == ANGLE


@pytest.mark.parametrize("layer", ["0", "2"])
def test_a_unit_agrees_with_itself(layer: str) -> None:
    """Where units keep their weights, R² is 1 everywhere, also of a unit that never moves."""
    for row in rows(layer):
        for one in (row["all"], *row["families"].values()):
            assert one["r2"] == pytest.approx(1.0, abs=1e-5)
            assert one["r2_in_situ"] == pytest.approx(1.0, abs=1e-5)
            assert one["pearson"] is None or one["pearson"] == pytest.approx(1.0, abs=1e-5)


def test_a_turned_program() -> None:
    """A program that looks elsewhere prefers that, and disagrees, in situ behind it too."""
    same, turned = rows("0", relu_of())[0], rows("0", relu_of(angle=60.0))[0]
    assert same["all"]["r2"] > 0.9999
    assert turned["all"]["r2"] < 0.9 and turned["all"]["r2"] == turned["all"]["r2_in_situ"]
    preferred = turned["families"]["grating"]["preferred"]
    assert (preferred["unit"]["angle"], preferred["program"]["angle"]) == (ANGLE, 60.0)
    (behind,) = rows("2", relu_of(angle=60.0))
    assert behind["all"]["r2"] > 0.9999 > 0.95 > behind["all"]["r2_in_situ"]


numbers = arrays(np.float64, 20, elements=st.floats(-100, 100, width=16))


@given(numbers, numbers)
def test_agreement(unit: np.ndarray, other: np.ndarray) -> None:
    """R² is 1 for equals and never above; correlation does not see scale and constant, R² does."""
    assert agreement(unit, unit).r2 == 1.0
    found = agreement(unit, other)
    assert found.count == 20 and found.r2 <= 1.0
    if found.pearson is not None:
        assert -1.0 - 1e-9 <= found.pearson <= 1.0 + 1e-9
        moved = agreement(unit, 2 * other + 3)
        assert moved.pearson is None or moved.pearson == pytest.approx(found.pearson, abs=1e-6)
