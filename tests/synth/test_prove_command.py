"""`synth prove` as a user types it: a table, proofs.json, and one clear error each."""

import json
from pathlib import Path

import numpy as np
import pytest
from typed import Home


def test_a_table_and_a_file(copied: Home, home: Home) -> None:
    """Each probe's ball has a row; proofs.json says of what domain and semantics it speaks."""
    words = ("prove", copied.folder / "run", "--config", home.folder / "net.toml", "--samples", "9")
    done = home(*words, "--radius", "0.01")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "all within 0.01 (norm inf) of a held-out probe" in done.stdout
    assert "of 9 certified for both networks" in done.stdout
    document = json.loads((copied.folder / "run" / "proofs.json").read_text())
    assert document["semantics"] == "real" and document["domain"]["radius"] == 0.01
    assert [row["probe"] for row in document["rows"]] == list(range(9))
    assert document["summary"]["same"] == sum(row["same"] for row in document["rows"]) > 0
    printed = home(*words, "--radius", "0.01", "--norm", "2", "--semantics", "float32", "--json")
    rounded = json.loads(printed.stdout)
    assert rounded["domain"]["norm"] == "2" and rounded["semantics"] == "float32"
    at_points = json.loads(home(*words, "--json").stdout)
    for row in (*document["rows"], *rounded["rows"], *at_points["rows"]):
        assert 0 < row["counterexample"] <= row["bound"] * (1 + 1e-12)
        assert row["overshoot"] == row["bound"] / row["counterexample"]
    assert document["summary"]["searched"] == 9 and "bounds are" in done.stdout
    pairs = zip(at_points["rows"], document["rows"], strict=True)
    assert all(one["bound"] <= other["bound"] for one, other in pairs)


def test_units(copied: Home, home: Home) -> None:
    """Each unit has a bound on its own sources and one on replaced ones, beside what was found;
    those of a box of inputs hold less than those of the envelopes in it."""
    words = ("prove", copied.folder / "run", "--config", home.folder / "net.toml", "--time", "40")
    words = (*words, "--samples", "1")
    around = json.loads(home(*words, "--json").stdout)["units"]
    assert around["summary"]["bounded"] == around["summary"]["units"] == len(around["rows"]) == 8
    for row in around["rows"]:
        assert row["counterexample"] <= row["bound"] * (1 + 1e-9)
        assert row["bound"] <= row["composed"] + 1e-9 and row["seen"] <= row["composed"] + 1e-6
        assert 0 <= row["carried"] < row["composed"] + 1e-9  # at one probe
    boxed = ("--units", "fc2, fc1_1", "--domain", "sound", "--epsilon", "1000", "--json")
    few = json.loads(home(*words, *boxed).stdout)
    assert [row["unit"] for row in few["units"]["rows"]] == ["fc1_1", "fc2_0", "fc2_1", "fc2_2"]
    assert few["units"]["domain"] == "sound" and few["units"]["summary"]["units"] == 4
    known = {row["unit"]: row for row in around["rows"]}
    for row in few["units"]["rows"]:
        assert row["bound"] >= 0.999 * known[row["unit"]]["bound"]
        assert row["seen"] <= row["carried"] * (1 + 1e-6)  # over the box in which probes lie
    printed = home(*words, "--units", "fc1")
    assert "5 of 5 bounded in real arithmetic, over the envelope" in printed.stdout


def test_boxes(copied: Home, home: Home, tmp_path: Path) -> None:
    """A box of one's own, and that of the probes, which is larger: by splitting, or in time."""
    np.savez(tmp_path / "small.npz", lower=np.full(6, 0.4), upper=np.full(6, 0.5))
    words = ("prove", copied.folder / "run", "--config", home.folder / "net.toml", "--time", "1")
    small = json.loads(home(*words, "--domain", tmp_path / "small.npz", "--json").stdout)
    whole = json.loads(home(*words, "--domain", "sound", "--json").stdout)
    assert 0 < small["box"]["bound"] < whole["box"]["bound"]
    assert small["domain"]["lower"] == [0.4] * 6
    assert small["domain"]["outside"]["fit"] > 0.9 > whole["domain"]["outside"]["fit"] == 0
    for found in (small["box"], whole["box"]):
        assert found["bound"] / 10 < found["counterexample"] <= found["bound"]
        assert len(found["point"]) == 6
    done = home(*words, "--domain", "sound", "--epsilon", "0")
    assert done.exit_code == 0 and "unknown: time was up" in done.stdout
    assert "anywhere in the box" in home(*words, "--domain", tmp_path / "small.npz").stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--radius", "-1"], "--radius -1.0: expected a finite number of at least 0."),
        (["--radius", "nan"], "--radius nan: expected a finite number of at least 0."),
        (["--norm", "1"], "--norm '1': expected inf or 2."),
        (["--units", "fc9"], "results/net has no unit or layer 'fc9'"),
        (["--units", ","], "--units ',': expected names of layers or units."),
        (["--samples", "0"], "--samples 0: expected at least 1."),
        (["--semantics", "int8"], "--semantics 'int8': expected real, float64, float32."),
        (["--time", "-1"], "--time -1.0: expected a finite number of at least 0."),
        (["--epsilon", "0.1"], "--epsilon is for --domain"),
        (["--domain", "sound", "--radius", "1"], "a box has no radius"),
        (["--within", "1", "0"], "expected LOW <= HIGH"),
        (["--within", "0", "1", "--norm", "2"], "only balls of the norm inf can be cut"),
        (["--device", "cuda:99"], "--device 'cuda:99': "),
        (["--device", "gpu"], "--device 'gpu': expected 'cpu', 'cuda' or 'cuda:1'."),
        (["--domain", "nothing"], "--domain nothing: there is no such file: expected envelope, "),
        (["--domain", "net.toml"], "--domain net.toml: that is no .npz: expected envelope, "),
        (["--domain", "nothing.npz"], "expected envelope, sound or an .npz with arrays"),
        (["--domain", "wrong.npz"], "lower has shape (5,), expected (6,)."),
        (["--domain", "swapped.npz"], "lower is above upper somewhere; swap them?"),
        (["--domain", "nan.npz"], "upper has numbers that are not finite."),
    ],
)
def test_bad_input(words: list[str], reason: str, home: Home, tmp_path: Path) -> None:
    """What cannot be meant is exit code 2 and one reason, before anything is proved."""
    np.savez(tmp_path / "wrong.npz", lower=np.zeros(5), upper=np.ones(6))
    np.savez(tmp_path / "swapped.npz", lower=np.ones(6), upper=np.zeros(6))
    np.savez(tmp_path / "nan.npz", lower=np.zeros(6), upper=np.full(6, np.nan))
    words = [str(tmp_path / w) if w.endswith(".npz") else w for w in words]
    done = home("prove", "results/net", *words)
    assert done.exit_code == 2 and reason in done.stderr
    assert done.stderr.startswith("1 problem with the input:") and not done.stdout
    assert not (home.folder / "results/net/proofs.json").exists()
