"""The command as a user types it: exit codes, files, tables, and what it costs to start."""

import errno
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from typed import CONFIG, NETWORK, Home, changed, project, python

from synth.folder import WRITTEN
from synth.progress import progress


def edit(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_file_that_may_not_be_written(copied: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with what to do; other errors of the system are no bad input."""
    error = OSError(errno.EROFS, "no writing", "run/report.html")
    monkeypatch.setattr("synth.report.making.make_report", Mock(side_effect=error))
    done = copied("report", "run")
    assert done.exit_code == 2 and done.stderr.startswith("run/report.html: no writing: ")
    error.errno = errno.EIO
    with pytest.raises(OSError, match="no writing"):
        copied("report", "run")


# run


def test_a_piped_run_prints_its_result_and_nothing_else(home: Home) -> None:
    """A run whose output is piped ends with a plain table and the paths, and says no more."""
    done = python("-m", "synth", "run", "net.toml", "--out", "piped", cwd=home.folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    assert all(line == line.rstrip() for line in done.stdout.splitlines())
    assert [f"piped/{name}" for name in WRITTEN] == done.stdout.split()[-len(WRITTEN) :]
    words = ("verdict", "drop-in", "accuracy", "agreement", "KL", "short coverage", "bits")
    assert all(w in done.stdout for w in (*words, "shuffled control", "entropy", "proved", "Z3"))
    assert home.bytes_of("piped") == home.bytes_of("results/net")


def test_layers_one_after_another(home: Home) -> None:
    """Layers run one after another end with the bytes of a run of all; before, some is opaque."""
    first = home("run", "net.toml", "--out", "steps", "--layer", "fc2")
    assert "5 opaque" in first.output and first.exit_code == 0
    assert "opaque" in home("show", "steps", "fc1").output
    assert "not searched" in home("show", "steps", "fc1_0").output
    assert home("run", "net.toml", "--out", "steps", "--layer", "fc1").exit_code == 0
    assert home.bytes_of("steps") == home.bytes_of("results/net")


def test_quiet_prints_nothing(home: Home) -> None:
    """--quiet leaves files and an exit code."""
    done = home("run", "net.toml", "--quiet")
    assert (done.exit_code, done.output) == (0, "")


def test_not_drop_in_is_exit_code_1(home: Home) -> None:
    """A margin that so few probes cannot prove ends a finished run with exit code 1."""
    flags = ("--margin", "0.001", "--set", "search.engines=linear", "--grammar", "mine.py")
    done = home("run", "net.toml", "--out", "strict", "--set", "search.max_fvu=0.04", *flags)
    assert done.exit_code == 1 and "inconclusive" in done.output
    assert all((home.folder / "strict" / name).exists() for name in WRITTEN)
    again = home("validate", "strict")  # with the flags of then
    assert again.exit_code == 1 and "inconclusive" in again.output
    assert "summary.json says" not in again.output


def test_progress_is_drawn_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars stand on a terminal's standard error; without one, or if quiet, there is nothing."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def drawn(stream: io.StringIO, *, quiet: bool) -> str:
        monkeypatch.setattr(sys, "stderr", stream)
        with progress(quiet=quiet) as tell:
            tell("conv1[3]", 2, 5)
            tell("choice", 1, 0)
        return stream.getvalue()

    monkeypatch.setenv("TERM", "xterm")
    assert "conv1[3]" in drawn(Terminal(), quiet=False)
    assert drawn(Terminal(), quiet=True) == drawn(io.StringIO(), quiet=False) == ""


# show


def test_show_every_unit(home: Home) -> None:
    """`show RUN` has a line for each unit of each layer, `show RUN LAYER` those of one."""
    all_units = home("show", "results/net").stdout
    names = [f"fc1_{i}" for i in range(5)] + [f"fc2_{i}" for i in range(3)]
    starts = [line.split()[0] for line in all_units.splitlines()]
    assert [word for word in starts if word in names] == names
    assert "fc1: 5 units" not in home("show", "results/net", "fc2").stdout
    assert "proved + Z3" in all_units and "linear" in all_units
    narrow = home("show", "results/net", columns=80).stdout
    assert max(map(len, narrow.splitlines())) <= 80
    assert all(w in narrow for w in (*names, "proved + Z3", "relu(", "in situ"))


def test_show_a_front(home: Home) -> None:
    """A unit is called by name or index; its front is the real network's, one candidate chosen."""
    by_name, by_index = (home("show", "results/net", u).stdout for u in ("fc1_1", "fc1[1]"))
    assert by_name == by_index
    assert "proved (checked)" in by_name and "ε" in by_name
    shown = json.loads(home("show", "results/net", "fc1_1", "--json").stdout)
    assert shown["name"] == "fc1_1" and shown["verdict"] == "proved"
    front = shown["front"]
    assert [c["program"] for c in front if c["chosen"]] == [shown["program"]]
    bits = [c["bits"] for c in front]
    assert len(bits) >= 8 and bits == sorted(bits)
    assert min(c["fvu_select"] for c in front) < 1e-9  # the shuffled control's would not be exact
    assert f"{len(front)} candidates" in by_name


def test_show_as_json(home: Home) -> None:
    """`show --json` gives the rows of programs.json by layer."""
    shown = json.loads(home("show", "results/net", "--json").stdout)
    rows = json.loads(home.bytes_of("results/net")["programs.json"])["units"]
    assert [row for units in shown.values() for row in units] == rows


# validate and check


def test_validate_says_the_same(copied: Home) -> None:
    """Held-out once more gives the figures of the run, wherever its folder is."""
    done = copied("validate", "run")
    assert done.exit_code == 0 and "drop-in" in done.stdout and not done.stderr


def test_validate_other_programs(copied: Home) -> None:
    """Programs that were edited are judged as they are now: not what summary.json says."""

    def negate(content: dict) -> None:
        content["units"][-1]["program"] = "-1.0*fc1_0"

    edit(copied.folder / "run" / "programs.json", negate)
    done = copied("validate", "run")
    assert done.exit_code == 1 and "summary.json says agreement" in done.stderr
    edit(copied.folder / "run" / "programs.json", lambda c: c["units"][0].update(program="fc7_1"))
    done = copied("validate", "run")
    assert done.exit_code == 2 and "unknown name 'fc7_1'" in done.stderr


def test_validate_another_input(home: Home, tmp_path: Path) -> None:
    """A configuration or a network that has changed since is an error that says how."""
    other = project(tmp_path / "other", changed("max_kl = 1e-6", "max_kl = 0.02"))
    done = other("validate", home.folder / "results" / "net", "--config", "net.toml")
    assert done.exit_code == 2 and "accept.max_kl: 1e-06 there, 0.02 here" in done.stderr
    (other.folder / "net.toml").write_text(CONFIG)
    (other.folder / "net.py").write_text(NETWORK.replace("manual_seed(3)", "manual_seed(4)"))
    done = other("validate", home.folder / "results" / "net", "--config", "net.toml")
    assert done.exit_code == 2 and "is not what" in done.stderr


def test_check_accepts_a_run(home: Home) -> None:
    """Every claim of a run has a sound certificate, units that refer to siblings among them."""
    rows = json.loads(home.bytes_of("results/net")["programs.json"])["units"]
    assert any("pre(" in (row["program"] or "") for row in rows)
    done = home("check", "results/net")
    assert (done.exit_code, done.stdout) == (0, "8 accepted, 0 rejected\n")


def tampered(name: str, content: dict) -> None:
    """One lie in certificates.json or programs.json."""
    one = content.get("certificates", content.get("units", []))[0]
    if name == "bound":
        one["bound"] = "1/1000000"
    elif name == "text":
        one["program"] = one["program"].replace("0", "1", 1)
    elif name == "epsilon":
        one["epsilon"] = "1/2"
    elif name == "removed":
        del content["certificates"][0]
    elif name == "unclaimed":
        one["verdict"], one["trust"] = "proved", "solver"


@pytest.mark.parametrize(
    ("file", "lie", "reason"),
    [
        ("certificates.json", "bound", "is not exactly"),
        ("certificates.json", "text", "fc1[0]"),
        ("certificates.json", "epsilon", "its certificate is for"),
        ("certificates.json", "removed", "no certificate"),
        ("programs.json", "text", "another program"),
        ("programs.json", "epsilon", "its certificate is for"),
        ("programs.json", "unclaimed", "does not claim"),
    ],
)
def test_check_rejects(file: str, lie: str, reason: str, copied: Home) -> None:
    """One lie in the certificates or in the claims is rejected with its unit, exit code 1."""
    edit(copied.folder / "run" / file, lambda content: tampered(lie, content))
    done = copied("check", "run")
    assert done.exit_code == 1
    assert "REJECTED fc1[0]" in done.stdout and reason in done.stdout
    assert "7 accepted, 1 rejected" in done.stdout


# grammar


def test_grammar_commands(home: Home) -> None:
    """A user's file is listed, shown and checked beside the core; a broken one is exit code 1."""
    listed = home("grammar", "list", "--grammar", "mine.py").stdout
    assert all(name in listed for name in ("soft_threshold", "leaky_relu", "gabor"))
    assert "soft_threshold" not in home("grammar", "list").stdout
    shown = home("grammar", "show", "soft_threshold", "--grammar", "mine.py").stdout
    assert "(field, width=0.5) → field" in shown and "def soft_threshold" in shown
    checked = home("grammar", "check", "mine.py")
    assert (checked.exit_code, checked.stdout) == (0, "soft_threshold: ok\n")
    broken = home("grammar", "check", "mine.py", "broken.py")
    assert broken.exit_code == 1
    assert "soft_threshold: ok" in broken.stdout and "hinge: BROKEN" in broken.stdout


# what must be quick


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], {"torch", "z3", "numpy", "rich", "scipy"}),
        (["run", "--help"], {"torch", "z3", "numpy", "rich", "scipy"}),
        (["show", "results/net"], {"torch", "z3", "numpy", "scipy"}),
        (["check", "results/net"], {"torch", "z3", "numpy", "scipy"}),
    ],
)
def test_quick_commands_import_nothing_heavy(words: list[str], heavy: set[str], home: Home) -> None:
    """Help, show and check answer at once: no numeric library is imported."""
    code = (
        "import sys\nfrom synth.command import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"assert not {heavy!r} & set(sys.modules), {heavy!r} & set(sys.modules)\n"
    )
    done = python("-c", code, cwd=home.folder)
    assert done.returncode == 0, done.stderr
