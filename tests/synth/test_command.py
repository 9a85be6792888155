"""The command as a user types it: exit codes, files, tables and one message for bad input."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from synth.command import main
from synth.folder import WRITTEN
from synth.progress import progress

NETWORK = """
import torch
from torch import nn


def network():
    module = nn.Sequential()
    module.add_module("fc1", nn.Linear(6, 5))
    module.add_module("relu", nn.ReLU())
    module.add_module("fc2", nn.Linear(5, 3))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
        module.fc1.weight[4] = -module.fc1.weight[1]
        module.fc1.bias[4] = -module.fc1.bias[1]
    return module


def probes():
    inputs = torch.rand(400, 6, generator=torch.Generator().manual_seed(5))
    return inputs, network()(inputs).argmax(1)


def raises():
    raise ValueError("no network today")


def not_finite():
    module = network()
    with torch.no_grad():
        module.fc2.weight[1, 2] = torch.nan
    return module


def with_nan():
    inputs, labels = probes()
    inputs[7, 3] = torch.nan
    return inputs, labels


def few():
    return probes()[0][:20]


def wide():
    return torch.rand(400, 7)


def words():
    return [["a", "b"]] * 400


def few_labels():
    inputs, labels = probes()
    return inputs, labels[:390]
"""

CONFIG = """
[network]
factory = "net.py:network"

[probes]
inputs = "net.py:probes"

[search]
budget = 250

[accept]
margin = 0.1
max_kl = 1e-6
"""

PRIMITIVE = '''
from grammars.primitive import Field, primitive, real


@primitive()
def soft_threshold(k, x: Field, *, width=real(0.0, 8.0, step=0.01, default=0.5)) -> Field:
    """sign(x) · max(|x| − width, 0), elementwise, the shape of x."""
    above = k.max(k.add(x, k.const(-width)), k.const(0.0))
    return k.add(above, k.min(k.add(x, k.const(width)), k.const(0.0)))
'''

BROKEN = '''
from grammars.primitive import Field, primitive


@primitive()
def hinge(k, x: Field) -> Field:
    """max(x, 0), elementwise, the shape of x."""
    return max(x, k.const(0.0))
'''


@dataclass(frozen=True)
class Home:
    """A user's folder, in which commands are typed."""

    folder: Path

    def __call__(self, *words: object, columns: int = 160) -> Result:
        """What `synth …` does here; an exception other than an exit is a failure of the test."""
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            runner = CliRunner(catch_exceptions=False, env={"COLUMNS": str(columns)})
            return runner.invoke(main, [str(w) for w in words])
        finally:
            os.chdir(before)

    def bytes_of(self, out: str) -> dict[str, bytes]:
        return {name: (self.folder / out / name).read_bytes() for name in WRITTEN}


def project(folder: Path, config: str = CONFIG) -> Home:
    folder.mkdir(exist_ok=True)
    files = {"net.py": NETWORK, "net.toml": config, "mine.py": PRIMITIVE, "broken.py": BROKEN}
    for name, text in files.items():
        (folder / name).write_text(text)
    return Home(folder)


@pytest.fixture(scope="module")
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


def edit(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def python(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, *words],
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,  # type: ignore[call-overload]
    )


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


# bad input

LINES = {
    "net.py:network": 'factory = "net.py:network"',
    "net.py:probes": 'inputs = "net.py:probes"',
}


def changed(old: str, new: str) -> str:
    assert old in CONFIG
    return CONFIG.replace(old, new)


BAD_CONFIGS = {
    "no TOML": ("[network\n", ["net.toml is not valid TOML"]),
    "unknown key": (CONFIG + "marign = 0.1\n", ["unknown key 'marign'", "'margin'"]),
    "unknown table": (CONFIG + "[serach]\n", ["unknown table or key 'serach'", "'search'"]),
    "no factory": (changed(LINES["net.py:network"], ""), ["network.factory is missing"]),
    "missing file": (changed("net.py:probes", "ned.py:probes"), ["ned.py does not", "'net.py'"]),
    "no function": (changed("net.py:probes", "net.py:prbes"), ["no 'prbes'", "'probes'"]),
    "factory raises": (
        changed("net.py:network", "net.py:raises"),
        ["raised ValueError: no network today", "(line 26: raise ValueError"],
    ),
    "weights lost": (
        changed("[probes]", 'weights = "net.safetensors"\n[probes]'),
        ["net.safetensors does not exist"],
    ),
    "NaN weights": (
        changed("net.py:network", "net.py:not_finite"),
        ["'fc2.weight' has 1 NaN", "(1, 2)"],
    ),
    "NaN probes": (changed("net.py:probes", "net.py:with_nan"), ["1 NaN", "(7, 3)"]),
    "few probes": (
        changed("net.py:probes", "net.py:few"),
        ["layer fc1: 20 probes leave 10 patches", "give at least", "layer fc2"],
    ),
    "wide probes": (changed("net.py:probes", "net.py:wide"), ["sample shape (7,)", "raised"]),
    "words": (changed("net.py:probes", "net.py:words"), ["expected real numbers"]),
    "labels": (changed("net.py:probes", "net.py:few_labels"), ["390 labels for 400 inputs"]),
    "several": (
        changed("budget = 250", 'budget = 0\nmax_fuv = 1\nweights = ["x"]').replace(
            "net.py:probes", "nets.py:probes"
        ),
        ["4 problems", "budget = 0", "max_fuv", "weights", "nets.py does not exist"],
    ),
    "several inside": (
        changed("net.py:network", "net.py:not_finite")
        .replace("net.py:probes", "net.py:few_labels")
        .replace("budget = 250", 'engines = ["quadratic"]\ngrammar = ["broken.py"]'),
        ["'fc2.weight' has 1 NaN", "390 labels", "engine 'quadratic'", "'hinge' in interval"],
    ),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_configurations(case: str, tmp_path: Path) -> None:
    """A bad configuration is one message on standard error, exit code 2, and no run folder."""
    config, fragments = BAD_CONFIGS[case]
    done = project(tmp_path, config)("run", "net.toml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert all(f in done.stderr for f in fragments), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


BAD_LINES = {
    "run nett.toml": ["nett.toml does not exist", "Did you mean 'net.toml'?"],
    "run": ["Missing argument 'CONFIG.toml'"],
    "runn net.toml": ["No such command 'runn'"],
    "run net.toml --jobs two": ["'two' is not a valid integer"],
    "run net.toml --jobs 0 --max-fvu -1": ["2 problems", "run.jobs = 0", "search.max_fvu = -1.0"],
    "run net.toml --job 1": ["No such option '--job'", "--jobs"],
    "run net.toml --set max_fvu=1": ["expected TABLE.KEY=VALUE"],
    "run net.toml --set search.max_fv=1": ["unknown key 'max_fv'", "'max_fvu'"],
    "run net.toml --layer fc3 --layer fc1": ["no layer is called or matches 'fc3'", "fc1, fc2"],
    "run net.toml --engine quadratic --layer fc3": ["2 problems", "'quadratic'", "'fc3'"],
    "run net.toml --grammar broken.py": ["'hinge' in interval"],
    "run net.toml --grammar min.py": ["min.py does not exist", "'mine.py'"],
    "run net.toml --out net.py": ["net.py"],
    "run net.toml --out results/net --seed 1": ["holds another run", "run.seed: 0 there, 1 here"],
    "show results/nett": ["results/nett does not exist", "'net'"],
    "show net.py": ["net.py is a file"],
    "show results": ["holds no run"],
    "show results/net fc3": ["no unit or layer 'fc3'", "'fc2'", "Known: fc1, fc2"],
    "show results/net fc1_9": ["no unit 'fc1_9'", "units 0 to 4"],
    "show results/net fc2[3]": ["no unit 'fc2[3]'", "units 0 to 2"],
    "check results": ["holds no run"],
    "validate nowhere": ["nowhere does not exist"],
    "validate results": ["holds no run"],
    "validate results/net --config nets.toml": ["nets.toml", "--config"],
    "grammar show rellu": ["no primitive is called 'rellu'", "'relu'"],
    "grammar list --grammar none.py": ["none.py does not exist"],
    "grammar check net.py": ["net.py declares no primitive"],
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_bad_command_lines(line: str, home: Home) -> None:
    """A mistake on the command line is one message and exit code 2, and the run stays as it was."""
    before = home.bytes_of("results/net")
    done = home(*line.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert all(f in done.stderr for f in BAD_LINES[line]), done.stderr
    assert home.bytes_of("results/net") == before


@pytest.mark.parametrize("command", ["show", "check", "validate"])
def test_unfinished_and_damaged_runs(command: str, copied: Home) -> None:
    """A run that was killed, and files that are no JSON or no run's, are told in a message."""
    programs = copied.folder / "run" / "programs.json"
    for text, fragment in (("{", "damaged"), ("[]", "damaged"), ('{"units": [{}]}', "damaged")):
        programs.write_text(text)
        done = copied(command, "run")
        assert done.exit_code == 2 and fragment in done.stderr, done.stderr
    programs.unlink()
    done = copied(command, "run")
    assert done.exit_code == 2 and "is not finished" in done.stderr
    (copied.folder / "run" / "store.sqlite").write_bytes(b"not a database" * 99)
    done = copied(command, "run")
    assert done.exit_code == 2 and "no store" in done.stderr


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
    assert "soft_threshold" in listed and "leaky_relu" in listed
    assert "soft_threshold" not in home("grammar", "list").stdout
    shown = home("grammar", "show", "soft_threshold", "--grammar", "mine.py").stdout
    assert "(field, width=0.5) → field" in shown and "def soft_threshold" in shown
    checked = home("grammar", "check", "mine.py")
    assert (checked.exit_code, checked.stdout) == (0, "soft_threshold: ok\n")
    broken = home("grammar", "check", "mine.py", "broken.py")
    assert broken.exit_code == 1
    assert "soft_threshold: ok" in broken.stdout and "hinge: BROKEN" in broken.stdout


# the README


def written_in_readme(name: str) -> str:
    """The block of README.md that begins with the comment `# name`."""
    text = (Path(__file__).parents[2] / "README.md").read_text()
    return text.split(f"\n# {name}\n")[1].split("```")[0]


def test_the_readme_works(tmp_path: Path) -> None:
    """The network and the primitive of the README are accepted as they stand there."""
    for name in ("tumours.py", "tumours.toml", "mine.py"):
        (tmp_path / name).write_text(written_in_readme(name))
    assert python("tumours.py", cwd=tmp_path).returncode == 0
    home = Home(tmp_path)
    flags = ("--layer", "2", "--set", "search.budget=20", "--grammar", "mine.py")
    assert home("run", "tumours.toml", *flags).exit_code in (0, 1)
    assert home("show", "results/tumours", "m2_1").exit_code == 0
    assert home("show", "results/tumours", "2_1").exit_code == 0
    assert home("grammar", "check", "mine.py").stdout == "soft_threshold: ok\n"


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
