"""`synth runs` tells what lies in run folders, and `synth clean` makes room without a loss."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from typed import Home

from synth.lock import occupy
from synth.runs import ago, read_run, size_text
from synth.store import FAILURES, FILE_NAME, FRONT, Store


def listed(home: Home, *words: object) -> dict[str, dict]:
    """The runs below a folder by their last name."""
    rows = json.loads(home("runs", *words, "--json").stdout)
    return {Path(row["folder"]).name: row for row in rows}


def stopped(folder: Path) -> None:
    """Makes a finished run one that was stopped: one unit failed, and three are missing."""
    (folder / "summary.json").unlink()
    with Store(folder) as store:
        for item in store.items(FRONT)[:3]:
            store.remove(FRONT, item.key)
        store.put(FAILURES[FRONT], item.key, "{}", item.name)


def test_every_state_is_listed(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished, stopped, running, newer and damaged runs are told apart, and none is changed."""
    here = Home(tmp_path)
    for name in ("finished", "stopped", "running", "newer", "damaged"):
        shutil.copytree(home.folder / "results" / "net", tmp_path / "results" / "deep" / name)
    at = tmp_path / "results" / "deep"
    stopped(at / "stopped")
    connection = sqlite3.connect(at / "newer" / FILE_NAME)
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    connection.commit()
    connection.close()
    (at / "damaged" / FILE_NAME).write_bytes(b"\x55" * 5000)
    before = {p: p.stat().st_mtime_ns for p in at.rglob("*")}
    with occupy(at / "running"):
        rows = listed(here)
    assert {p: p.stat().st_mtime_ns for p in at.rglob("*") if p != at / "running"} | {
        at / "running": before[at / "running"]
    } == before
    states = {name: row["state"] for name, row in rows.items()}
    assert states.pop("running").startswith("running, process ")
    assert states == {
        "finished": "finished",
        "stopped": "stopped at 5 of 8 units",
        "newer": "belongs to a newer version",
        "damaged": "damaged",
    }
    finished = rows["finished"]
    assert finished["verdict"] == "drop-in" and finished["units"] == [8, 8]
    assert finished["bits_share"] > 0 and finished["agreement"] == 1.0
    assert finished["config"] == str(home.folder / "net.toml")
    assert finished["size"] == sum(p.stat().st_size for p in (at / "finished").iterdir())
    assert rows["stopped"]["failed"] == 1 and rows["stopped"]["verdict"] is None
    table = here("runs").stdout
    assert "stopped at 5 of 8 units, 1 failed" in table and "drop-in" in table
    assert "net.toml" in table and "KiB" in table
    narrow = here("runs", columns=80).stdout
    assert "results/deep/finished" in narrow and "net.toml" not in narrow and "…" not in narrow


def test_no_runs(tmp_path: Path) -> None:
    """An empty folder has none, and one that is not there is told."""
    (tmp_path / "results").mkdir()
    done = Home(tmp_path)("runs")
    assert done.exit_code == 0 and done.stdout == "no runs in results\n"
    done = Home(tmp_path)("runs", "elsewhere")
    assert done.exit_code == 2 and "elsewhere is no folder" in done.stderr


def test_clean_takes_what_can_be_made_again(copied: Home) -> None:
    """Arrays, half files, old stores and results of other runs go; every result stays."""
    run = copied.folder / "run"
    spool = run / "evidence" / "front" / "0"
    spool.mkdir(parents=True)
    for path in (spool / "evidence.patches.npy", run / ".summary.json.0a1b2c3d.part"):
        path.write_bytes(bytes(300_000))
    shutil.copyfile(run / FILE_NAME, run / "store.schema1.sqlite")
    (run / "notes.txt").write_text("mine")
    with Store(run) as store:
        kept = store.items(FRONT)
        store.put(FRONT, "stale", b"{}", "fc1[0]")
    connection = sqlite3.connect(run / FILE_NAME)
    connection.execute("UPDATE results SET identity = 'other' WHERE key = 'stale'")
    connection.commit()
    connection.close()
    done = copied("clean", "run")
    assert done.exit_code == 0 and "KiB freed" in done.stdout
    assert not spool.exists() and not list(run.glob(".*")) and not list(run.glob("*schema1*"))
    assert (run / "notes.txt").exists() and read_run(run).state == "finished"
    with Store(run) as store:
        assert store.items(FRONT) == kept


def test_clean_all_asks_and_spares_what_is_not_ours(copied: Home) -> None:
    """A whole run is removed after asking; a folder with anything else in it stays."""
    run = copied.folder / "run"
    assert copied("clean", "--all", "run").exit_code == 1 and (run / FILE_NAME).exists()
    (run / "notes.txt").write_text("mine")
    done = copied("clean", "--all", "--yes", "run")
    assert done.exit_code == 0 and "holds what no run made: notes.txt" in done.stdout
    assert [p.name for p in run.iterdir()] == ["notes.txt"]
    done = copied("clean", "--all", "--yes", "run")
    assert done.exit_code == 2 and "holds no run" in done.stderr and "nothing" in done.stderr


def test_a_run_leaves_nothing_that_clean_does_not_know(copied: Home) -> None:
    """`clean --all` knows every file that a run writes: the folder is gone."""
    assert copied("clean", "--all", "--yes", "run").exit_code == 0
    assert not (copied.folder / "run").exists()


@pytest.mark.parametrize("flags", [(), ("--all", "--yes"), ("--salvage",)], ids=str)
def test_clean_keeps_off_a_run_that_is_worked_on(flags: tuple[str, ...], copied: Home) -> None:
    """A process that works there is named, and nothing is removed."""
    run = copied.folder / "run"
    before = sorted(p.name for p in run.iterdir())
    with occupy(run):
        done = copied("clean", *flags, "run")
    assert done.exit_code == 2 and "wait for it or stop it" in done.stderr
    assert sorted(p.name for p in run.iterdir()) == before


def test_clean_salvages(copied: Home) -> None:
    """What a damaged store still holds is put in its place, and the run is read again."""
    path = copied.folder / "run" / FILE_NAME
    data = bytearray(path.read_bytes())
    data[-4096:] = b"\x55" * 4096
    path.write_bytes(data)
    done = copied("show", "run")
    assert done.exit_code == 2 and "synth clean --salvage run" in done.stderr
    done = copied("clean", "--salvage", "run")
    assert done.exit_code == 0 and "results kept" in done.stdout
    assert copied("show", "run").exit_code == 0
    assert (path.parent / "store.damaged.sqlite").read_bytes() == bytes(data)
    assert copied("clean", "run").exit_code == 0
    assert not (path.parent / "store.damaged.sqlite").exists()


def test_figures_as_text() -> None:
    """Sizes and times are told as a person would."""
    assert [size_text(s) for s in (0, 1500, 3 * 2**20, 5 * 2**30)] == [
        *("0 B", "1.46 KiB", "3 MiB", "5 GiB"),
    ]
    assert ago(0.0, 10 * 86400.0)[:2] == "19" and ":" in ago(1e9, 1e9)
