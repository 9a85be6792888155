"""The plan of a run: what it would do and take, said before it."""

import json
import re
from pathlib import Path

import pytest
from planned import conv_project
from typed import Home, changed, project

from synth.footprint import MIB, memory_text
from synth.layers import Geometry
from synth.shown.plan import time_text, window_text


@pytest.fixture
def conv(tmp_path: Path) -> Home:
    """A folder with a network to be planned."""
    return conv_project(tmp_path / "conv")


def files(folder: Path) -> dict[str, int]:
    found = (p for p in folder.rglob("*") if "__pycache__" not in p.parts)
    return {str(p): p.stat().st_mtime_ns for p in found}


def test_a_plan_says_what_would_be_done_and_writes_nothing(conv: Home) -> None:
    """Layers, units, geometry, opaque nodes with their reasons, patches, memory and time."""
    before = files(conv.folder)
    done = conv("run", "conv.toml", "--dry", columns=90)
    assert done.exit_code == 0, done.output
    assert files(conv.folder) == before
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= 90
    text = done.output
    assert "11 units with 336 weights in 3 layers" in text
    assert "147 fit, 63 select, 90 held out" in text
    assert re.search(r"conv1 +x +4 +2×8×8 → 4×4×4 +3×3, stride 2, pad 1", text)
    assert re.search(r"conv2 +\S+ +4 +4×4×4 → 4×4×4 +3×3, pad 1, 2 groups", text)
    assert re.search(r"conv1 +18 +64 +2,352 +\d+ MiB +\S.* s", text)
    assert re.search(r"layer_norm +layer_norm +norm +\S+", text)
    assert re.search(r"time +\S+ s to \S+", text)


def test_a_plan_is_json_for_machines(conv: Home) -> None:
    """--json has every figure as a number, and a layer that is not searched says so."""
    done = conv("run", "conv.toml", "--dry", "--json", "--layer", "conv*", "--jobs", "3")
    plan = json.loads(done.output)
    assert [la["name"] for la in plan["layers"]] == ["conv1", "conv2", "fc"]
    assert [la["searched"] for la in plan["layers"]] == [True, True, False]
    first = plan["layers"][0]
    assert first["geometry"]["stride"] == [2, 2] and first["out_shape"] == [4, 4, 4]
    assert (first["weights"], first["patches_needed"], first["patches"]) == (18, 64, 147 * 16)
    assert (plan["jobs"], plan["problems"]) == (3, [])
    assert 0 < plan["seconds"][0] < sum(plan["stages"].values()) < plan["seconds"][1]
    assert plan["memory"]["base"] < plan["memory"]["memory"] < plan["memory"]["limit"]
    assert plan["opaque"][0]["module_path"] == "norm" and plan["opaque"][0]["reason"]


def test_a_plan_lists_its_problems_together(conv: Home) -> None:
    """Too few patches, memory and an unknown engine are told at once, below the plan."""
    settings = "run.max_memory_mib=1", "search.engines=['lienar']", 'probes.inputs="conv.py:few"'
    done = conv("run", "conv.toml", "--dry", *(w for s in settings for w in ("--set", s)))
    assert done.exit_code == 2
    assert "patches needed" in done.output
    for words in ("lienar", "layer fc: 40 probes leave 20 patches", "run.max_memory_mib is 1"):
        assert words in done.output
    assert not (conv.folder / "results").exists()


def test_without_a_network_there_are_only_problems(tmp_path: Path) -> None:
    """What cannot be read has no plan: the problems alone, and exit code 2."""
    home = project(tmp_path / "bad", changed("net.py:network", "net.py:raises"))
    done = home("run", "net.toml", "--dry")
    assert done.exit_code == 2 and "no network today" in done.output
    assert "patches needed" not in done.output


def test_texts_are_short() -> None:
    """Geometry leaves out what is as usual; estimates have few digits."""
    assert window_text(Geometry((1, 1))) == "1×1"
    odd = Geometry((3, 5), stride=(1, 2), padding=(0, 1), dilation=(2, 2))
    assert window_text(odd, 8) == "3×5, stride 1×2, pad 0×1, dilation 2, 8 groups"
    times = [time_text(s) for s in (0.2, 8.4, 89, 200, 5000, 20_000)]
    assert times == ["< 1 s", "8 s", "89 s", "3 min", "83 min", "5.6 h"]
    assert [memory_text(s * MIB) for s in (3.4, 1000, 1536)] == ["3 MiB", "1000 MiB", "1.5 GiB"]
