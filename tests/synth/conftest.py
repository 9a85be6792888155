"""A finished run of a tiny network, made once for all tests of the command."""

import shutil
from pathlib import Path

import pytest
from typed import Home, project


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A folder with one finished run, `results/net`."""
    home = project(tmp_path_factory.mktemp("home"))
    done = home("run", "net.toml")
    assert done.exit_code == 0, done.output
    return home


@pytest.fixture
def copied(home: Home, tmp_path: Path) -> Home:
    """The same, to be spoiled: the run folder `run` has moved away from its configuration."""
    shutil.copytree(home.folder / "results" / "net", tmp_path / "run")
    return Home(tmp_path)
