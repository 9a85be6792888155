"""Commands to look with, as a user types them: what-if, diff, doctor, kernels, JSON, completion."""

import json
import re
import shlex
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import click
import pytest
from typed import Home, python

from synth import doctor as doctor_rows
from synth.command import main
from synth.shown.drawing import drawing
from synth.shown.tables import cost_text, print_front, source_rows

# what-if


def test_what_if_moves_both(home: Home) -> None:
    """Of a replacement that is near, outputs and answers move as those of the original."""
    words = ("--ablate", "fc1_2", "--scale", "fc1[0]=-3")
    done = home("what-if", "results/net", *words, "--json")
    found = json.loads(done.stdout)
    both = found["original"], found["replacement"]
    assert done.exit_code == 0 and found["n"] == 120 and 0.999 < found["r2"] < 1
    assert all(one["kl_mean"] > 0.01 and one["changed"] > 0.05 for one in both)
    assert both[0]["kl_mean"] == pytest.approx(both[1]["kl_mean"], rel=0.05)
    moved = sum(one["n"] for one in both[0]["answers"])
    assert moved == sum(one["original"] for one in found["classes"]) == 120 * both[0]["changed"]
    assert [one["name"] for one in found["interventions"]] == ["fc1_2", "fc1_0"]
    assert found["interventions"][1]["factor"] == -3.0
    shown = home("what-if", "results/net", *words).stdout
    words = ("fc1_2 is ablated", "fc1_0 is -3 times itself", "R² of the change", "of class", "→")
    assert all(word in shown for word in words)


def test_what_if_without_an_effect(home: Home) -> None:
    """Once itself is nothing: no answer changes, and there is no R² of no change."""
    found = json.loads(home("what-if", "results/net", "--scale", "fc1_0=1", "--json").stdout)
    assert found["r2"] is None and found["original"]["changed"] == 0.0
    shown = home("what-if", "results/net", "--scale", "fc1_0=1").stdout
    assert re.search("R² of the change +–\n", shown)


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        ([], ["nothing is asked: give --ablate UNIT or --scale UNIT=FACTOR"]),
        (["--scale", "fc1_2"], ["--scale fc1_2: expected UNIT=FACTOR"]),
        (["--scale", "fc1_2=inf"], ["--scale fc1_2=inf: expected UNIT=FACTOR"]),
        (["--ablate", "fc1_0", "--scale", "fc1[0]=2"], ["fc1_0 is named twice"]),
        (["--ablate", "fc1", "--scale", "fc1_9=2"], ["'fc1' is a layer", "units 0 to 4"]),
    ],
)
def test_what_if_of_bad_input(words: list[str], reasons: list[str], home: Home) -> None:
    """All that is wrong is told at once, before anything is read."""
    done = home("what-if", "results/net", *words)
    assert done.exit_code == 2 and not done.stdout
    assert all(reason in done.stderr for reason in reasons)


def test_what_if_without_programs(copied: Home) -> None:
    """Where everything is opaque there is nothing to compare."""
    path = copied.folder / "run" / "programs.json"
    content = json.loads(path.read_text())
    for row in content["units"]:
        row["program"] = None
    path.write_text(json.dumps(content))
    done = copied("what-if", "run", "--ablate", "fc1_0")
    assert done.exit_code == 2 and "run has no program: both networks are the same" in done.stderr


# diff


def test_runs_that_are_the_same(copied: Home, home: Home) -> None:
    """Nothing differs: exit 0 and a sentence."""
    done = copied("diff", home.folder / "results" / "net", "run")
    assert done.exit_code == 0 and "8 units are the same." in done.stdout


def test_what_differs(copied: Home, home: Home) -> None:
    """Texts, figures and held-out, before and after; other names of the same are no difference."""
    path = copied.folder / "run" / "programs.json"
    content = json.loads(path.read_text())
    for row in content["units"]:
        row["program"] = row["program"].replace("fc1_0", "edge")
        row["name"] = row["name"].replace("fc1_0", "edge")
    content["renamed"] = {"fc1_0": "edge"}
    first = content["units"][0]
    first |= {"program": "0.5", "bits": 9, "verdict": "unknown"}
    path.write_text(json.dumps(content))
    summary = json.loads((path.parent / "summary.json").read_text())
    (path.parent / "summary.json").write_text(json.dumps(summary | {"agreement": 0.5}))
    words = ("diff", home.folder / "results" / "net", "run")
    done = copied(*words, "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and found["same"] == 7
    assert found["figures"] == {"agreement": [1.0, 0.5]}
    (unit,) = found["units"]
    assert unit["name"] == "edge" and unit["changes"].keys() == {"program", "bits", "verdict"}
    assert unit["changes"]["bits"][1] == 9 and unit["changes"]["program"][1] == "0.5"
    shown = copied(*words).stdout
    assert "agreement  1 → 0.5" in shown and "- edge" in shown and "+ edge" in shown


def test_runs_of_two_networks(home: Home, seeing: Home) -> None:
    """They have nothing in common; a run that is none is told for both at once."""
    done = home("diff", "results/net", seeing.folder / "results" / "net")
    assert done.exit_code == 2 and "have no unit in common (fc1, fc2; conv1, out)" in done.stderr
    done = home("diff", "results/nets", "results/none")
    assert done.exit_code == 2 and "2 problems" in done.stderr and "Did you mean" in done.stderr


# kernels


def test_kernels_in_the_terminal(seeing: Home) -> None:
    """Unit, program and difference, on the scale of the largest weight; none of a dense layer."""
    done = seeing("show", "results/net", "conv1_0", "--json")
    kernels = json.loads(done.stdout)["kernels"]
    assert (kernels["rows"], kernels["columns"], kernels["of"]) == (3, 3, 1)
    assert max(map(abs, kernels["unit"] + kernels["program"])) == 127
    pairs = zip(kernels["unit"], kernels["program"], kernels["difference"], strict=True)
    assert all(abs(u - p - d) <= 1 for u, p, d in pairs)
    shown = seeing("show", "results/net", "conv1_0").stdout
    title = shown[shown.index("kernels: 9 is") :].splitlines()
    assert title[2].split() == ["unit", "program", "difference"]
    cells = [line.split() for line in title[3:6]]
    assert all(len(line) == 9 for line in cells)
    levels = [str(round(9 * v / 127) or "·") for v in kernels["unit"]]
    assert [cell for line in cells for cell in line[:3]] == levels
    assert "kernels" not in seeing("show", "results/net", "out_0").stdout


def test_a_drawing_fits() -> None:
    """Narrow terminals get one kernel below another, and of many channels the strongest."""
    levels = [0] * 9 + [127] * 9 + [3] * 9 + [-64] * 9
    kernels = {"rows": 3, "columns": 3, "channels": [0, 4, 5, 7], "of": 64, "scale": 0.5}
    kernels |= {"unit": levels, "program": None, "difference": None}
    text = drawing(kernels, 40)
    assert text.plain.startswith("kernels, 3 of 64 channels: 9 is 0.5; the program is not one sum")
    assert "  9  9  9" in text.plain and " -5 -5 -5" in text.plain
    assert max(map(len, drawing(kernels | {"program": levels}, 20).plain.split("\n")[1:])) <= 20


# doctor


def test_doctor_of_this_machine(home: Home) -> None:
    """A line for each thing; all that is needed is here, or the tests would not run."""
    done = home("doctor")
    assert done.exit_code == 0
    starts = [line.split()[:3] for line in done.stdout.splitlines()]
    for expected in (
        ["dependency", "torch", "ok"],
        ["device", "cpu", "ok"],
        ["engine", "linear", "ok"],
    ):
        assert expected in starts
    found = json.loads(home("doctor", "--json").stdout)
    assert found["well"] and {p["kind"] for p in found["parts"]} >= {"package", "python", "extra"}
    assert all(p["advice"] for p in found["parts"] if p["state"] != "ok")


def test_doctor_of_a_machine_that_lacks_something(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What every run needs is exit 1, with the command that mends it; an engine or an extra is a
    line with what it needs."""

    def version(name: str) -> str:
        if name in ("z3-solver", "ray"):
            raise PackageNotFoundError(name)
        return "0.1" if name == "rich" else "99.0"

    monkeypatch.setattr(doctor_rows, "version", version)
    monkeypatch.setattr("synth.engines.operon.find_spec", lambda _: None)
    done = home("doctor")
    lines = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert done.exit_code == 1
    assert "missing  pip install 'z3-solver>=" in lines["z3-solver"]
    assert "too old  pip install 'rich>=" in lines["rich"]
    assert "it needs pyoperon" in lines["operon"]
    assert "missing  pip install 'ray>=" in lines["ray"]


# JSON and completion


def commands(group: click.Group, path: str = "") -> list[tuple[str, click.Command]]:
    """Every command with its name, those of groups below too."""
    found = []
    for name, one in group.commands.items():
        below = commands(one, f"{path}{name} ") if isinstance(one, click.Group) else []
        found += below or [(f"{path}{name}", one)]
    return found


def documented() -> str:
    return (Path(__file__).parents[2] / "docs" / "commands.md").read_text()


def test_examples_are_commands() -> None:
    """`synth` takes the words of each; whether it prints what stands there depends on the run."""
    examples = [shlex.split(line) for line in re.findall(r"^\$ synth (.+)$", documented(), re.M)]
    known = dict(commands(main))
    assert len(examples) >= 18
    for words in examples:
        name = " ".join(words[:2]) if words[0] == "grammar" else words[0]
        known[name].make_context(name, words[len(name.split()) :])


def test_every_command_has_json() -> None:
    """And the same words of it; docs/commands.md has a place for each."""
    text = documented()
    for name, command in commands(main):
        (option,) = [p for p in command.params if "--json" in p.opts]
        assert isinstance(option, click.Option) and option.is_flag, name
        assert option.help and "docs/commands.md" in option.help, name
        assert f"synth {name}" in text, name


def test_json_is_all_that_is_printed(home: Home, copied: Home) -> None:
    """One document, also of commands that print a sentence."""
    checked = json.loads(home("check", "results/net", "--json").stdout)
    assert len(checked["accepted"]) == 8 and checked["rejected"] == []
    (freed,) = json.loads(copied("clean", "run", "--json").stdout)
    assert freed["folder"] == "run" and freed["freed"] >= 0
    named = json.loads(home("grammar", "list", "--json").stdout)
    assert {"relu", "gabor"} <= {one["name"] for one in named}
    one = json.loads(home("grammar", "show", "relu", "--json").stdout)
    assert "def relu" in one["source"] and one["signature"] == "(field) → field"
    done = home("grammar", "check", "mine.py", "broken.py", "--json")
    told = {row["name"]: row["ok"] for row in json.loads(done.stdout)}
    assert done.exit_code == 1 and told == {"soft_threshold": True, "hinge": False}
    ran = json.loads(home("run", "net.toml", "--json").stdout)  # it is finished: nothing is done
    assert ran == json.loads(home.bytes_of("results/net")["summary.json"])


def completed(words: str, home: Home) -> list[str]:
    """What bash is told of the last word."""
    code = (
        "import os\n"
        f"os.environ |= {{'_SYNTH_COMPLETE': 'bash_complete', 'COMP_WORDS': {words!r},\n"
        f"    'COMP_CWORD': '{len(words.split(' ')) - 1}'}}\n"
        "from synth.command import main\nmain(prog_name='synth')\n"
    )
    done = python("-c", code, cwd=home.folder)
    assert not done.stderr
    return [line.partition(",")[2] for line in done.stdout.split()]


def test_shells_complete(home: Home) -> None:
    """Commands, options and the units of the run that stands before."""
    assert completed("synth wh", home) == ["what-if"]
    assert "--ablate" in completed("synth what-if results/net --", home)
    assert completed("synth show results/net fc2", home) == ["fc2", "fc2_0", "fc2_1", "fc2_2"]
    assert completed("synth coarsest results/net fc2_", home) == ["fc2_0", "fc2_1", "fc2_2"]
    assert completed("synth tune results/net fc2_0 fc1_4", home) == ["fc1_4"]
    assert completed("synth show results/nothing fc2", home) == []


# What tables say


def test_long_candidates_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Among others a long program is its beginning, and it is said where the rest is."""
    figures = dict.fromkeys(("fvu_fit", "fvu_select", "worst", "bound"), 0.5)
    one = figures | {"bits": 9, "engine": "linear", "chosen": False}
    print_front({"name": "fc1_0"}, [one | {"program": "0.5*x_1"}])
    assert "0.5*x_1" in (short := capsys.readouterr().out) and "--json" not in short
    print_front({"name": "fc1_0"}, [one | {"program": " + ".join(["0.5*x_1"] * 200)}])
    told = capsys.readouterr().out
    assert 20 < told.count("x_1") < 40 and "--json has all of each" in told


def test_bits_of_own_primitives_are_said(home: Home) -> None:
    """Beside all bits, where programs use some; a run without any says nothing of them."""
    summary = json.loads(home("run", "net.toml", "--json").stdout)
    assert summary["bits_primitives"] == 0 and "primitives" not in source_rows(summary)["bits"]
    some = source_rows(summary | {"bits_primitives": 1234})["bits"]
    assert some.endswith("; 1,234 of them are the source of your primitives")


def test_one_is_no_plural() -> None:
    """What an engine did is said in words."""
    cost = {"proposed": 1, "seconds": 0.5, "reason": None}
    assert cost_text(cost) == "1 program in 0.5 s"
    assert cost_text(cost | {"proposed": 2}) == "2 programs in 0.5 s"
