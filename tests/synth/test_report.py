"""`synth report`: what the page says as data, of runs that are whole, cut off, empty or hostile."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import HOSTILE, data_of, edit, layer_of, spoil
from typed import Home

from synth.folder import open_run
from synth.report.document import document_of
from synth.report.links import Links
from synth.report.looking import Window
from synth.report.page import escaped, write_report
from synth.report.pictures import kernels, patch
from synth.report.responses import Peaks
from synth.stimuli.field import Field
from synth.store import Store

PLANTED = "relu(0.5*input_1_0 - 1.25*shift(input_1_0, dy=1, dx=-1))"


@pytest.fixture(scope="module")
def reported(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the tiny network, copied, with its report."""
    run = tmp_path_factory.mktemp("reported") / "net"
    shutil.copytree(home.folder / "results" / "net", run)
    done = home("report", run)
    assert done.exit_code == 0 and not done.stderr, done.output
    return run


@pytest.fixture(scope="module")
def pictured(seeing: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the network that reads images, tuned, with a program of our own."""
    run = tmp_path_factory.mktemp("pictured") / "net"
    shutil.copytree(seeing.folder / "results" / "net", run)
    rows = json.loads((run / "programs.json").read_text())["units"]
    rows[1] |= {"status": "rounded", "program": PLANTED}
    edit(run / "programs.json", units=rows)
    assert seeing("tune", run, "--config", seeing.folder / "net.toml").exit_code == 0
    assert seeing("report", run).exit_code == 0
    return run


def test_every_unit_is_there(reported: Path) -> None:
    """Each unit has the program, the figures and the front that the run folder has of it."""
    found = open_run(reported)
    assert [head["name"] for head in data_of(reported / "report.html")["layers"]] == ["fc1", "fc2"]
    for layer, rows in found.layers.items():
        units = layer_of(reported / "report.html", layer)["units"]
        assert [u["program"] for u in units] == [row["program"] for row in rows]
        assert [u["bits"] for u in units] == [row["bits"] for row in rows]
        for unit, row in zip(units, rows, strict=True):
            front = found.front(row)
            assert [c["program"] for c in unit["front"]] == [c["program"] for c in front]
            assert sum(c["chosen"] for c in unit["front"]) == 1
            assert ["verdict", "proved (checked)"] in unit["facts"]


def test_the_overview_is_the_summary(reported: Path) -> None:
    """Network, operating points and controls are those of the run."""
    data, summary = data_of(reported / "report.html"), open_run(reported).summary
    found = data["overview"]
    assert found["verdict"] == summary["verdict"] and not data["notes"]
    assert {b["name"]: b["reads"] for b in found["graph"]} == {
        "input_1": [], "fc1": ["input_1"], "fc2": ["fc1"], "output": ["fc2"],
    }  # fmt: skip
    assert [p["bits"] for p in found["points"]] == sorted(
        p["bits"] for p in summary["operating_points"]
    )
    assert any(p["chosen"] for p in found["points"])
    titles = {section["title"]: section for section in found["sections"]}
    assert [row[0] for row in titles["Controls"]["rows"]][:2] == ["original", "replacement"]
    assert len(titles["Controls"]["rows"]) == 6


def test_sources_and_consumers(reported: Path) -> None:
    """What a program of fc2 names, it reads; and the unit that it names is read by it."""
    first, second = (layer_of(reported / "report.html", name)["units"] for name in ("fc1", "fc2"))
    for unit in second:
        assert unit["sources"] and all(name in unit["program"] for name in unit["sources"])
        for source in unit["sources"]:
            (read,) = (u for u in first if u["name"] == source)
            assert unit["name"] in read["consumers"]


def test_points_are_what_unit_and_program_say(home: Home, reported: Path) -> None:
    """The largest activations are those of the network on the probes that are named, and programs
    keep their proved bounds to them."""
    spaces: dict = {}
    exec((home.folder / "net.py").read_text(), spaces)
    with torch.no_grad():
        values = torch.relu(spaces["network"]().fc1(spaces["probes"]()[0]))
    for unit in layer_of(reported / "report.html", "fc1")["units"]:
        for peak in unit["seen"]["active"]:
            expected = float(values[peak["probe"], unit["channel"]])
            assert peak["unit"] == pytest.approx(expected, rel=1e-3)
        units, programs = map(np.array, unit["seen"]["points"])
        assert len(units) == len(programs) >= 50
        assert np.abs(units - programs).max() <= 1.5 * unit["bound"] + 1e-3


def test_kernels_are_the_weights(seeing: Home, pictured: Path) -> None:
    """Unit and program are drawn from their own weights, on one scale with their difference."""
    spaces: dict = {}
    exec((seeing.folder / "net.py").read_text(), spaces)
    weight = spaces["network"]().conv1.weight.detach().numpy()
    for unit in layer_of(pictured / "report.html", "conv1")["units"]:
        drawn = unit["kernels"]
        step = drawn["scale"] / 127
        expected = weight[unit["channel"], 0].ravel()
        assert np.multiply(drawn["unit"], step) == pytest.approx(expected, abs=step)
    program = np.zeros((3, 3))
    program[1, 1], program[2, 0] = 0.5, -1.25
    assert np.multiply(drawn["program"], step) == pytest.approx(program.ravel(), abs=step)
    rest = np.subtract(drawn["unit"], drawn["program"]) - drawn["difference"]
    assert np.abs(rest).max() <= 1
    assert all(u["kernels"] is None for u in layer_of(pictured / "report.html", "out")["units"])


def test_patches_and_tuning(pictured: Path) -> None:
    """A unit of a convolution has what it saw of the pictures, and its tuning curves."""
    for unit in layer_of(pictured / "report.html", "conv1")["units"]:
        patches = [peak["patch"] for peak in unit["seen"]["active"]]
        assert all(1 < p["rows"] <= 3 and 1 < p["columns"] <= 3 for p in patches)
        assert len(unit["tuning"]["families"]) == 5
    (pooled, *_) = layer_of(pictured / "report.html", "out")["units"]
    assert pooled["sources"]  # through the pooling


def test_families_are_one_card(pictured: Path, tmp_path: Path) -> None:
    """Units of a family are one program over a table of what differs."""
    shutil.copytree(pictured, tmp_path / "net")
    rows = json.loads((tmp_path / "net/programs.json").read_text())["units"]
    for row, gain in zip(rows[:2], (0.5, 0.75), strict=True):
        row |= {"family": 0, "program": f"relu({gain}*input_1_0 + 0.25)"}
    edit(tmp_path / "net/programs.json", units=rows)
    write_report(document_of(open_run(tmp_path / "net")), tmp_path / "net")
    (card,) = layer_of(tmp_path / "net/report.html", "conv1")["families"]
    assert card["members"] == ["conv1_0", "conv1_1"] and card["columns"] == {
        "gain": ["0.5", "0.75"]
    }
    compile(card["text"], "card", "exec")
    assert "for gain in (0.5, 0.75)" in card["text"]


def test_programs_over_earlier_banks(copied: Home) -> None:
    """A unit of deep.json stands beside the result, with its own front and no claim."""
    run, front = copied.folder / "run", {"bits": 9, "fvu_fit": 0.1, "fvu_select": None}
    row = {"layer": "fc2", "unit": "fc2_1", "source": "input_1", "channel": 1, "status": "opaque"}
    row |= dict.fromkeys(("program", "family", "terms", "fvu_in_situ")) | {"fvu_local": 0.0}
    row |= {
        "bits": 225,
        "engine": "none",
        "front": [front | {"program": "0.5", "engine": "linear"}],
    }
    (run / "deep.json").write_text(json.dumps({"units": [row]}))
    assert copied("report", "run", "--no-probes").exit_code == 0
    (unit,) = layer_of(run / "report.html", "fc2 over input_1")["units"]
    assert unit["name"] == "fc2_1 over input_1" and unit["instead"] == "no candidate passes"
    assert [c["program"] for c in unit["front"]] == ["0.5"]
    assert "claim" not in dict(unit["facts"])


def test_a_run_that_was_cut_off(copied: Home) -> None:
    """Its units are there with their fronts, and the page says that nothing is chosen."""
    (copied.folder / "run" / "summary.json").unlink()
    done = copied("report", "run")
    assert done.exit_code == 0 and "not finished" in done.stderr
    page = copied.folder / "run" / "report.html"
    unit = layer_of(page, "fc1")["units"][3]
    assert unit["name"] == "fc1[3]" and unit["program"] is None and len(unit["front"]) > 3
    assert data_of(page)["overview"]["points"] == []


def test_an_empty_run(tmp_path: Path) -> None:
    """A run in which nothing has been searched is a page without layers."""
    with Store(tmp_path / "run"):
        pass
    done = Home(tmp_path)("report", "run")
    assert done.exit_code == 0 and data_of(tmp_path / "run/report.html")["layers"] == []


def test_hostile_names_are_data(copied: Home) -> None:
    """Whatever layers, units and texts are called, no tag of the page is theirs."""
    spoil(copied.folder / "run")
    assert copied("report", "run", "--no-probes").exit_code == 0
    page = copied.folder / "run" / "report.html"
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == text.count("</script") == 2 and "\u2028" not in text
    assert "<!--" not in text and "<img" not in text
    units = layer_of(page, HOSTILE)["units"]
    assert units[0]["name"] == f"{HOSTILE}_0" and len(units[0]["program"]) > 10_000


@settings(max_examples=40)
@given(
    st.recursive(st.text() | st.none() | st.integers(), lambda inner: st.lists(inner, max_size=4))
)
def test_escaped_json_is_the_same(value: object) -> None:
    """It reads back as it was, and no character of it can end a script or a line of one."""
    text = escaped([value, "</script>\u2028\u2029&\ud800"])
    assert json.loads(text)[0] == value and text.isascii()
    assert not set(text) & set("<>&")


def test_a_large_report_is_split(reported: Path, tmp_path: Path) -> None:
    """Above the size that is asked for, each layer is a file; a small one takes them away again."""
    document = document_of(open_run(reported))
    paths = write_report(document, tmp_path, largest=1000)
    assert [p.name for p in paths] == ["report.html", "report_1.html", "report_2.html"]
    heads = data_of(paths[0])["layers"]
    assert [(h["packed"], h["file"]) for h in heads] == [
        (None, "report_1.html"),
        (None, "report_2.html"),
    ]
    assert layer_of(paths[2], "fc2")["units"] and data_of(paths[2])["layers"][0]["packed"] is None
    assert write_report(document, tmp_path) == [tmp_path / "report.html"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html"]


def test_without_the_network(copied: Home) -> None:
    """A run whose configuration has gone has a report without probes, which says so; a
    configuration that is named must be the run's."""
    with Store(copied.folder / "run") as store:
        store.put("origin", "run", json.dumps({"config": "/nowhere/net.toml", "flags": {}}))
    done = copied("report", "run", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout) == ["run/report.html"]
    (note,) = data_of(copied.folder / "run/report.html")["notes"]
    assert "/nowhere/net.toml, which does not exist" in note
    assert copied("report", "run", "--config", "other.toml").exit_code == 2
    assert copied("report", "elsewhere").exit_code == 2


def test_clean_knows_it(copied: Home) -> None:
    """The report and its parts are files of the run: nothing of them is left behind."""
    assert copied("report", "run", "--no-probes").exit_code == 0
    (copied.folder / "run" / "report_1.html").write_text("")
    assert copied("clean", "run", "--all", "--yes").exit_code == 0
    assert not (copied.folder / "run").exists()


def test_links_go_through_views(reported: Path) -> None:
    """Channels of a pooled bank are those of its source; of joined banks, one after another."""
    found = open_run(reported)
    banks = [{"name": n, "kind": "layer", "called": n, "channels": c, "reads": [], "passes": None}
             for n, c in (("fc1", 5), ("fc2", 3))]  # fmt: skip
    banks += [
        {"name": "pool", "called": "pool", "channels": 5, "reads": ["fc1"], "passes": "same"},
        {
            "name": "cat",
            "called": "cat",
            "channels": 8,
            "reads": ["pool", "fc2"],
            "passes": "joined",
        },
        {"name": "turned", "called": "turned", "channels": 8, "reads": ["cat"], "passes": None},
    ]
    object.__setattr__(found, "banks", tuple(banks))
    names = Links(found).names(f"relu(cat_4 + pool_1 - cat_5 + turned_2 + cat_80{'0' * 5000})")
    assert names == {"cat_4": ["fc1_4"], "pool_1": ["fc1_1"], "cat_5": ["fc2_0"]}


def test_a_window_moves_with_its_place() -> None:
    """Two fields say where all places look, though the border cuts one of them off."""
    cut = Field((0, 0), (1.0, 3.0), (3, 5))  # of rows −2 … 2 and columns 1 … 5
    window = Window.of(Field((1, 1), (2.0, 7.0), (5, 5)), Field((2, 2), (4.0, 9.0), (5, 5)))
    assert window.at((3, 0)) == (slice(4, 9), slice(3, 8))
    assert window.at((0, 1)) == (slice(0, 3), slice(5, 10))  # two rows lie above the picture
    beside = Window.of(cut, Field((1, 1), (2.0, 5.0), (5, 5)))
    assert beside.step == (2, 2)


def test_pictures_are_small_numbers() -> None:
    """The largest weight is the largest level, only the strongest of many channels are drawn, and
    a patch is thinned out to the size that is asked for."""
    unit = np.zeros((20, 1, 2))
    unit[7, 0, 1], unit[3, 0, 0] = -4.0, 2.0
    drawn = kernels(unit, None)
    assert (drawn["of"], len(drawn["channels"]), drawn["scale"]) == (20, 16, 4.0)
    at = drawn["channels"].index(7)
    assert drawn["unit"][2 * at : 2 * at + 2] == [0, -127] and drawn["difference"] is None
    assert patch(np.zeros((3, 40, 21)), 0.0, 1.0, 10) | {"px": ""} == {
        "rows": 10, "columns": 6, "colours": 3, "px": "",
    }  # fmt: skip


def test_peaks_that_are_none() -> None:
    """A unit that is nowhere above zero has no top."""
    size = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, -1.0]])
    peaks = Peaks(size, *[size.astype(int)] * 2, *[size] * 2)
    assert peaks.top(0, 2) == [] and peaks.top(1, 2) == [1, 0]
