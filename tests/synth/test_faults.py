"""Whole runs that are disturbed end with the bytes of one that was left alone."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty
from typed import Home

from synth.attempts import Answer
from synth.backends import Workers, connected
from synth.chain import run
from synth.config import load_config
from synth.engine import UnitEvidence
from synth.engines.linear import LinearEngine
from synth.job import load_job
from synth.lock import occupy
from synth.runs import read_run
from synth.store import FRONT, Store
from synth.workers import each


@contextmanager
def killer(folder: Path, victims: Callable[[], list[int]]) -> Iterator[list[int]]:
    """Kills a process, one of those that are found as soon as a unit is worked at in `folder`."""
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set() and not any(folder.glob("evidence/layer-*/notes/*")):
            time.sleep(0.002)
        for pid in victims()[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def loky_workers() -> list[int]:
    """The processes that loky has started here."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            mine = f"PPid:\t{os.getpid()}\n" in status.read_text()
            if mine and b"loky" in status.with_name("cmdline").read_bytes():
                found.append(int(status.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def test_a_killed_worker_changes_no_byte(home: Home) -> None:
    """A process of the pool is killed while it works: the run ends as if nothing had been."""
    with killer(home.folder / "killed", loky_workers) as killed:
        done = home("run", "net.toml", "--out", "killed", "--jobs", "2", "--set", "run.retries=3")
    assert killed and done.exit_code == 0, done.output
    assert home.bytes_of("killed") == home.bytes_of("results/net")
    assert read_run(home.folder / "killed").failed == 0


def test_dask(home: Home, tmp_path: Path) -> None:
    """On a local cluster of two workers a unit kills one, then one is killed: nothing is lost."""
    for name in ("seen", "notes"):
        (tmp_path / name).mkdir()
    workers = Workers(2, "dask")
    with connected(workers):
        from distributed import get_client

        client = get_client()
        assert list(client.nthreads().values()) == [1, 1]
        function = Faulty({3: "kill"}, str(tmp_path / "seen"), once=True, takes=0.02)
        parts = each(function, range(8), workers, tmp_path / "notes")
        found: dict[int, Answer] = {a.unit: a for part in parts for a in part}
        assert {u: a.value for u, a in found.items()} == {u: u * u for u in range(8)}
        assert {u: a.tries for u, a in found.items() if a.tries > 1} == {3: 2}
        with killer(home.folder / "dask", lambda: list(client.run(os.getpid).values())) as killed:
            flags = ("--backend", "dask", "--set", "run.retries=3")
            done = home("run", "net.toml", "--out", "dask", *flags)
        assert killed and done.exit_code == 0, done.output
    assert home.bytes_of("dask") == home.bytes_of("results/net")
    with pytest.raises(ValueError, match="client"):
        get_client()


def test_a_unit_that_cannot_be_searched_is_reported(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its weights and the summary says why; the same command searches it after all."""
    plain = LinearEngine.propose

    def broken(engine: LinearEngine, unit: UnitEvidence, *, budget: int, seed: int):
        if unit.channel == 1:
            raise ZeroDivisionError("a bug")
        return plain(engine, unit, budget=budget, seed=seed)

    def done() -> dict[str, Any]:
        out = {"run.out": str(home.folder / "failed"), "run.controls": []}
        return run(load_job(load_config(home.folder / "net.toml", out)))

    monkeypatch.setattr(LinearEngine, "propose", broken)
    failed = done()["failed_units"]
    assert failed and all(f["channel"] == 1 and f["attempts"] == 2 for f in failed)
    assert all("ZeroDivisionError: a bug" in f["reason"] for f in failed)
    rows = json.loads(home.bytes_of("failed")["programs.json"])["units"]
    assert {r["status"] for r in rows if r["channel"] == 1} <= {"opaque", "ablated"}
    monkeypatch.undo()
    assert done()["failed_units"] == []
    rows = json.loads(home.bytes_of("failed")["programs.json"])["units"]
    assert "opaque" not in {r["status"] for r in rows}


def test_a_moved_folder_goes_on(home: Home) -> None:
    """A run that was stopped goes on in another place, and searches only what is missing."""

    def stop(what: str, done: int, count: int) -> None:
        if what == "units" and done >= 3:
            raise KeyboardInterrupt

    here = home.folder / "here"
    with pytest.raises(KeyboardInterrupt):
        run(load_job(load_config(home.folder / "net.toml", {"run.out": str(here)})), progress=stop)
    assert not list(here.glob("evidence*"))
    assert read_run(here).state.startswith("stopped at ")
    with Store(here, create=False) as store:
        before = {item.key for item in store.items(FRONT)}
    shutil.move(here, home.folder / "there")
    told: list[tuple[str, int, int]] = []
    job = load_job(load_config(home.folder / "net.toml", {"run.out": str(home.folder / "there")}))
    run(job, progress=lambda *what: told.append(what))
    assert 3 <= len(before) < 8 and ("units", len(before), 8) in told
    assert ("units", 0, 8) not in told and ("units", 8, 8) in told
    assert home.bytes_of("there") == home.bytes_of("results/net")


def test_a_full_disk_stops_and_goes_on(home: Home, small_disk: Callable[[int], Path]) -> None:
    """Without room a run says so and keeps what it has; after room is made it goes on."""
    disk = small_disk(8)
    words = ("run", home.folder / "net.toml", "--out", disk / "run")
    ballast, left = disk / "ballast", 200_000
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - left))
    done = home(*words)
    assert done.exit_code == 3 and "Traceback" not in done.output
    assert "is full" in done.stderr and str(disk / "run") in done.stderr
    assert "Make room there and give the same command" in done.stderr
    assert all(p.name.startswith("store.sqlite") for p in (disk / "run").iterdir())
    ballast.unlink()
    assert home(*words).exit_code == 0
    names = home.bytes_of("results/net")
    assert {name: (disk / "run" / name).read_bytes() for name in names} == names


def test_two_runs_in_one_folder(home: Home, tmp_path: Path) -> None:
    """The second run is told which process works there, and nothing of the folder is changed."""
    with occupy(tmp_path / "run"):
        done = home("run", "net.toml", "--out", tmp_path / "run")
        assert [p.name for p in (tmp_path / "run").iterdir()] == ["run.lock"]
    assert done.exit_code == 2
    assert f"process {os.getpid()} on " in done.stderr and "works in" in done.stderr


def test_a_backend_that_is_not_installed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told with all other problems, before anything is searched or made."""
    monkeypatch.setattr("synth.backends.find_spec", lambda name: None)
    flags = ("--backend", "ray", "--set", "search.engines=quadratic", "--out", "none")
    done = home("run", "net.toml", *flags)
    assert done.exit_code == 2 and "2 problems" in done.stderr
    assert "pip install ray" in done.stderr
    assert not (home.folder / "none").exists()
    done = home("run", "net.toml", "--backend", "slurm")
    assert done.exit_code == 2 and "one of loky, threading, dask, ray" in done.stderr
