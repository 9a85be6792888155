"""The store: results survive kills and crowds, and foreign folders are refused with reasons."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synth.errors import InputError
from synth.files import write_atomic
from synth.store import FILE_NAME, Item, Store

BATCH = 20
WRITER = """
import sys
from synth.store import Store
folder, who, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Store(folder) as store:
    for b in range(batches):
        with store.batch():
            for i in range(20):
                store.put("r", f"{who}-{b:06}-{i:02}", bytes([i]) * 500)
        print(b, flush=True)
"""


def writer(folder: Path, who: str, batches: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(folder), who, str(batches)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def told(function, *args) -> str:
    with pytest.raises(InputError) as caught:
        function(*args)
    return "\n".join(caught.value.problems)


def test_put_get_items(tmp_path: Path) -> None:
    """Payloads come back as bytes; items are in the order of keys; a second put replaces."""
    with Store(tmp_path / "run") as store:
        store.put("front", "b", "text é", name="fc1_2")
        store.put("front", "a", b"\x00\xff")
        store.put("front", "a", b"new", name="fc1_1")
        store.put("other", "a", b"")
    with Store(tmp_path / "run", create=False) as store:
        assert store.get("front", "b") == "text é".encode()
        assert store.get("front", "zz") is None
        assert store.get("other", "a") == b""
        assert store.items("front") == [
            Item("a", "fc1_1", b"new"),
            Item("b", "fc1_2", "text é".encode()),
        ]
        assert store.items("nothing") == []


def test_a_failed_batch_leaves_nothing(tmp_path: Path) -> None:
    """An exception undoes the whole batch, inner batches included, and the store goes on."""
    with Store(tmp_path) as store:
        with pytest.raises(KeyError), store.batch():
            store.put("r", "a", b"1")
            with store.batch():
                store.put("r", "b", b"2")
            raise KeyError
        assert store.items("r") == []
        with store.batch():
            store.put("r", "c", b"3")
        assert len(store.items("r")) == 1


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.011, 0.05])
def test_kill_loses_at_most_the_open_batch(tmp_path: Path, delay: float) -> None:
    """After kill -9 the file is whole, all told batches are there, and no part of a batch."""
    process = writer(tmp_path, "w", 10**6)
    assert process.stdout is not None
    done = int(process.stdout.readline())
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split("\n")[:-1]
    process.stdout.close()
    process.wait()
    done = int(rest[-1]) if rest else done
    with Store(tmp_path, create=False) as store:
        keys = [item.key for item in store.items("r")]
        batches = len(keys) // BATCH
        assert done + 1 <= batches <= done + 2
        assert keys == [f"w-{b:06}-{i:02}" for b in range(batches) for i in range(BATCH)]
        store.put("r", "after", b"1")


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    """Two writers that also race to make the store both finish, and nothing is lost."""
    crowd = [writer(tmp_path, who, 30) for who in ("a", "b", "c")]
    for process in crowd:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Store(tmp_path) as store:
        assert len(store.items("r")) == len(crowd) * 30 * BATCH


def test_a_writer_that_never_ends_is_told(tmp_path: Path) -> None:
    """Waiting for another process's batch ends with an InputError, not in a traceback."""
    with Store(tmp_path) as one, Store(tmp_path, timeout=0.05) as two, one.batch():
        one.put("r", "a", b"")
        assert "another process is writing" in told(two.put, "r", "b", b"")


def test_identity(tmp_path: Path) -> None:
    """A folder belongs to one run; another is refused with each key that differs."""
    ours = {"run": {"seed": 0}, "search": {"tags": ("core",)}}
    with Store(tmp_path) as store:
        assert store.description() is None
        store.claim_identity("d1", ours)
        store.claim_identity("d1", ours)
    with Store(tmp_path) as store:
        theirs = {"run": {"seed": 1}, "search": {"tags": ["core"]}, "more": 2}
        message = told(store.claim_identity, "d2", theirs)
        assert "holds another run" in message
        assert "--out" in message
        assert "run.seed: 0 there, 1 here" in message
        assert "more: None there, 2 here" in message
        assert "tags" not in message
        assert "content of weights, probes or source" in told(store.claim_identity, "d2", ours)
        assert store.description() == {"run": {"seed": 0}, "search": {"tags": ["core"]}}


def test_not_a_store(tmp_path: Path) -> None:
    """Text, a foreign database and a schema that is no number are refused and left as they are."""
    path = tmp_path / FILE_NAME
    path.write_text("this is a text of more than a hundred bytes. " * 5)
    assert "is damaged or no store" in told(Store, tmp_path)
    path.unlink()
    _execute(path, "CREATE TABLE people (name TEXT)")
    assert "is a database of something else" in told(Store, tmp_path)
    path.unlink()
    Store(tmp_path).close()
    _execute(path, "UPDATE meta SET value = 'x' WHERE key = 'schema'")
    assert "has schema 'x', expected a number" in told(Store, tmp_path)


def test_newer_schema(tmp_path: Path) -> None:
    """A store of a later version says so, and what to do."""
    Store(tmp_path).close()
    _execute(tmp_path / FILE_NAME, "UPDATE meta SET value = '99' WHERE key = 'schema'")
    message = told(Store, tmp_path)
    assert "newer version (schema 99" in message
    assert "upgrade neuron-synth" in message


def test_damaged_store(tmp_path: Path) -> None:
    """Overwritten pages are found when the store is opened."""
    with Store(tmp_path) as store, store.batch():
        for i in range(500):
            store.put("r", f"{i:04}", os.urandom(200))
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[4096 * 5 : 4096 * 12] = b"\x55" * (4096 * 7)
    path.write_bytes(data)
    assert "is damaged or no store" in told(Store, tmp_path)
    path.write_bytes(data[: len(data) // 2])
    assert "is damaged or no store" in told(Store, tmp_path)


def test_folders(tmp_path: Path) -> None:
    """No run, and a file where the folder should be, are told; nothing is made by looking."""
    message = f"{tmp_path / 'none'} holds no run"
    with pytest.raises(InputError, match="start one first") as caught:
        Store(tmp_path / "none", create=False)
    assert message in str(caught.value)
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").touch()
    assert "cannot be made" in told(Store, tmp_path / "file")


def test_write_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced whole, a failure keeps the old one, and no part is left over."""
    path = tmp_path / "a.txt"
    write_atomic(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    write_atomic(path, b"\x00")
    assert path.read_bytes() == b"\x00"

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, "new")
    assert path.read_bytes() == b"\x00"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()
