"""The documents that one follows step by step: every block of them is run, in order.

Runs are made quick: few candidates and no controls, which changes no step.
"""

import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from blocks import ROOT, Block, blocks_of
from click.testing import CliRunner

import synth.api.making
from synth.command import main

QUICK = {"search.budget": 20, "run.controls": [], "run.jobs": 1}
Follow = Callable[..., None]


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Follow:
    """Runs all blocks of a document of docs/ in an empty folder."""
    own = synth.api.making.overrides
    monkeypatch.setattr(synth.api.making, "overrides", lambda given: own(given) | QUICK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda name, *flags: _followed(ROOT / "docs" / name, tmp_path, flags)


def test_the_tutorial(follow: Follow, tmp_path: Path) -> None:
    """The demo's run is shown, reported, checked, validated, read and opened in Python."""
    (tmp_path / "examples").mkdir()
    for file in ("digits.py", "digits_mlp100.toml", "digits_mlp100.safetensors"):
        shutil.copy(ROOT / "examples" / file, tmp_path / "examples")
    follow("tutorial.md", "--layer", "out")
    assert (tmp_path / "results" / "digits_mlp100" / "report.html").exists()


def test_a_network_of_ones_own(follow: Follow, tmp_path: Path) -> None:
    """From memory, from a configuration and from a .pt2 file; and all commands that look at it."""
    follow("own_network.md", "--layer", "2")
    assert (tmp_path / "results" / "in_memory" / "given" / "run.toml").exists()


def test_a_primitive_of_ones_own(follow: Follow) -> None:
    """From an empty file to a unit that uses it, which the document itself asserts."""
    follow("primitive.md", "--set=search.budget=6", "--set=search.families=false")


def test_an_engine_of_ones_own(follow: Follow, tmp_path: Path) -> None:
    """Where its package is installed, it is asked and stands on fronts."""
    _installed(tmp_path)
    for block in blocks_of(ROOT / "docs" / "own_network.md"):
        if block.file in ("tumours.py", "tumours.toml"):
            (tmp_path / block.file).write_text(block.text)
    _run_file(tmp_path / "tumours.py")
    follow("engine.md", "--set=run.backend=threading")  # no process is to start for it
    fronts = synth.open(tmp_path / "results" / "strongest")["2"]["m2_1"].front
    assert "strongest" in {candidate.engine for candidate in fronts}


def _installed(folder: Path) -> None:
    """What pip leaves of the package in the document: its entry points, in a folder on the path."""
    (project,) = (b for b in blocks_of(ROOT / "docs" / "engine.md") if b.kind == "toml")
    told = tomllib.loads(project.text)["project"]
    info = folder / f"{told['name']}-{told['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {told['name']}\nVersion: {told['version']}\n")
    groups = told["entry-points"].items()
    lines = (f"[{g}]\n" + "".join(f"{k} = {v}\n" for k, v in own.items()) for g, own in groups)
    (info / "entry_points.txt").write_text("".join(lines))


def _followed(document: Path, folder: Path, flags: tuple[str, ...]) -> None:
    names: dict[str, Any] = {"__name__": "document"}
    for block in blocks_of(document):
        if block.file is not None:
            (folder / block.file).write_text(block.text)
        elif block.kind == "python" and not block.parsed_only:
            exec(compile(block.text, str(document), "exec"), names)
        elif block.kind == "sh" and not block.parsed_only:
            _run_commands(block, folder, flags)


def _run_commands(block: Block, folder: Path, flags: tuple[str, ...]) -> None:
    for first, *words in block.commands():
        if first == "python":
            _run_file(folder / words[0])
        elif first == "head":
            assert (folder / words[-1]).exists()
        else:
            assert first == "synth"
            _synth([*words, *_quick(words, flags)])


def _quick(words: list[str], flags: tuple[str, ...]) -> list[str]:
    if words[0] != "run":
        return []
    sets = (f"--set={key}={value}" for key, value in QUICK.items())
    return [*sets, *flags]


def _synth(words: list[str]) -> None:
    done = CliRunner(catch_exceptions=False, env={"COLUMNS": "160"}).invoke(main, words)
    assert done.exit_code in (0, 1), (words, done.output)


def _run_file(path: Path) -> None:
    """As `python path`, in this process."""
    with _seeded():
        exec(compile(path.read_text(), str(path), "exec"), {"__name__": "__main__"})


@contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        yield
