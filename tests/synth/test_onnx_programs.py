"""Replacements of kernels, families, formulas and deep programs as ONNX: the same answers."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_family_emission as kin
import test_kernel_emission as kernels
import torch
from emitting import choice, read
from torch import Tensor, nn

from grammars.grammar import load_grammar
from grammars.names import Names
from grammars.parser import parse_program
from grammars.program import Node
from synth.assembly import assemble, bank_module
from synth.deep.evidence import deep_layer
from synth.deep.reach import Reach
from synth.deep.report import deep_network
from synth.deep.search import DeepPrograms
from synth.onnx_out import TOLERANCE, write_onnx

runtime = pytest.importorskip("onnxruntime")

ALL = load_grammar(tags=("core", "pool", "formula", "discrete"), installed=False)
SUMS = ("linear", "shift")  # written by their signs; read at an offset
A, B = "(0.5*x_0 - 0.25*x_2 + 0.125)", "(x_1 + x_3)"
FORMULAS = (
    *(f"{p.name}({A})" for p in ALL.primitives if p.args == ("field",) and p.name not in SUMS),
    f"{A}*{B}",
    f"max({A}, -0.5*{B})",
    f"min({A}, 0.25)",
    f"abs(sin(2.0*{A}) - tanh({B})*x_0) + 0.5",
    f"{A}*reciprocal(1.0 + square({B}))",
    "clip(x_0, low=-0.5, high=0.25)",
    "prelu(x_2, slope=-1.5)",
    "bit(4.0*x_0 + 2.0, place=1)",
    "0.75",
)
OF_MAPS = ("max_pool(x_1, size=2)", "mean_pool(x_1, size=2)", "x_3*shift(x_3, dy=-1, dx=1)")


def far_units(module: nn.Module, folder: Path, x: Tensor) -> list[int]:
    """Channels in which onnxruntime is further from torch than we allow, of their own largest."""
    file = folder / "net.onnx"
    write_onnx(module, (x,), file, inputs=["x"], outputs=["y"])
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": x.numpy()})[0]
    with torch.no_grad():
        wanted = module(x).numpy()
    away, largest = (
        np.abs(a).swapaxes(0, 1).reshape(a.shape[1], -1).max(1) for a in (found - wanted, wanted)
    )
    return np.flatnonzero(away > TOLERANCE * largest).tolist()


def written(texts: tuple[str, ...], bank: str) -> dict[int, Node]:
    """Programs over a bank of four channels, by number."""
    names = Names({bank: 4}, reserved=ALL)
    texts = tuple(re.sub(r"\bx_", f"{bank}_", text) for text in texts)
    return {i: parse_program(text, names, ALL) for i, text in enumerate(texts)}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("geometry", kernels.GEOMETRIES[1:4], ids=str)
def test_kernels(geometry: dict, tmp_path: Path) -> None:
    """Kernels over channels, mixes and axes of colour, beside taps and a sibling."""
    network = kernels.network(**geometry)
    programs = dict(enumerate(kernels.within(network, kernels.PROGRAMS)))
    module = assemble(network, (choice(network.layers[0], programs),), kernels.grammar())
    assert not far_units(module, tmp_path, torch.randn(5, 3, 12, 12))


def test_families(tmp_path: Path) -> None:
    """A family that is written in loops, and one that is a table."""
    programs = [*kin.looped(), *kin.tabled()]
    layer = nn.Conv2d(3, len(programs), 7, padding=3, stride=2)
    network = read(nn.Sequential(layer, nn.ReLU()), 3, 12, 12)
    chosen = choice(network.layers[0], dict(enumerate(programs)))
    units = tuple(replace(u, family=int(u.channel >= len(kin.looped()))) for u in chosen.units)
    module = assemble(network, (replace(chosen, units=units),), kin.grammar())
    assert not far_units(module, tmp_path, torch.randn(5, 3, 12, 12))


def test_formulas(tmp_path: Path) -> None:
    """Every function of values that the grammar has, and what is put together from some."""
    network = read(nn.Linear(4, len(FORMULAS)), 4)
    programs = written(FORMULAS, network.layers[0].source)
    module = assemble(network, (choice(network.layers[0], programs),), ALL)
    assert not far_units(module, tmp_path, torch.randn(50, 4))


def test_formulas_of_maps(tmp_path: Path) -> None:
    """The same at every place, and what reads its neighbours."""
    texts = (*FORMULAS, *OF_MAPS)
    network = read(nn.Conv2d(4, len(texts), 3, padding=1), 4, 6, 6)
    programs = written(texts, network.layers[0].source)
    module = assemble(network, (choice(network.layers[0], programs),), ALL)
    assert not far_units(module, tmp_path, torch.randn(20, 4, 6, 6))


def test_deep_programs(tmp_path: Path) -> None:
    """Programs over the input in the place of three layers."""
    layers = nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)
    network = read(nn.Sequential(*layers), 4)
    reach = Reach(network, network.layers[-1].name, network.layers[0].source)
    programs = written((f"max({A}, {B})", f"sin({A})", f"relu({A})*{B}"), reach.source)
    chosen = choice(deep_layer(reach), programs)
    found = DeepPrograms(reach, chosen, (None,) * 3, ((),) * 3, ())
    module = deep_network(network, found).replaced({reach.of.name: bank_module(chosen, ALL)})
    assert not far_units(module, tmp_path, torch.randn(50, 4))
