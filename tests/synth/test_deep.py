"""Deep programs: layers written over an earlier bank, and what they are in the layers' place."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from grammars.program import tap
from oracles.claims import Refuted, Unknown
from oracles.discrete import Answer
from synth.batches import Inputs
from synth.chain import run
from synth.config import load_config
from synth.deep.evidence import deep_evidence
from synth.deep.reach import Reach
from synth.deep.search import _picked
from synth.errors import InputError
from synth.evidence import Probes
from synth.fronts import Candidate
from synth.job import load_job
from synth.layers import Geometry
from synth.network import read_network


class Step(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x > 0).float()


ROWS = torch.randn(300, 3, generator=torch.Generator().manual_seed(1))

NETWORK = """
import torch
from torch import nn


def network():
    \"\"\"max(x0, x1) = relu(x0 − x1) + relu(x1) − relu(−x1), and the sum of both inputs.\"\"\"
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    first, _, second = module
    with torch.no_grad():
        first.weight.copy_(torch.tensor(
            [[1., -1, 0], [0, 1, 0], [0, -1, 0], [1, 0, 0], [-1, 0, 0]]))
        second.weight.copy_(torch.tensor([[1., 1, -1, 0, 0], [0, 1, -1, 1, -1]]))
        first.bias.zero_()
        second.bias.zero_()
    return module


def probes():
    return torch.rand(400, 3, generator=torch.Generator().manual_seed(5)) * 4 - 2
"""

CONFIG = """
[network]
factory = "network.py:network"
[probes]
inputs = "network.py:probes"
[search]
engines = ["linear", "enumeration"]
tags = ["core", "formula"]
budget = 60
max_fvu = 1e-6
layers = ["{layers}"]
deep = {deep}
[run]
controls = []
"""


def project(folder: Path, *, deep: str = "input", network: str = NETWORK) -> Path:
    (folder / "network.py").write_text(network, encoding="utf-8")
    (folder / "config.toml").write_text(
        CONFIG.format(deep=f'"{deep}"', layers="*"), encoding="utf-8"
    )
    return folder / "config.toml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep")
    run(load_job(load_config(project(folder), {"run.out": str(folder / "out")})))
    return folder / "out"


def test_two_layers_are_one_formula(finished: Path):
    """The formula that two layers compute is found over the input, and written shortly."""
    units = json.loads((finished / "deep.json").read_text(encoding="utf-8"))["units"]
    assert [row["program"] for row in units] == [
        "max(input_1_0, input_1_1)",
        "input_1_0 + input_1_1",
    ]
    assert all(row["fvu_local"] < 1e-9 for row in units)
    front = units[0]["front"]
    assert [c["bits"] for c in front] == sorted(c["bits"] for c in front)
    assert front[-1]["fvu_select"] <= front[0]["fvu_select"]


def test_what_deep_programs_are_in_the_layers_place(finished: Path):
    """They take fewer bits than the layers that go, and change nothing."""
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    (figures,) = summary["deep"].values()
    assert figures["source"] == "input_1" and figures["skips"] == ["0"]
    assert figures["bits"] < figures["bits_layers"] < figures["bits_original"]
    assert figures["held_out"]["agreement"] == 1.0
    assert figures["held_out"]["kl_mean"] < 1e-9


def test_a_finished_search_is_not_done_again(finished: Path):
    before = (finished / "deep.json").read_bytes()
    folder = finished.parent
    again = run(load_job(load_config(folder / "config.toml", {"run.out": str(finished)})))
    assert (finished / "deep.json").read_bytes() == before and again["deep"]


def test_evidence_is_of_the_layers_between():
    """Pre-activations and activations are the network's own; weights the nearest affine ones."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2), nn.ReLU())
    network = read_network(module, torch.zeros(2, 3))
    half = Inputs([ROWS[:200]]), Inputs([ROWS[200:]])
    reach = Reach(network, network.layers[-1].name, network.layers[0].source)
    found = deep_evidence(reach, Probes(*half), seed=0)
    with torch.no_grad():
        wanted = module.double()(torch.from_numpy(found.patches).double()).numpy()
    assert np.allclose(found.target, wanted, atol=1e-6)
    fit = found.role != 2
    design = np.column_stack([found.patches[fit], np.ones(fit.sum())]).astype(float)
    best = np.linalg.lstsq(design, found.pre[fit], rcond=None)[0]
    assert np.allclose(found.layer.weight.T, best[:-1], atol=1e-3)
    assert not found.layer.affine and reach.skipped == ("0",)


def test_a_deep_program_reads_no_sibling():
    """A copy of another unit is the cheapest that passes, but no network has that unit; a program
    that is refuted gives way to the next."""
    torch.manual_seed(0)
    network = read_network(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), ROWS[:2])
    reach = Reach(network, network.layers[-1].name, network.layers[0].source)
    evidence = deep_evidence(reach, Probes(Inputs([ROWS[:200]]), Inputs([ROWS[200:]])), seed=0)
    copy, own = tap(evidence.layer.name, 1), evidence.scope.taps[0]
    unit = [Candidate(p, bits, 0.0, 0.0, 0.0, 0.0, "hand") for p, bits in ((copy, 5), (own, 9))]
    picked, answers = _picked(evidence, [unit, unit[:1]], 1e-6, lambda *_: None)
    assert [u.program for u in picked.units] == [own, None] and answers == (None, None)
    wrong, right = (Answer(v, v) for v in (Refuted(np.zeros(3), 1.0), Unknown("not asked")))
    dear = replace(unit[1], program=evidence.scope.taps[1], bits=12)
    said = {own: wrong, dear.program: right}
    picked, answers = _picked(evidence, [[*unit, dear]], 1e-6, lambda _, p: said[p])
    assert picked.units[0].program == dear.program and answers == (right,)


MAPS = """
import torch
from torch import nn


class Block(nn.Module):
    \"\"\"relu(x + f(x)) of maps x of two channels: it is max(x0, x1, 0) and max(x1, 0).\"\"\"

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 1, 1), nn.Conv2d(1, 2, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([-1., 1]).view(1, 2, 1, 1))
            self.second.weight.copy_(torch.tensor([1., 0]).view(2, 1, 1, 1))
            self.first.bias.zero_()
            self.second.bias.zero_()

    def forward(self, x):
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class Net(nn.Module):
    \"\"\"|x(right) − x(left)| in two layers, then a block, then a mean.\"\"\"

    def __init__(self):
        super().__init__()
        self.edge = nn.Conv2d(1, 4, (1, 3), padding=(0, 1))
        self.whole = nn.Conv2d(4, 2, 1)
        self.block, self.out = Block(), nn.Linear(2, 2)
        with torch.no_grad():
            self.edge.weight.copy_(
                torch.tensor([[-1., 0, 1], [1, 0, -1], [0, 1, 0], [0, -1, 0]]).view(4, 1, 1, 3))
            self.whole.weight.copy_(
                torch.tensor([[1., 1, 0, 0], [0, 0, 1, -1]]).view(2, 4, 1, 1))
            self.edge.bias.zero_()
            self.whole.bias.zero_()

    def forward(self, x):
        x = self.block(self.whole(torch.relu(self.edge(x))))
        return self.out(x.mean((2, 3)))


def network():
    torch.manual_seed(0)
    return Net()


def probes():
    return torch.rand(200, 1, 6, 5, generator=torch.Generator().manual_seed(5)) * 4 - 2
"""


def asking(folder: Path, deep: str) -> Path:
    (folder / "network.py").write_text(MAPS, encoding="utf-8")
    (folder / "config.toml").write_text(
        CONFIG.format(deep=f"{{ {deep} }}", layers="whole"), encoding="utf-8"
    )
    return folder / "config.toml"


def test_layers_of_maps_and_a_block_are_formulas(tmp_path: Path):
    """A layer of maps is written over a window of the image, and a residual block, whose end is no
    layer, over what it reads; in their place in the network nothing changes."""
    config = load_config(asking(tmp_path, 'whole = "input", "block" = "whole"'))
    run(load_job(replace(config, run=replace(config.run, out=str(tmp_path / "out")))))
    units = json.loads((tmp_path / "out" / "deep.json").read_text(encoding="utf-8"))["units"]
    programs = {row["unit"]: row["program"] for row in units}
    assert programs == {
        "whole_0": "abs(shift(x_0, dx=-1) - shift(x_0, dx=1))",
        "whole_1": "x_0",
        "relu_2_b2_0": "max(whole_0, whole_1)",
        "relu_2_b2_1": "relu(whole_1)",
    }
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    layer, block = summary["deep"].values()
    assert layer["skips"] == ["edge"] and block["skips"] == ["block.first", "block.second"]
    for figures in (layer, block):
        assert figures["bits"] < figures["bits_original"]
        assert figures["held_out"]["agreement"] == 1.0 and figures["held_out"]["kl_mean"] < 1e-9


def stack(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("layers", "size", "expected"),
    [
        ((nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3)), (9, 8), Geometry((5, 5))),
        (
            (nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 1, 3)),
            (12, 12),
            Geometry((8, 8), (2, 2), padding=(1, 1)),
        ),
        (
            (nn.Conv2d(1, 1, (1, 3), stride=(1, 2)), Step(), nn.Conv2d(1, 1, 3, dilation=2)),
            (8, 19),
            Geometry((5, 11), (1, 2)),
        ),
        ((nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)), (6, 6), Geometry((6, 6))),
    ],
)
def test_the_window_is_what_a_place_depends_on(layers, size, expected):
    """Windows, strides and paddings of all layers between compose, whatever lies between them."""
    torch.manual_seed(0)
    network = read_network(stack(*layers), torch.rand(2, 1, *size))
    reach = Reach(network, network.layers[-1].name, network.layers[0].source)
    assert reach.geometry == expected


def test_evidence_of_maps_is_the_networks_own():
    """Each patch stands beside the activation at its place, at the border too."""
    torch.manual_seed(0)
    module = stack(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 3, padding=1))
    maps = torch.rand(60, 2, 6, 5)
    network = read_network(module, maps[:2])
    reach = Reach(network, network.layers[-1].name, network.layers[0].source)
    found = deep_evidence(reach, Probes(Inputs([maps[:40]]), Inputs([maps[40:]])), seed=0)
    with torch.no_grad():
        wanted = module.double()(maps.double()).movedim(1, -1).flatten(0, 2).numpy()
    assert len(found.patches) == 60 * 30 and np.allclose(found.target, wanted, atol=1e-6)
    middle = found.patches.reshape(60, 6, 5, 2, 5, 5)[..., 2, 2]
    assert np.array_equal(middle, maps.movedim(1, -1).numpy())


SPACE = """
import torch
from torch import nn


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU(),
                         nn.Flatten(), nn.Linear(8192, 2))


def probes():
    return torch.rand(6, 1, 68, 68)
"""


@pytest.mark.parametrize(
    ("deep", "network", "said"),
    [
        ("inptu", NETWORK, "there is no bank or module 'inptu'. Did you mean 'input'?"),
        ("2", NETWORK, "'0' does not depend on '2'"),
        ("input", SPACE, "'5' would read 4624 numbers of 'input_1', more than 4096"),
    ],
)
def test_what_no_deep_program_can_be_of(tmp_path: Path, deep: str, network: str, said: str):
    with pytest.raises(InputError, match=r"search\.deep") as caught:
        load_job(load_config(project(tmp_path, deep=deep, network=network)))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("deep", "said"),
    [
        ('edgy = "input"', "there is no bank or module 'edgy'. Did you mean 'edge'?"),
        ('whole = "block"', "'whole' does not depend on 'relu_2'"),
        ("whole = 1", "expected a name, or a table of bank = earlier bank"),
    ],
)
def test_what_is_no_pair_of_banks(tmp_path: Path, deep: str, said: str):
    with pytest.raises(InputError) as caught:
        load_job(load_config(asking(tmp_path, deep)))
    assert said in str(caught.value)
