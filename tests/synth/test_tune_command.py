"""`synth tune` as a user types it: tables, a chart, tuning.json, and one clear error each."""

import json
import shutil
from pathlib import Path

import pytest
from typed import Home


def test_a_table_of_units(seeing: Home) -> None:
    """Without a unit, every layer that reads maps is shown, and tuning.json holds all of it."""
    done = seeing("tune", "results/net")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "conv1: R² on stimuli" in done.stdout and "grating" in done.stdout
    assert "conv1_0" in done.stdout and "out_0" not in done.stdout
    written = json.loads((seeing.folder / "results/net/tuning.json").read_text())
    assert [row["name"] for row in written["units"]] == ["conv1_0", "conv1_1"]
    for row in written["units"]:
        assert "program" in row and row["field"]["size"] == [3, 3]
        counts = {name: one["stimuli"] for name, one in row["families"].items()}
        assert list(counts) == ["grating", "bar", "edge", "curve", "spot"]
        assert row["all"]["stimuli"] == sum(counts.values())
        assert row["all"]["r2"] == pytest.approx(row["all"]["r2_in_situ"])  # it reads the image
        assert row["all"]["r2"] > 0.9
    assert written["colour"] == "all" and len(written["screen"]["background"]) == 1


def test_a_chart_of_one_unit(seeing: Home) -> None:
    """One unit is shown with the curves of unit and program beside each other."""
    done = seeing("tune", "results/net", "conv1[1]")
    assert done.exit_code == 0 and "conv1_1" in done.stdout and "█" in done.stdout
    assert "unit prefers" in done.stdout and "program prefers" in done.stdout
    narrow = seeing("tune", "results/net", "conv1[1]", columns=100).stdout
    assert max(map(len, narrow.splitlines())) <= 100


def test_json_is_what_is_written(seeing: Home) -> None:
    """--json prints tuning.json; layers and units may be mixed, and each is there once."""
    done = seeing("tune", "results/net", "conv1_1", "--layer", "conv1", "--json")
    assert json.loads(done.stdout) == json.loads(
        (seeing.folder / "results/net/tuning.json").read_text()
    )
    assert len(json.loads(done.stdout)["units"]) == 2
    one = seeing("tune", "results/net", "conv1_1", "--json")
    assert [row["channel"] for row in json.loads(one.stdout)["units"]] == [1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["conv1_9"], "layer 'conv1' has units 0 to 1"),
        (["--layer", "conf1"], "Did you mean 'conv1'?"),
        (["out_1"], "layer 'out' has no space"),
        (["--colour", "red_green"], "colour 'red_green' is none of an image of 1 channels"),
    ],
)
def test_bad_input(words: list[str], reason: str, seeing: Home) -> None:
    """An unknown unit, layer or colour, or a layer without space, is exit code 2 and one reason."""
    done = seeing("tune", "results/net", *words)
    assert done.exit_code == 2 and reason in done.stderr
    assert done.stderr.startswith("1 problem with the input:") and not done.stdout


def test_a_network_without_images(home: Home) -> None:
    """Numbers cannot be drawn: exit code 2, and no file is left."""
    done = home("tune", "results/net", "fc1_1")
    assert done.exit_code == 2 and "the network reads (6,) a sample" in done.stderr
    assert not (home.folder / "results/net/tuning.json").exists()


def test_clean_knows_it(seeing: Home, tmp_path: Path) -> None:
    """tuning.json is a file of the run: `synth clean --all` leaves nothing behind."""
    shutil.copytree(seeing.folder / "results" / "net", tmp_path / "run")
    config = seeing.folder / "net.toml"
    assert seeing("tune", tmp_path / "run", "--config", config).exit_code == 0
    assert seeing("clean", tmp_path / "run", "--all", "--yes").exit_code == 0
    assert not (tmp_path / "run").exists()
