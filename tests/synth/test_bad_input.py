"""Bad input gives one message that lists every problem, exit code 2, and nothing is searched."""

from pathlib import Path

import pytest
from typed import BROKEN, CONFIG, Home, changed, project

LINES = {
    "net.py:network": 'factory = "net.py:network"',
    "net.py:probes": 'inputs = "net.py:probes"',
}


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
    "uneven batches": (
        changed("net.py:probes", "net.py:uneven_batches"),
        ["batch 1, counted from 0, gives inputs (n, 7) float32 and labels (n) int64", "(n, 6)"],
    ),
    "several outputs": (
        changed("net.py:network", "net.py:Two"),
        ["the network returns scores (2, 3), input (2, 6)", "network.output"],
    ),
    "no such control": (
        CONFIG + '[run]\ncontrols = ["rouding"]\n',
        ["run.controls = ['rouding'], expected a list of some of shuffled, random"],
    ),
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
        ["'fc2.weight' has 1 NaN", "390 labels", "engine 'quadratic'", "'hinge' in torch"],
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
    "run net.toml --grammar broken.py": ["'hinge' in torch"],
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


MEANINGLESS = {
    "k.floor": (
        BROKEN.replace("max(x, k.const(0.0))", "k.floor(x)"),
        ["primitive 'hinge' in torch", "no interpreter has k.floor", "more: synth grammar check"],
    ),
    "no torch, no interval": (
        BROKEN.replace("@primitive()", "@primitive(gaps=('torch', 'interval'))"),
        ["gaps may name rational, text, z3 and not ['interval', 'torch']"],
    ),
    "no body": (
        BROKEN.replace("    return max(x, k.const(0.0))\n", ""),
        ["primitive 'hinge' in torch: gives NoneType, expected a tensor"],
    ),
}


@pytest.mark.parametrize("name", MEANINGLESS)
def test_an_operator_without_interpreter_is_one_problem(name: str, tmp_path: Path) -> None:
    """It is told in one sentence before anything is searched."""
    home = project(tmp_path / "own")
    source, fragments = MEANINGLESS[name]
    (home.folder / "own.py").write_text(source)
    done = home("run", "net.toml", "--grammar", "own.py")
    assert done.exit_code == 2 and "1 problem" in done.stderr, done.stderr
    assert all(fragment in done.stderr for fragment in (*fragments, "own.py")), done.stderr
    assert not (home.folder / "results").exists()


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
