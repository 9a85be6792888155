"""`synth assemble` as a user types it: another choice from a run's fronts, a curve, one clear error
each."""

import json
import shutil
from pathlib import Path

import pytest
from typed import Home, project

from synth.choice import Chooser, Point
from synth.folder import RESULT_FILES, WRITTEN
from synth.spread import POINTS
from synth.store import FAILURES, FRONT, Store

ASKED = ("--max-kl", "1e-5")


def summary_of(home: Home, out: str) -> dict:
    return json.loads((home.folder / out / "summary.json").read_text())


@pytest.fixture(scope="module")
def home(home: Home) -> Home:
    """The same with a choice of larger divergence beside the run."""
    done = home("assemble", "results/net", *ASKED)
    assert done.exit_code == 0, done.output
    return home


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The multipliers at which a choice was made; whoever searches a unit fails."""
    made, at = list[float](), Chooser.at

    def counted(chooser: Chooser, multiplier: float) -> Point:
        made.append(multiplier)
        return at(chooser, multiplier)

    def refused(*_: object) -> None:
        raise AssertionError("a unit is searched")

    monkeypatch.setattr(Chooser, "at", counted)
    monkeypatch.setattr("synth.search._searched", refused)
    return made


def test_another_choice_is_a_run_of_its_own(home: Home) -> None:
    """It has all files, fewer bits within the limit, proofs that hold, and says whose fronts."""
    out = "results/net-max-kl-1e-05"
    run, found = summary_of(home, "results/net"), summary_of(home, out)
    assert all((home.folder / out / name).exists() for name in RESULT_FILES)
    assert found["bits"] < run["bits"] and found["select"]["kl"] <= 1e-5 and found["accepted"]
    assert found["shuffled_control"] and found["controls"].keys() == run["controls"].keys()
    assert len(found["operating_points"]) >= 12
    assert run["assembled"] is None and found["assembled"]["run"] == "../net"
    assert "chosen from: ../net: KL ≤ 1e-05 nats" in (
        home.folder / out / "decompiled.py"
    ).read_text(encoding="utf-8")
    checked = home("check", out)
    assert checked.exit_code == 0 and "8 accepted, 0 rejected" in checked.stdout
    assert home("validate", out).exit_code == 0
    assert "*" in home("show", out, "fc1_1").stdout


def test_it_keeps_to_its_folder(home: Home) -> None:
    """The run's command is refused there, and another limit too; the run is as it was."""
    out = "results/net-max-kl-1e-05"
    for words in (("run", "net.toml"), ("assemble", "results/net", "--max-kl", "2e-5")):
        done = home(*words, "--out", out)
        assert done.exit_code == 2 and "holds another run" in done.stderr
        assert "asked.max_kl: 1e-05 there" in done.stderr
    done = home("assemble", "results/net", *ASKED, "--out", "results/net")
    assert done.exit_code == 2 and "--out results/net: that is RUN itself" in done.stderr
    assert not (home.folder / "results" / "net" / "curve.json").exists()
    assert home("validate", "results/net").exit_code == 0


def test_the_least_divergence_within_a_share_of_the_bits(home: Home, walks: list[float]) -> None:
    """--bits of a share takes at most so much of the 32-bit size; nothing is searched."""
    done = home("assemble", "results/net", "--bits", "30%", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found == summary_of(home, "results/net-bits-30%")
    assert 0.25 < found["bits_share"] <= 0.3 and found["assembled"]["bits"] == 508
    within = [p for p in found["operating_points"] if p["bits"] <= 508]
    assert found["select"]["kl"] == min(p["kl"] for p in within)
    assert len(walks) >= POINTS


def test_a_choice_from_a_choice(home: Home) -> None:
    """What was assembled can be assembled from; --short prefers what people read."""
    out = "results/net-max-kl-1e-05"
    words = ("--min-agreement", "0.9", "--max-kl", "0.01", "--short", "--out", "results/again")
    done = home("assemble", out, *words)
    found = summary_of(home, "results/again")
    assert f"the fronts of ../{Path(out).name}: KL ≤ 0.01 nats, agreement ≥ 0.9, short" in (
        done.stdout
    )
    assert found["short_coverage_units"] > summary_of(home, out)["short_coverage_units"]


def test_a_curve(copied: Home, walks: list[float]) -> None:
    """Points from few bits to many with what select says; they are kept, and chosen from."""
    done = copied("assemble", "run", "--curve")
    table = [
        line for line in done.stdout.splitlines() if " % " in line and "accuracy is" not in line
    ]
    curve = json.loads((copied.folder / "run" / "curve.json").read_text())
    rows = curve["points"]
    assert done.exit_code == 0 and len(rows) == len(table) == 13 and len(set(walks)) == 12
    own = next(row for row in rows if row["multiplier"] == curve["own"])
    run = summary_of(copied, "run")
    assert (own["bits"], own["bits_share"]) == (run["bits"], run["bits_share"])
    assert [line.endswith("*") for line in table] == [row is own for row in rows]
    assert rows[-1]["bits"] > 2 * min(row["bits"] for row in rows)
    assert rows[0]["kl"] > 1e4 * rows[-1]["kl"] and rows[-1]["accuracy"] == 1.0
    assert all(84 * row["agreement"] % 1 == pytest.approx(0, abs=1e-9) for row in rows)  # select's
    walks.clear()
    again = copied("assemble", "run", "--curve", "--json")
    assert json.loads(again.stdout) == curve and not walks
    assert copied("assemble", "run", *ASKED).exit_code == 0
    spread = {row["multiplier"] for row in rows} - {curve["own"]}
    assert walks and not spread & set(walks)
    done = copied("assemble", "run", "--curve", "--short", "--points", "3", columns=80)
    assert done.exit_code == 0 and "…" not in done.stdout
    short = json.loads((copied.folder / "run" / "curve.json").read_text())
    assert short["short"] and len(short["points"]) == 3 and short["own"] is None
    done = copied("clean", "--all", "--yes", "run")
    assert done.exit_code == 0 and not (copied.folder / "run").exists()


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (
            ["--bits", "20"],
            ["the fronts of results/net holds: at most 20 bits", "In the way stand fc1_", " bits)"],
        ),
        (["--max-kl", "1e-15"], ["KL ≤ 1e-15 nats", "In the way stand fc", "nats), fc"]),
        (["--bits", "400", "--min-agreement", "1.0"], ["at most 400 bits, agreement ≥ 1.0"]),
    ],
)
def test_what_cannot_be_met(words: list[str], reasons: list[str], home: Home) -> None:
    """Exit 1 with the best that was reached and who stands in the way; nothing is left."""
    before = sorted(home.folder.rglob("*"))
    done = home("assemble", "results/net", *words)
    assert done.exit_code == 1 and not done.stdout
    assert all(reason in done.stderr for reason in reasons)
    assert "The best that was reached has" in done.stderr
    assert sorted(home.folder.rglob("*")) == before


def test_a_choice_that_was_stopped_goes_on(
    home: Home, walks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped from the keyboard, the same command goes on and ends with the same bytes."""
    counted = Chooser.at

    def stopped(chooser: Chooser, multiplier: float) -> Point:
        if len(walks) == 5:
            raise KeyboardInterrupt
        return counted(chooser, multiplier)

    with monkeypatch.context() as context:
        context.setattr(Chooser, "at", stopped)
        words = ("assemble", "results/net", *ASKED, "--out", "results/stopped")
        assert home(*words).exit_code == 130
    assert "is not finished" in home("show", "results/stopped").stderr
    before = set(walks)
    walks.clear()
    assert home(*words).exit_code == 0
    assert walks and not before & set(walks)
    assert home.bytes_of("results/stopped") == home.bytes_of("results/net-max-kl-1e-05")
    assert len(WRITTEN) == 5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            [],
            "nothing is asked: give --bits, --max-kl, --min-agreement, --hand, --short or --curve",
        ),
        (["--hand"], "--hand: results/net has no program that `synth edit` has kept"),
        (["--curve", "--hand"], "--hand does not go with --curve"),
        (["--points", "5", "--short"], "--points goes with --curve"),
        (["--curve", "--bits", "10%"], "--bits does not go with --curve"),
        (["--curve", "--max-kl", "1"], "--max-kl does not go with --curve"),
        (["--bits", "120%"], "--bits 120%: the weights themselves take 1,696"),
        (["--bits", "nan"], "--bits nan: expected a whole number, as 4000, or a share"),
        (["--bits", "0.08"], "--bits 0.08: expected a whole number"),
        (["--bits", ""], "--bits : expected a whole number"),
        (["--short", "--out", "results/net"], "--out results/net: that is RUN itself"),
        (["--max-kl", "nan"], "--max-kl nan: expected a number above 0"),
        (["--max-kl", "0"], "--max-kl 0.0: expected a number above 0"),
        (["--min-agreement", "1.5"], "--min-agreement 1.5: expected a number above 0 and at most"),
    ],
)
def test_bad_input(words: list[str], reason: str, home: Home) -> None:
    """Numbers that cannot be, and options that do not go together, are one reason each."""
    done = home("assemble", "results/net", *words)
    assert done.exit_code == 2 and reason in done.stderr and not done.stdout
    assert done.stderr.startswith("1 problem with the input:")


def test_no_finished_run(copied: Home) -> None:
    """An unknown run is told with the near one, and one that is not finished what to do."""
    done = copied("assemble", "rum", "--short")
    assert done.exit_code == 2 and "Did you mean 'run'?" in done.stderr
    (copied.folder / "run" / "summary.json").unlink()
    done = copied("assemble", "run", "--short")
    assert done.exit_code == 2 and "is not finished" in done.stderr


def test_fronts_that_are_not_there(copied: Home, walks: list[float]) -> None:
    """A unit without a front is an error; one that failed keeps its weights, as in a run."""
    with Store(copied.folder / "run") as store:
        item = next(i for i in store.items(FRONT) if i.name == "fc1[2]")
        store.remove(FRONT, item.key)
    done = copied("assemble", "run", *ASKED, "--out", "missing")
    assert done.exit_code == 2 and "has no front of fc1[2] that was found" in done.stderr
    failure = {"layer": "fc1", "channel": 2, "reason": "it hung", "attempts": 2}
    with Store(copied.folder / "run") as store:
        store.put(FAILURES[FRONT], item.key, json.dumps(failure), item.name)
    done = copied("assemble", "run", *ASKED, "--out", "failed")
    found = summary_of(copied, "failed")
    assert found["units"]["opaque"] == 1 and found["failed_units"] == [failure]


def test_an_input_that_has_changed(copied: Home, tmp_path: Path) -> None:
    """Another network than that of the run is refused before anything is made."""
    project(tmp_path / "other")
    (tmp_path / "other" / "net.py").write_text(
        (tmp_path / "other" / "net.py").read_text().replace("manual_seed(3)", "manual_seed(4)")
    )
    done = copied("assemble", "run", "--short", "--config", tmp_path / "other" / "net.toml")
    assert done.exit_code == 2 and "is not what run was run from" in done.stderr
    assert not (tmp_path / "run-short").exists()


def test_layers_that_were_not_searched(home: Home, tmp_path: Path) -> None:
    """They keep their weights, and fewer bits than these take cannot be asked for."""
    shutil.copytree(home.folder, tmp_path / "here", ignore=shutil.ignore_patterns("results"))
    here = Home(tmp_path / "here")
    few = ("--budget", 60, "--set", "run.controls=[]")
    here("run", "net.toml", "--layer", "fc1", *few)
    done = here("assemble", "results/net", "--bits", "500")
    kept = "what was not searched (fc2) keeps its weights, which take 579 bits"
    assert done.exit_code == 2 and f"--bits 500: {kept}" in done.stderr
    done = here("assemble", "results/net", "--bits", "60%")
    found = summary_of(here, "results/net-bits-60%")
    assert found["units"]["opaque"] == 3 and 579 < found["bits"] <= 0.6 * 1696
    assert found["controls"] == {"random": None, "rounding": None, "pruning": None}
