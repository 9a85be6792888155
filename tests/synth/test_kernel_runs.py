"""A whole run whose grammar has kernels and colour, a user's kernel among them."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from typed import Home

from synth.assembly import assemble
from synth.chain import load_choices
from synth.config import load_config
from synth.engine import UnitEvidence
from synth.families.kin import _Fits
from synth.job import load_job
from synth.runs import read_run
from synth.store import FRONT, KIN, Store

NETWORK = """
import numpy as np
import torch
from torch import nn

RIDGE = np.exp(-np.abs(np.add.outer(np.arange(-1, 2), np.arange(-1, 2))) / 1.5)
LIGHT = np.array([0.3125, 0.5625, 0.125])


def network():
    module = nn.Sequential()
    module.add_module("conv1", nn.Conv2d(3, 2, 3, stride=2, padding=1))
    module.add_module("relu", nn.ReLU())
    module.add_module("out", nn.Conv2d(2, 3, 4))
    module.add_module("flat", nn.Flatten())
    generator = torch.Generator().manual_seed(3)
    planted = np.multiply.outer(LIGHT, RIDGE), np.multiply.outer([0.5, 0, -0.5], RIDGE[::-1])
    noise = np.random.default_rng(0).standard_normal((2, 3, 3, 3)) / 1024
    with torch.no_grad():
        module.conv1.weight.copy_(torch.from_numpy(np.stack(planted) + noise))
        module.conv1.bias.copy_(torch.tensor([-0.25, 0.125]))
        means = torch.randn(3, 2, 1, 1, generator=generator) / 16
        module.out.weight.copy_(means.expand(3, 2, 4, 4))
    return module


def probes():
    numbers = np.random.default_rng(5)
    images = numbers.standard_normal((160, 3, 7, 7)) + numbers.standard_normal((160, 1, 7, 7))
    return images.astype(np.float32)
"""

KERNEL = '''
from grammars.primitive import Weights, primitive, real

REACH = 1.5


def falloff(np, distance):
    """It falls with the distance."""
    return np.exp(-np.abs(distance) / REACH)


@primitive(tags=("kernel",))
def ridge(k, *, tilt=real(-1.0, 1.0, step=0.5, default=1.0)) -> Weights:
    """exp(-|x + tilt y| / 1.5); a kernel by position."""
    return k.table(lambda np, y, x: falloff(np, x + tilt * y))
'''

CONFIG = """
[network]
factory = "net.py:network"

[probes]
inputs = "net.py:probes"

[search]
grammar = ["ridge.py"]
tags = ["core", "kernel", "colour"]
engines = ["linear", "kernel"]

[accept]
margin = 0.2
max_kl = 0.05
min_agreement = 0.9

[run]
controls = ["random"]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A folder with a finished run of a network with planted kernels."""
    folder = tmp_path_factory.mktemp("kernels")
    for name, text in {"net.py": NETWORK, "ridge.py": KERNEL, "net.toml": CONFIG}.items():
        (folder / name).write_text(text)
    home = Home(folder)
    done = home("run", "net.toml")
    assert done.exit_code in (0, 1), done.output
    return home


def programs(home: Home) -> list[dict]:
    return json.loads((home.folder / "results" / "net" / "programs.json").read_text())["units"]


def test_planted_kernels_are_found(home: Home) -> None:
    """Both units of the convolution have a program with the user's own kernel, which is proved."""
    first, second, *_ = programs(home)
    assert "conv(ridge(" in first["program"] and "conv(ridge(tilt=-1.0)" in second["program"]
    for row in (first, second):
        assert (row["engine"], row["status"], row["verdict"]) == ("kernel", "program", "proved")
        assert row["smt_checked"] and row["terms"] <= 6
    shown = home("show", "results/net", "conv1")
    assert shown.exit_code == 0 and "conv(ridge()" in shown.output


def test_units_are_called_after_their_kernels(home: Home) -> None:
    """In the next layer's programs and fronts, in the source, and where one asks for them."""
    rows = programs(home)
    first, second = (row["name"] for row in rows[:2])
    assert (first, second) == ("ridge_n1", "ridge_n2")
    last = home("show", "results/net", "out_0", "--json").output
    assert second in rows[2]["program"] and second in last and "conv1_1" not in last
    assert any(candidate["chosen"] for candidate in json.loads(last)["front"])
    source = (home.folder / "results" / "net" / "decompiled.py").read_text()
    assert f"{second} = relu(" in source
    shown = home("show", "results/net", second)
    assert shown.exit_code == 0 and second in shown.output
    assert home("show", "results/net", "conv1_1").output == shown.output


def test_its_files_are_checked(home: Home, tmp_path: Path) -> None:
    """Certificates speak of the programs, wherever the folder is; another program has none."""
    done = home("check", "results/net")
    assert (done.exit_code, done.output) == (0, "5 accepted, 0 rejected\n")
    spoiled = tmp_path / "spoiled"
    shutil.copytree(home.folder / "results" / "net", spoiled)
    path = spoiled / "programs.json"
    document = json.loads(path.read_text())
    row = document["units"][1]
    row["program"] = row["program"].replace("tilt=-1.0", "tilt=-0.5")
    path.write_text(json.dumps(document))
    done = home("check", spoiled)
    assert done.exit_code == 1 and "REJECTED conv1[1]: its certificate is of another" in done.output


def test_it_is_validated_again(home: Home) -> None:
    """Held-out says the same of programs that were read back from their texts."""
    verdict = json.loads((home.folder / "results/net/summary.json").read_text())["verdict"]
    done = home("validate", "results/net")
    assert done.exit_code == (0 if verdict == "drop-in" else 1), done.output
    assert "summary.json says" not in done.output


def test_its_source_is_its_replacement(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """`decompiled.py` by itself computes what the programs do."""
    monkeypatch.chdir(home.folder)
    folder = home.folder / "results" / "net"
    job = load_job(load_config(home.folder / "net.toml", {}))
    module = assemble(job.network, load_choices(job, folder), job.grammar)
    spec = importlib.util.spec_from_file_location("decompiled", folder / "decompiled.py")
    assert spec is not None and spec.loader is not None
    emitted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(emitted)
    x = torch.randn(20, 3, 7, 7)
    with torch.no_grad():
        wanted, got = module(x), emitted.forward(x)
    assert float((wanted - got).abs().max()) <= 1e-6 * float(wanted.abs().max())
    assert "def falloff(np, distance):" in (folder / "decompiled.py").read_text()


def test_a_unit_that_no_family_is_found_for_is_reported(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary says what failed, also of another choice from the run; it keeps a program of its
    own, and the same command tries it again."""
    fits = _Fits.__call__

    def broken(task: _Fits, unit: UnitEvidence) -> object:
        if unit.channel == 1:
            raise ZeroDivisionError("a bug")
        return fits(task, unit)

    out = tmp_path / "failed"
    shutil.copytree(home.folder / "results" / "net", out)
    with Store(out) as store:
        for item in store.items(KIN[FRONT]):
            store.remove(KIN[FRONT], item.key)

    def failed(*words: object, of: Path = out) -> list[dict]:
        done = home(*words)
        assert done.exit_code in (0, 1), done.output
        return json.loads((of / "summary.json").read_text())["failed_units"]

    monkeypatch.setattr(_Fits, "__call__", broken)
    rows = failed("run", "net.toml", "--out", out)
    assert "conv1" in {row["layer"] for row in rows}
    for row in rows:
        assert (row["channel"], row["attempts"]) == (1, 2)
        assert row["reason"].startswith("search of families: ZeroDivisionError: a bug")
    left = json.loads((out / "programs.json").read_text())["units"]
    assert left[:2] == programs(home)[:2] and all(unit["program"] for unit in left)
    assert read_run(out).failed == len(rows)
    other = tmp_path / "other"
    assert failed("assemble", out, "--max-kl", "1", "--out", other, of=other) == rows
    monkeypatch.undo()
    assert failed("run", "net.toml", "--out", out) == [] and read_run(out).failed == 0
