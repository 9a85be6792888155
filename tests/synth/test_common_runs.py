"""A run whose units share a sum: it is named in every file and shown, and stays what it is."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from reports import edit, layer_of
from typed import Home

import synth
from synth.folder import open_run

NETWORK = """
import torch
from torch import nn


def network():
    module = nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 3))
    ratios = torch.tensor([3.0, -5.0, 7.0, 2.0, -1.0, 6.0, 5.0, -7.0]) / 8
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].bias.fill_(0.25)
        for unit in range(5):
            module[0].weight[unit, :8] = ratios * (-1) ** unit * 2 ** (unit % 3)
            module[0].weight[unit, 8 + unit % 2] = 0.5 * (unit + 1)
        for weight in module[2].parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return module


def probes():
    inputs = torch.rand(160, 10, generator=torch.Generator().manual_seed(5))
    return inputs, network()(inputs).argmax(1)
"""

CONFIG = """
[network]
factory = "net.py:network"
[probes]
inputs = "net.py:probes"
[search]
layers = ["0"]
budget = 100
max_fvu = 1e-5
[accept]
margin = 0.2
max_kl = 1e-9
[run]
controls = []
"""

NAME = "m0_sum_1"
RATIOS = " ".join(
    (
        "3.0*input_1_0 - 5.0*input_1_1 + 7.0*input_1_2 + 2.0*input_1_3 - input_1_4",
        "+ 6.0*input_1_5 + 5.0*input_1_6 - 7.0*input_1_7",
    )
)


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("sharing"))
    (home.folder / "net.py").write_text(NETWORK)
    (home.folder / "net.toml").write_text(CONFIG)
    done = home("run", "net.toml", "--quiet")
    assert done.exit_code == 0, done.output
    return home


@pytest.fixture
def copied(sharing: Home, tmp_path: Path) -> Path:
    """The finished run, to be spoiled."""
    return Path(shutil.copytree(sharing.folder / "results" / "net", tmp_path / "run"))


def run_of(home: Home) -> Path:
    return home.folder / "results" / "net"


def test_the_files_name_it(sharing: Home) -> None:
    """One definition, which all units read; the programs themselves stay whole."""
    found = open_run(run_of(sharing))
    (value,) = found.common
    assert (value["name"], value["program"]) == (NAME, RATIOS)
    assert value["units"] == [f"m0_{i}" for i in range(5)]
    assert all(NAME in row["written"] for row in found.layers["0"])
    assert all(NAME not in row["program"] for row in found.layers["0"])
    assert found.summary["common"]["units"] == 5 and found.summary["common"]["bits_saved"] > 0


def test_the_emitted_file_is_the_replacement(sharing: Home) -> None:
    """Both compute the same of the probes, and the sum stands in the text once."""
    folder = run_of(sharing)
    text = " ".join((folder / "decompiled.py").read_text().split())
    assert text.count("3.0*input_1_0 - 5.0*input_1_1") == 1 and f"-0.125*{NAME}" in text
    spec = importlib.util.spec_from_file_location("decompiled_sharing", folder / "decompiled.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    inputs = torch.rand(50, 10)
    with torch.no_grad():
        wanted = synth.open(folder).replacement()(inputs)
        assert torch.allclose(module.forward(inputs), wanted, atol=1e-5)


def test_it_is_shown(sharing: Home) -> None:
    """In a layer's table, with a unit, in the result of a run and in the report."""
    assert f"{NAME}  {RATIOS}" in sharing("show", "results/net", "0").stdout
    unit = " ".join(sharing("show", "results/net", "0_3").stdout.split())
    assert f"written as relu(-0.125*{NAME} + 2.0*input_1_9 + 0.25)" in unit
    assert f"{NAME} {RATIOS}" in unit
    shown = json.loads(sharing("show", "results/net", "0_3", "--json").stdout)
    assert [row["name"] for row in shown["common"]] == [NAME]
    assert "common values" in sharing("run", "net.toml").stdout
    assert sharing("report", "results/net").exit_code == 0
    body = layer_of(run_of(sharing) / "report.html", "0")
    assert [row["program"] for row in body["common"]] == [RATIOS]


def other_weight(stored: dict[str, Any]) -> None:
    stored["common"][0]["program"] = RATIOS.replace("7.0", "7.5")


def of_itself(stored: dict[str, Any]) -> None:
    stored["common"][0]["program"] = f"{RATIOS} + {NAME}"


def no_program(stored: dict[str, Any]) -> None:
    stored["common"][0]["program"] = "gabor("


def gone(stored: dict[str, Any]) -> None:
    del stored["common"]


def other_reading(stored: dict[str, Any]) -> None:
    rows = [row for row in stored["units"] if "written" in row]
    for row in rows:
        row["written"] = row["written"].replace("0.25)", "0.5)")


@pytest.mark.parametrize("change", [other_weight, of_itself, no_program, gone, other_reading])
def test_a_changed_definition_is_refused(
    change: Callable[[dict[str, Any]], None], sharing: Home, copied: Path
) -> None:
    """`synth check` names the units, and what opens the run again does not take it."""
    assert sharing("check", copied).exit_code == 0
    stored = json.loads((copied / "programs.json").read_text())
    change(stored)
    (copied / "programs.json").write_text(json.dumps(stored))
    checked = sharing("check", copied)
    assert checked.exit_code == 1 and checked.stdout.count("is not its program") == 5
    opened = sharing("validate", copied, "--config", "net.toml")
    assert opened.exit_code == 2 and "holds no programs of this network" in opened.output


def test_rows_that_are_none_are_told(sharing: Home, copied: Path) -> None:
    """A file whose definitions are no rows is damaged."""
    edit(copied / "programs.json", common=[{"layer": "0"}])
    shown = sharing("show", copied)
    assert shown.exit_code == 2 and "damaged" in shown.output
