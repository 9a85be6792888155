"""The store: results survive kills and crowds, and foreign folders are refused with reasons."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synth.database import backup_path
from synth.disk import Stopped
from synth.errors import InputError
from synth.files import write_atomic
from synth.keys import content_key
from synth.salvage import salvage
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
        assert "the weights or probes themselves" in told(store.claim_identity, "d2", ours)
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


OLD = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE results (kind TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, "
    "payload BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('schema', '1'), ('identity', 'd1'), ('description', '{}')",
    "INSERT INTO results VALUES ('front', 'a', 'fc1[0]', x'00ff')",
)


def test_older_schema(tmp_path: Path) -> None:
    """A store of the first version is brought to this one, and kept as it was beside."""
    path = tmp_path / FILE_NAME
    for statement in OLD:
        _execute(path, statement)
    with Store(tmp_path, create=False) as store:
        assert store.get("front", "a") == b"\x00\xff"
        assert store.items("front") == [Item("a", "fc1[0]", b"\x00\xff")]
        store.claim_identity("d1", {})
        store.put("front", "b", b"")
        assert store.forget_others() == 0 and store.count("front") == 2
    before = sqlite3.connect(backup_path(path, 1))
    assert before.execute("SELECT * FROM results").fetchall() == [
        ("front", "a", "fc1[0]", b"\x00\xff")
    ]
    before.close()


def test_results_of_other_runs_are_forgotten(tmp_path: Path) -> None:
    """Results say whose they are; those of another identity go, and the file shrinks."""
    with Store(tmp_path) as store:
        store.claim_identity("d1", {})
        store.put("front", "a", b"mine")
        store.put("choice", "b", bytes(500_000))
        _execute(store.path, "UPDATE results SET identity = 'd0' WHERE key = 'b'")
        size = sum(p.stat().st_size for p in tmp_path.iterdir())
        assert store.forget_others() == 1
        assert store.items("choice") == [] and store.get("front", "a") == b"mine"
        assert sum(p.stat().st_size for p in tmp_path.iterdir()) < size - 400_000


def test_results_of_a_run_are_taken_over(tmp_path: Path) -> None:
    """All that are its own, but of one kind; a store keeps what it has under the same keys."""
    with Store(tmp_path / "run") as run, Store(tmp_path / "other") as other:
        run.claim_identity("d1", {})
        for kind, key in (("front", "a"), ("front", "b"), ("choice", "c"), ("origin", "d")):
            run.put(kind, key, b"run's", "fc1[0]")
        _execute(run.path, "UPDATE results SET identity = 'd0' WHERE key = 'b'")
        other.claim_identity("d2", {})
        other.put("choice", "c", b"own")
        for _ in range(2):
            other.take(run, without="origin")
            assert other.items("front") == [Item("a", "fc1[0]", b"run's")]
            assert other.get("choice", "c") == b"own" and other.count("origin") == 0
        assert other.forget_others() == 0 and run.count("front") == 2


def damage(path: Path, start: int, stop: int) -> None:
    """Overwrites pages of a file."""
    data = bytearray(path.read_bytes())
    data[4096 * start : 4096 * stop] = b"\x55" * (4096 * (stop - start))
    path.write_bytes(data)


def test_a_damaged_store_is_saved(tmp_path: Path) -> None:
    """What can be read around damaged pages is told, kept by `salvage`, and is what was put."""
    keys = [content_key(i) for i in range(500)]
    with Store(tmp_path) as store:
        store.claim_identity("d1", {"run": {"seed": 0}}, units={"fc1": 500})
        with store.batch():
            for i, key in enumerate(keys):
                store.put("front", key, f"{i:0200}", f"fc1[{i}]")
    path = tmp_path / FILE_NAME
    assert "is not damaged" in told(salvage, path)
    damage(path, 10, 14)
    message = told(Store, tmp_path)
    assert "is damaged or no store" in message and f"`synth clean --salvage {tmp_path}`" in message
    count = salvage(path)
    assert f"{count} × front" in message and 350 < count < 500
    with Store(tmp_path) as store:
        store.claim_identity("d1", {})
        assert store.description() == {"run": {"seed": 0}}
        items = store.items("front")
        assert len(items) == count
        assert all(item.payload.decode() == f"{keys.index(item.key):0200}" for item in items)


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    """A file of which half is missing is told as damaged, not read as if it were whole."""
    with Store(tmp_path) as store, store.batch():
        for i in range(500):
            store.put("front", content_key(i), os.urandom(200))
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is damaged or no store" in told(Store, tmp_path)
    path.write_bytes(b"\x55" * 8192)
    assert "Nothing of it can be read" in told(Store, tmp_path)
    assert "nothing of" in told(salvage, path)


def test_a_payload_that_a_disk_has_changed(tmp_path: Path) -> None:
    """A payload that is not what was put counts as not there, so that it is found again."""
    with Store(tmp_path) as store:
        store.put("front", "a", b"program")
        store.put("front", "b", b"program")
        _execute(store.path, "UPDATE results SET payload = x'00' WHERE key = 'a'")
        assert store.get("front", "a") is None and store.get("front", "b") == b"program"


# disks


def test_a_full_file_loses_nothing(tmp_path: Path) -> None:
    """A batch that does not fit is undone and told; what was kept stays, and then it goes on."""
    with Store(tmp_path) as store:
        store.put("r", "a", bytes(1000))
        store._connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(Stopped, match=r"is full .* Make room there") as caught, store.batch():
            store.put("r", "b", b"small")
            store.put("r", "c", bytes(200_000))
        assert caught.value.exit_code == 3 and str(store.path) in str(caught.value)
        assert [item.key for item in store.items("r")] == ["a"]
        store._connection.execute("PRAGMA max_page_count = 1000")
        store.put("r", "c", bytes(200_000))
        assert store.count("r") == 2


def test_a_full_disk(tmp_path: Path, small_disk: Callable[..., Path]) -> None:
    """On a real disk without room the store stops, keeps its batches, and goes on with room."""
    disk, kept = small_disk(2), 0
    with pytest.raises(Stopped, match=r"is full \(0.\d MiB free\)"), Store(disk) as store:
        for i in range(100):
            with store.batch():
                store.put("r", f"{i:03}", os.urandom(50_000))
            kept += 1
    assert kept > 10
    small_disk(20)
    with Store(disk, create=False) as store:
        assert [item.key for item in store.items("r")] == [f"{i:03}" for i in range(kept)]
        store.put("r", "more", bytes(10**6))


READER = """
import sys
from synth.errors import InputError
from synth.store import Store
with Store(sys.argv[1], create=False) as store:
    print(store.get("r", "a"))
    for act in (lambda: store.put("r", "b", b""), lambda: Store(sys.argv[1])):
        try:
            act()
        except InputError as error:
            print(error)
"""


def test_a_read_only_folder(tmp_path: Path) -> None:
    """A folder that cannot be written is read without a trace, and refused with what to do."""
    with Store(tmp_path) as store:
        store.put("r", "a", b"kept")
    before = sorted(p.name for p in tmp_path.iterdir())
    for path in (tmp_path / FILE_NAME, tmp_path):
        path.chmod(0o500)
    command = [sys.executable, "-c", READER, str(tmp_path)]
    if os.geteuid() == 0:  # root may write anywhere, unless its privileges are taken
        if not (setpriv := shutil.which("setpriv")):
            pytest.skip("root cannot be kept from writing here")
        command = [setpriv, "--bounding-set=-all", "--inh-caps=-all", *command]
    done = subprocess.run(command, capture_output=True, text=True)
    tmp_path.chmod(0o700)
    assert done.stdout.startswith("b'kept'\n"), done.stderr
    assert done.stdout.count("make the folder writable, or choose another") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_without_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that allows no WAL is said, and the store works there all the same."""
    plain = sqlite3.connect

    def without_memory(path: Path, **options: Any) -> sqlite3.Connection:
        return plain(f"file:{path}?vfs=unix-dotfile", uri=True, **options)  # it shares no memory

    monkeypatch.setattr(sqlite3, "connect", without_memory)
    with pytest.warns(UserWarning, match="does not allow SQLite's WAL mode"):
        store = Store(tmp_path)
    with store:
        store.put("r", "a", b"x")
        assert store.get("r", "a") == b"x"


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
    with monkeypatch.context() as patched, pytest.raises(Stopped, match="is full"):
        patched.setattr(os, "fsync", _no_room)
        write_atomic(path, "new")
    assert path.read_bytes() == b"\x00"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def _no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()
