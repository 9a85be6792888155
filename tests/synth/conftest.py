"""A finished run of a tiny network, made once for all tests of the command."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typed import Home, project, seeing_project


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A folder with one finished run, `results/net`."""
    home = project(tmp_path_factory.mktemp("home"))
    done = home("run", "net.toml")
    assert done.exit_code == 0, done.output
    return home


@pytest.fixture(scope="session")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A folder with a finished run, `results/net`, of a network that reads images."""
    home = seeing_project(tmp_path_factory.mktemp("seeing"))
    done = home("run", "net.toml", "--quiet")
    assert done.exit_code in (0, 1), done.output
    return home


@pytest.fixture
def copied(home: Home, tmp_path: Path) -> Home:
    """The same, to be spoiled: the run folder `run` has moved away from its configuration."""
    shutil.copytree(home.folder / "results" / "net", tmp_path / "run")
    return Home(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A disk of so many MiB; called again, it grows. It takes the right to mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def sized(mebibytes: int) -> Path:
        size = f"size={mebibytes}m" + (",remount" if disk.is_mount() else "")
        command = ["mount", "-t", "tmpfs", "-o", size, "synth-test", str(disk)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no disk can be mounted here")
        return disk

    yield sized
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)
