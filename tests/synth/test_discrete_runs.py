"""Networks over bits: what they decide is proved for all inputs, from the reader to the summary."""

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn

from synth.chain import run
from synth.config import load_config
from synth.errors import InputError
from synth.job import load_job
from synth.layers import Head
from synth.network import read_network

NETWORK = """
from itertools import product
import torch
from torch import nn


class Step(nn.Module):
    def forward(self, x):
        return (x > 0).float()


def parity(activation=Step):
    \"\"\"Parity of four bits by thresholds in other sizes.\"\"\"
    module = nn.Sequential(nn.Linear(4, 4), activation(), nn.Linear(4, 1))
    first, _, second = module
    scale = torch.tensor([0.7, 1.9, 1.3, 0.4])
    with torch.no_grad():
        first.weight.copy_(scale[:, None].expand(4, 4))
        first.bias.copy_(-scale * torch.tensor([0.5, 1.5, 2.5, 3.5]))
        second.weight.copy_(torch.tensor([[1.0, -1.0, 1.0, -1.0]]))
        second.bias.zero_()
    return module


def smooth():
    return parity(nn.Tanh)


def convolution():
    return nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))


def probes():
    return torch.tensor([*product((0.0, 1.0), repeat=4)]).repeat(20, 1)


def halves():
    inputs = probes()
    inputs[7, 2] = 0.5
    return inputs


def pictures():
    return torch.rand(300, 1, 3, 3).round()
"""

CONFIG = """
[network]
factory = "net.py:{network}"
values = [0, 1]
[probes]
inputs = "net.py:{probes}"
[search]
engines = ["linear", "discrete"]
tags = ["core", "discrete"]
budget = 150
max_fvu = 0.001
{deep}
[run]
controls = []
"""


def project(
    folder: Path, network: str = "parity", probes: str = "probes", deep: str = 'deep = "input"'
) -> Path:
    (folder / "net.py").write_text(NETWORK, encoding="utf-8")
    text = CONFIG.format(network=network, probes=probes, deep=deep)
    (folder / "net.toml").write_text(text, encoding="utf-8")
    return folder / "net.toml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("discrete")
    run(load_job(load_config(project(folder), {"run.out": str(folder / "out")})))
    return folder / "out"


def rows(finished: Path, name: str) -> list[dict]:
    return json.loads((finished / name).read_text(encoding="utf-8"))["units"]


def test_steps_are_proved_on_the_values_of_their_sources(finished: Path):
    """Every unit that jumps has a program, proved over zeros and ones and not over a box."""
    units = [u for u in rows(finished, "programs.json") if u["layer"] == "0"]
    assert all(u["program"] and u["verdict"] == "proved" for u in units)
    assert all(u["domain"] == "values" and u["smt_checked"] for u in units)


def test_the_whole_network_is_one_bit_of_a_sum(finished: Path):
    (unit,) = rows(finished, "deep.json")
    assert unit["program"] == "bit(input_1_0 + input_1_1 + input_1_2 + input_1_3)"
    assert (unit["verdict"], unit["smt"], unit["bound"]) == ("proved", "proved", 0.0)


def test_decisions_are_proved_equal_at_every_input(finished: Path):
    """Of the replacement, of the deep program, and of float32."""
    found = json.loads((finished / "summary.json").read_text(encoding="utf-8"))["discrete"]
    assert (found["points"], found["decides"]) == (16, "each output above 0.5")
    answers = found["replacement"], *found["deep"].values()
    assert all((a["verdict"], a["smt"]) == ("proved", "proved") for a in answers)
    assert all(a["float32"]["holds"] for a in answers)
    assert found["original"]["float32"]["margin"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"probes": "halves"}, "probes.inputs has 0.5 at (7, 2), but network.values = [0, 1]"),
        ({"network": "smooth"}, "layer '0' has the head tanh, which has no exact meaning"),
        (
            {"network": "convolution", "probes": "pictures", "deep": ""},
            "layer '0' has maps",
        ),
    ],
)
def test_what_no_claim_of_all_inputs_can_be_of(tmp_path: Path, given: dict, said: str):
    """Told before anything is searched, with the place."""
    with pytest.raises(InputError) as caught:
        load_job(load_config(project(tmp_path, **given)))
    assert said in str(caught.value)


def test_a_threshold_without_values_is_refused(tmp_path: Path):
    path = project(tmp_path)
    text = path.read_text(encoding="utf-8").replace("values = [0, 1]", "threshold = 0.5")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"stands without network\.values"):
        load_config(path)


def heaviside(x: torch.Tensor) -> torch.Tensor:
    return torch.heaviside(x, torch.zeros(()))


@pytest.mark.parametrize(
    ("activation", "head"),
    [
        (heaviside, "step"),
        (lambda x: (x > 0).float(), "step"),
        (lambda x: (x > 0).to(x.dtype), "step"),
        (torch.sign, "sign"),
    ],
)
def test_steps_and_signs_are_heads(activation, head: str):
    """A threshold in any spelling is the head of its unit, and the layer computes what it did."""

    class Jump(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.second(activation(self.first(x)))

    torch.manual_seed(0)
    module = Jump()
    network = read_network(module, torch.zeros(2, 3))
    assert network.layers[0].heads == (Head(head),) * 4 and not network.opaque
    inputs = torch.tensor([*product((-1.0, 0.5, 1.0), repeat=3)])
    with torch.no_grad():
        assert torch.equal(network(inputs), module(inputs))
    assert network.before_jumps == frozenset()
