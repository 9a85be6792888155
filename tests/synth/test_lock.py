"""One process works in a run folder; another is told which, and a dead one holds nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from synth.errors import InputError
from synth.leftovers import working
from synth.lock import FILE_NAME, occupant, occupy

HOLDER = """
import sys, time
from pathlib import Path
from synth.lock import occupy

with occupy(Path(sys.argv[1])):
    print("there", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A process that works in `tmp_path / "run"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "there\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_is_told_who_works_there(tmp_path, holder) -> None:
    """The message names the folder, the process, its machine and what to do; nothing is changed."""
    folder = tmp_path / "run"
    with pytest.raises(InputError) as caught, occupy(folder):
        pass
    text = str(caught.value)
    assert f"process {holder.pid} on {socket.gethostname()}" in text
    assert str(folder) in text and "--out" in text
    found = occupant(folder)
    assert found and found.pid == holder.pid and found.since
    assert occupant(tmp_path) is None


def test_a_killed_process_holds_nothing(tmp_path, holder) -> None:
    """After kill -9 the folder is free at once, and the next process leaves no lock behind."""
    folder = tmp_path / "run"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (folder / FILE_NAME).exists() and occupant(folder) is None
    with occupy(folder):
        assert json.loads((folder / FILE_NAME).read_text())["pid"] == os.getpid()
        with pytest.raises(InputError, match="wait for it or stop it"), occupy(folder):
            pass
    assert not (folder / FILE_NAME).exists()


def test_a_copied_lock_holds_nothing(tmp_path, holder) -> None:
    """The copy of a folder that is worked in is free, for the lock is the kernel's."""
    (tmp_path / "copy").mkdir()
    text = (tmp_path / "run" / FILE_NAME).read_text()
    (tmp_path / "copy" / FILE_NAME).write_text(text)
    with occupy(tmp_path / "copy"):
        assert occupant(tmp_path / "run")


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    """A file in the way is told."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"made .*: choose another with --out"),
        occupy(tmp_path / "file" / "run"),
    ):
        pass


def test_leftovers_are_swept_and_nothing_else(tmp_path) -> None:
    """What a killed run left goes before and after work; a user's files beside it stay."""
    ours = (
        *("evidence/front/0/evidence.patches.npy", "evidence/front/0/arrays.json"),
        *("evidence/layer-ab1/notes/12", ".summary.json.0123abcd.part"),
    )
    theirs = (
        *("evidence/front/0/mine.npy", "evidence/notes/12", "evidence/evidence.txt"),
        *("evidence.npy", ".profile", "mine.part", "layer-x/notes/12"),
    )
    for name in (*ours, *theirs):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    with working(tmp_path):
        assert not any((tmp_path / name).exists() for name in ours)
        (tmp_path / ours[0]).write_text("x")
    assert not any((tmp_path / name).exists() for name in ours)
    assert all((tmp_path / name).exists() for name in theirs)
    assert not (tmp_path / "evidence" / "layer-ab1").exists()
