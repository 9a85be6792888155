"""`synth edit` as a user types it: kept apart from what was found, shown, and chosen."""

import json
from pathlib import Path

import pytest
from typed import Home

# That of the run but for its bias, in fewer bits: it passes.
WRITTEN = "0.4375*fc1_0 + 0.3125*fc1_1 + 0.40625*fc1_2 - 0.5*fc1_3 - 1.09375*fc1_4 - 0.4921875"


def edits(home: Home, run: str = "run") -> dict:
    return json.loads((home.folder / run / "edits.json").read_text())["units"]


def test_a_program_is_kept_shown_and_chosen(copied: Home) -> None:
    """Figures on both parts, a proof, a line in the front, a place in the network; the run itself
    is as it was."""
    before = {p.name: p.read_bytes() for p in (copied.folder / "run").iterdir()}
    done = copied("edit", "run", "fc2_1", WRITTEN, "--json")
    found = json.loads(done.stdout)
    beside = found["beside"]
    assert done.exit_code == 0 and found["program"] == WRITTEN and beside["passes"]
    assert beside["verdict"] == "proved" and beside["smt_checked"]
    assert found["worst"] <= beside["bound"] <= float(beside["bound_over_std"])
    figures = ("fvu_in_situ", "fvu_held_out", "fvu_held_out_in_situ")
    assert all(0 < beside[k] < 0.002 for k in figures) and 0 < found["fvu_select"] < 0.002
    assert beside["network"]["bits"] < 558 and beside["network"]["held_out"]["agreement"] > 0.98
    (kept,) = edits(copied)["fc2[1]"]
    assert [c for c in found["front"] if c["engine"] == "hand"] == [kept | {"chosen": False}]
    shown = copied("show", "run", "fc2_1").stdout
    assert "hand" in shown and "written by hand" in shown and "proved (checked, by Z3 too)" in shown
    after = {p.name: p.read_bytes() for p in (copied.folder / "run").iterdir()}
    assert after.keys() - before.keys() == {"edits.json"}
    assert all(after[name] == before[name] for name in before if "store" not in name)
    assert copied("validate", "run").exit_code == 0

    words = ("--hand", "--max-kl", "3e-5", "--out", "run-hand")
    done = copied("assemble", "run", *words)
    assert done.exit_code == 0, done.output
    assert "KL ≤ 3e-05 nats, written by hand first" in done.stdout
    row = json.loads(copied("show", "run-hand", "fc2_1", "--json").stdout)
    assert (row["program"], row["engine"]) == (WRITTEN, "hand")
    assert [c["engine"] for c in row["front"] if c["chosen"]] == ["hand"]
    assert (
        "beside" not in edits(copied, "run-hand")["fc2[1]"][0]
    )  # the rest of the network is other
    assert copied("check", "run-hand").exit_code == 0
    assert copied("validate", "run-hand").exit_code == 0
    changed = json.loads(copied("diff", "run", "run-hand", "--json").stdout)
    (unit,) = [u for u in changed["units"] if u["name"] == "fc2_1"]
    assert unit["changes"]["program"][1] == WRITTEN and "engine" in unit["changes"]

    assert (
        copied("edit", "run", "fc2_1", "--remove").stdout
        == "fc2_1: 1 removed that were written by hand\n"
    )
    assert edits(copied) == {} and "hand" not in copied("show", "run", "fc2_1").stdout
    done = copied("assemble", "run", "--hand")
    assert done.exit_code == 2 and "has no program that `synth edit` has kept" in done.stderr


def test_a_program_that_does_not_pass(copied: Home) -> None:
    """It is kept and refuted, with every reason; the same again stands in its own place, and other
    forms than the engine's are measured as well."""
    text = "-relu(fc1_0) + max(fc1_1, 0.25*fc1_2)"
    for _ in range(2):
        done = copied("edit", "run", "fc2_1", text)
        assert done.exit_code == 1 and "refuted, differs by" in done.stdout
        assert all(word in done.stdout for word in ("above max_fvu = 0.05", "in situ", "ε = 0.5"))
    assert len(edits(copied)["fc2[1]"]) == 1


def caret(stderr: str) -> str:
    """What the first carets stand under."""
    lines = stderr.split("\n")
    row = next(i for i, line in enumerate(lines) if line.strip(" ^") == "" and "^" in line)
    return lines[row - 1][lines[row].index("^") : len(lines[row])]


@pytest.mark.parametrize(
    ("unit", "text", "reason", "under"),
    [
        ("fc2_1", "relu(fc1_0", "'(' was never closed", "("),
        ("fc2_1", "relu(fc1_0) + 0.5*fc1_7", "unknown name 'fc1_7'; did you mean fc1_", "fc1_7"),
        ("fc2_1", "reIu(fc1_0)", "unknown primitive 'reIu'; did you mean relu", "reIu(fc1_0)"),
        ("fc2_1", "fc1_0 + input_1_2 - input_1_3",
         "fc2_1 does not see input_1_2, input_1_3: what it sees is fc1_0, fc1_1", "input_1_2"),
        ("fc1_0", "relu(fc2_0)", "fc1_0 does not see fc2_0", "fc2_0"),
        ("fc1_1", "relu(0.5*fc1_1)", "fc1_1 cannot read itself", "fc1_1"),
        ("fc1_0", "relu(-pre(fc1_4))", "fc1_4 is itself written by a sibling", "fc1_4"),
    ],
)  # fmt: skip
def test_text_that_is_no_program_of_the_unit(
    unit: str, text: str, reason: str, under: str, home: Home
) -> None:
    """One message with the text and carets under what is wrong; nothing is written."""
    done = home("edit", "results/net", unit, text)
    assert done.exit_code == 2 and not done.stdout and reason in done.stderr
    assert caret(done.stderr) == under
    assert not (home.folder / "results" / "net" / "edits.json").exists()


def test_a_sibling_that_others_are_written_by(home: Home) -> None:
    """What somebody refers to may not refer itself."""
    done = home("edit", "results/net", "fc1_1", "relu(pre(fc1_2))")
    assert done.exit_code == 2 and "fc1_4 in the run is written by fc1_1" in done.stderr


def test_places_beside_the_window(seeing: Home) -> None:
    """A program over maps reads what its unit's window has."""
    names = json.loads(seeing("show", "results/net", "conv1_0", "--json").stdout)["program"]
    source = next(word for word in names.replace("(", " ").split() if "_0" in word).strip(",*)")
    source = source.rpartition("*")[2]
    done = seeing("edit", "results/net", "conv1_0", f"relu(shift({source}, dy=2))")
    assert done.exit_code == 2
    assert "beside the window of conv1_0, which has rows dy = -1 … 1" in done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["fc1_9", "fc1_0"], "layer 'fc1' has units 0 to 4"),
        (["fc3_1", "fc1_0"], "has no unit or layer 'fc3_1'. Did you mean"),
        (["fc1", "fc1_0"], "'fc1' is a layer: name one of its units, as 'fc1_0'"),
        (["fc1_0"], "give the text of a program, or --remove"),
        (["fc1_0", "0.5", "--remove"], "give the text of a program, or --remove"),
    ],
)
def test_bad_input(words: list[str], reason: str, home: Home) -> None:
    """A unit that is none, and words that do not go together, are one reason each."""
    done = home("edit", "results/net", *words)
    assert done.exit_code == 2 and reason in done.stderr and not done.stdout


def test_files_that_are_not_whole(copied: Home) -> None:
    """A run that is cut off, and edits that are damaged, are told with what to do."""
    path: Path = copied.folder / "run" / "edits.json"
    path.write_text('{"units": {"fc1[0]": [{"program": 3}]}}')
    done = copied("show", "run", "fc1_0")
    assert done.exit_code == 2 and "edits.json is damaged" in done.stderr
    (copied.folder / "run" / "summary.json").unlink()
    done = copied("edit", "run", "fc1_0", "0.5")
    assert done.exit_code == 2 and "is not finished" in done.stderr
    assert copied("clean", "--all", "--yes", "run").exit_code == 0 and not path.parent.exists()
