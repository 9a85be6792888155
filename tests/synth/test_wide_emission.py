"""Layers of many units: tables, stored sums and grouped convolutions in emitted source."""

import ast
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import Case
from emitting import case_of, choice, emitted, mixed, network_of, read, read_several
from families import FAMILIES, Family, lively, mobilenet, vgg11
from random_graphs import RandomGraph
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from grammars.program import linear, tap
from synth.assembly import LayerChoice, own_program
from synth.emission import WEIGHTS_FILE, plan
from synth.emission.tables import unit_of
from synth.engine import weighted_taps, with_head
from synth.layers import Layer
from synth.network import Network, read_network


class Mobile(nn.Module):
    """A depthwise block, a batch norm of its own, a grouped layer and a dense layer after a map."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Conv2d(40, 40, 3, padding=1, stride=2, groups=40, bias=False)
        self.norm = nn.BatchNorm2d(40)
        self.alone = nn.BatchNorm2d(40)
        self.grouped = nn.Conv2d(40, 8, 1, groups=4)
        self.dense = nn.Linear(8 * 9, 34)

    def forward(self, x: Tensor) -> Tensor:
        x = self.alone(F.relu6(self.norm(self.deep(x))).mul(2).abs())
        return F.silu(self.dense(F.hardswish(self.grouped(x)).flatten(1)))


def every_other(layer: Layer) -> LayerChoice:
    """Every other unit keeps its weights."""
    return choice(layer, dict.fromkeys(range(0, layer.units, 2)))


def opaque(layer: Layer) -> LayerChoice:
    return choice(layer, dict.fromkeys(range(layer.units)))


def own(layer: Layer) -> LayerChoice:
    """Every unit as a program with all its float weights."""
    return choice(layer, {c: own_program(layer, c) for c in range(layer.units)})


@pytest.fixture(scope="module")
def mobile() -> Network:
    torch.manual_seed(0)
    return read(Mobile(), 40, 6, 6)


@pytest.mark.parametrize(
    "choose", [choice, mixed, every_other, opaque, own], ids=lambda f: f.__name__
)
def test_every_kind_of_layer(choose, mobile, tmp_path: Path) -> None:
    """Tables, stored rows and lines together compute the replacement, in both precisions."""
    result = emitted(mobile, tmp_path, choose=choose)
    x = torch.randn(3, 40, 6, 6)
    assert result.error(x) <= 1e-5
    assert result.error(x.double()) <= 1e-12


def test_a_table_holds_the_programs(mobile, tmp_path: Path) -> None:
    """A depthwise layer is one expression, and each line of its table is a unit's own weights."""
    result = emitted(mobile, tmp_path)
    layer = mobile.layer("deep")
    body = function_text(result.text, "deep")
    assert "DEEP_WEIGHT" in body and "groups=40" in body and len(body.splitlines()) < 15
    lines = result.text.split("DEEP_WEIGHT, DEEP_BIAS = table(")[1].split('"""')
    unit = ast.literal_eval(re.match(r", 2.0\*\*(-?\d+), ", lines[2])[1])  # type: ignore[index]
    rows = dict(line.split(" ", 1) for line in lines[1].strip().splitlines())
    assert list(rows) == [f"deep_{c}" for c in range(40)]
    for channel, (name, numbers) in enumerate(rows.items()):
        *weights, bias = (int(n) * 2.0**unit for n in numbers.split())
        taps = [tap(layer.source, *column) for column in layer.columns()[layer.part(channel)]]
        program = result.choices[0].units[channel].program
        assert name == f"deep_{channel}"
        assert program == with_head(
            layer.heads[channel], linear(zip(weights, taps, strict=True), bias)
        )


def test_long_sums_are_stored(tmp_path: Path) -> None:
    """Sums that nobody reads are rows beside the text, exactly; short ones stay in it."""
    network = read(nn.Sequential(nn.Linear(200, 40), nn.ReLU()), 200)
    layer = network.layers[0]
    weights = np.round(np.random.default_rng(0).normal(size=(40, 201)) * 50) / 64
    weights[7, 5:200] = 0
    programs = {
        c: with_head(layer.heads[c], weighted_taps(layer.scope, weights[c])) for c in range(40)
    }
    programs[9] = with_head(layer.heads[9], linear([(-1.0, tap("0:pre", 3))]))
    result = emitted(network, tmp_path, choose=lambda la: choice(la, dict(programs)))
    body = function_text(result.text, "m0")
    for words in ("m0_3 is a sum of", "37 units are sums of", "m0_3 = relu(sum_3)"):
        assert words in body
    assert {unit for _, unit, _ in result.lines()} == {3, 7, 9}
    stored = load_file(tmp_path / WEIGHTS_FILE)["0.weight"].double().numpy()
    assert (stored[:9] == weights[:9, :-1]).all()
    x = torch.randn(5, 200)
    assert result.error(x) <= 1e-5 and result.error(x.double()) <= 1e-12


def test_wide_layers_are_fast(tmp_path: Path) -> None:
    """Hundreds of units of hundreds of terms are written, read and run within seconds."""
    network = read(nn.Sequential(nn.Linear(700, 400), nn.ReLU()), 700)
    layer, rng = network.layers[0], np.random.default_rng(0)
    weights = np.round(rng.normal(size=(400, 701)) * 8) / 64
    programs = {
        c: with_head(layer.heads[c], weighted_taps(layer.scope, weights[c])) for c in range(400)
    }
    start = time.process_time()
    result = emitted(network, tmp_path, choose=lambda la: choice(la, dict(programs)))
    forward = result.forward()
    forward(torch.randn(16, 700))
    assert time.process_time() - start < 20
    assert len(result.text) < 4000


@pytest.mark.parametrize(
    ("name", "longest"),
    [("Strange", 3), ("Strange", 30), ("Residual", 3), ("sequence", 3), ("geometries", 3)],
)
def test_everything_in_blocks(name: str, longest: int, monkeypatch, tmp_path: Path) -> None:
    """Even where two units make a block and a sum is soon too long, the numbers are the same."""
    monkeypatch.setattr(plan, "MANY", 2)
    monkeypatch.setattr(plan, "LONGEST", longest)
    case: Case = case_of(name)
    for choose in (mixed, every_other):
        assert (
            emitted(network_of(case), tmp_path, choose=choose).error(torch.randn(3, *case.shape))
            <= 1e-5
        )


class Several(nn.Module):
    """Two inputs, and three outputs of which one is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.fc = nn.Linear(4, 3)

    def forward(self, image: Tensor, extra: Tensor) -> dict[str, Tensor]:
        maps = F.gelu(self.conv(image))
        scores = maps.mean((2, 3)) + torch.sigmoid(self.fc(extra))
        return {"scores": scores, "maps": maps.chunk(3, 1)[1], "extra": extra}


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    """Inputs are arguments under their names; outputs are a tuple in the order of the network."""
    result = emitted(read_several(Several(), (2, 5, 5), (4,)), tmp_path, choose=mixed)
    assert "def forward(image, extra):" in result.text
    assert "Outputs scores (N, 3), maps (N, 1, 3, 3), extra (N, 4) of batches" in result.text
    assert result.error(torch.randn(6, 2, 5, 5), torch.randn(6, 4)) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_architectures(family: Family, tmp_path: Path) -> None:
    """What people use can be written: ResNet, GoogLeNet, MobileNet, VGG, U-Nets, audio."""
    torch.manual_seed(0)
    smaller = {"scale": 2 * family.small["scale"]} if family.make in (vgg11, mobilenet) else {}
    module = lively(family.make(**family.small | smaller))
    x = torch.randn(2, *family.small_shape)
    assert emitted(read_network(module, x), tmp_path, choose=mixed).error(x) <= 1e-5


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("seed", (1, 3, 7, 9, 13))
def test_random_graphs(seed: int, tmp_path: Path) -> None:
    """What the generator of random networks thinks of can be written."""
    graph = RandomGraph(seed)
    batch = tuple(torch.randn(3, *shape) for shape in graph.shapes)
    result = emitted(read_network(graph, batch), tmp_path, choose=mixed)
    assert result.error(*batch) <= 1e-5


@pytest.mark.parametrize(
    ("numbers", "unit"),
    [([0.75, -3.0, 0.0], -2), ([8.0, 24.0], 3), ([0.0], 0), ([1.0, 2.0**-40], None)],
)
def test_units_of_tables(numbers: list[float], unit: int | None) -> None:
    """Numbers of a table are integers times one power of two, unless these would be very long."""
    assert unit_of(np.array(numbers)) == unit


def function_text(text: str, name: str) -> str:
    return text.split(f"def {name}(")[1].split("\n\n\n")[0]
