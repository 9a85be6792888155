"""The configuration: defaults, flags, and every mistake told at once with its place."""

import json
from pathlib import Path

import pytest

from synth.config import Config, load_config, select_layers
from synth.errors import InputError, Problems, nearest

SMALLEST = """
[network]
factory = "net.py:make"
[probes]
inputs = "data.npz:x"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("net.py", "data.npz", "w.safetensors", "mine.py"):
        (tmp_path / name).touch()
    return tmp_path


def read(folder: Path, text: str = SMALLEST, **overrides: object) -> Config:
    path = folder / "small.toml"
    path.write_text(text)
    return load_config(path, {key.replace("__", "."): v for key, v in overrides.items()})


def problems_of(folder: Path, text: str, **overrides: object) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        read(folder, text, **overrides)
    return caught.value.problems


def test_defaults(folder: Path) -> None:
    """Two keys are enough; the rest has the documented defaults."""
    config = read(folder)
    assert config.network.weights is None
    assert (config.probes.held_out, config.probes.select) == (0.3, 0.3)
    assert (config.search.max_fvu, config.search.max_error) == (0.05, 0.25)
    assert (config.search.layers, config.search.engines) == (("*",), ("linear",))
    assert (config.accept.margin, config.accept.max_kl) == (0.01, 0.01)
    assert (config.run.seed, config.run.jobs, config.run.quiet) == (0, 1, False)
    assert config.folder == folder


def test_out_defaults_to_results_where_one_works(folder: Path) -> None:
    """Without `out` the run goes to results/<stem> in the working folder."""
    assert read(folder).out == Path.cwd() / "results" / "small"


def test_out_in_the_file_is_relative_to_the_file(folder: Path) -> None:
    """Paths in the file start at its folder, a flag's at the working folder."""
    text = SMALLEST + '[run]\nout = "here"\n'
    assert read(folder, text).out == folder / "here"
    assert read(folder, text, run__out="there").out == Path.cwd() / "there"


def test_flags_stand_above_the_file(folder: Path) -> None:
    """An override wins; None and () are flags that were not given."""
    text = SMALLEST + '[run]\nseed = 3\njobs = 2\n[search]\nlayers = ["a"]\n'
    config = read(folder, text, run__seed=7, run__jobs=None, search__layers=())
    assert (config.run.seed, config.run.jobs, config.search.layers) == (7, 2, ("a",))


def test_a_flag_can_give_what_the_file_lacks(folder: Path) -> None:
    """A required key may come from an override."""
    config = read(folder, '[probes]\ninputs="data.npz:x"', network__factory=f"{folder}/net.py:make")
    assert config.network.factory == "net.py:make"


def test_a_path_flag_identifies_the_same_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--grammar` from another folder digests as the same path written in the file."""
    written = read(folder, SMALLEST + '[search]\ngrammar = ["mine.py"]\n')
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    flag = read(folder, search__grammar=("../mine.py",))
    assert flag.digest_fields() == written.digest_fields()


def test_digest_ignores_what_changes_no_result(folder: Path) -> None:
    """Jobs, out, quiet, controls and layers stay out of a run's identity; the seed is in."""
    plain = read(folder).digest_fields()
    same = read(folder, run__jobs=2, run__out="x", run__quiet=True, search__layers=("fc1",))
    assert same.digest_fields() == plain
    assert read(folder, run__controls=["random"]).digest_fields() == plain
    assert read(folder, run__seed=1).digest_fields() != plain
    assert json.loads(json.dumps(plain)) == plain


def test_weights_table(folder: Path) -> None:
    """Grammar weights come out sorted, as floats, and hashable."""
    config = read(folder, SMALLEST + "[search.weights]\nrelu = 2\nabs = 0.5\n")
    assert config.search.weights == (("abs", 0.5), ("relu", 2.0))
    assert config.digest_fields()["search"]["weights"] == {"abs": 0.5, "relu": 2.0}
    hash(config)


def test_several_inputs(folder: Path) -> None:
    """References stay in order and count in the identity; a list of one is that one."""
    two = read(folder, SMALLEST.replace('"data.npz:x"', '["data.npz:b", "data.npz:a"]'))
    assert two.probes.inputs == ("data.npz:b", "data.npz:a")
    fields = two.digest_fields()
    assert json.loads(json.dumps(fields)) == fields
    one = read(folder, SMALLEST.replace('"data.npz:x"', '["data.npz:x"]'))
    assert one.digest_fields() == read(folder).digest_fields()
    assert (
        "dat.npz does not exist" in problems_of(folder, SMALLEST, probes__inputs=["dat.npz:x"])[0]
    )


def test_controls_may_be_none(folder: Path) -> None:
    """All controls by default, in any selection, or an empty list."""
    assert len(read(folder).run.controls) == 4
    assert read(folder, SMALLEST + "[run]\ncontrols = []").run.controls == ()
    text = SMALLEST + '[run]\ncontrols = ["pruning", "shuffled"]'
    assert read(folder, text).run.controls == ("pruning", "shuffled")


BAD_VALUES = [
    ("test_inputs = []", "probes.test_inputs = [], expected 'FILE.py:FUNCTION', 'FILE.npz:KEY'"),
    ("test_inputs = ['a.npy', 'b.csv']", "or a list of them, one for each input of the network"),
    ("[run]\ncontrols = ['rouding']", "run.controls = ['rouding'], expected a list of some of sh"),
    ("[run]\ncontrols = 'random'", "run.controls = 'random', expected a list of some of shuffled"),
    ("[search]\nmax_fvu = 0", "search.max_fvu = 0, expected a number above 0 and at most 1"),
    ("[search]\nmax_fvu = nan", "search.max_fvu = nan, expected a number"),
    ("[search]\nmax_error = '0.1'", "search.max_error = '0.1', expected a number"),
    ("[search]\nmax_error = true", "search.max_error = True, expected a number"),
    ("[search]\nlayers = 'fc1'", "search.layers = 'fc1', expected a list of names"),
    ("[search]\nlayers = []", "search.layers = [], expected a list of names"),
    ("[search]\nengines = [1]", "search.engines = [1], expected a list of names"),
    ("[search]\nbudget = 0", "search.budget = 0, expected a whole number of at least 1"),
    ("[search]\nbudget = 1.5", "search.budget = 1.5, expected a whole number"),
    ("[search]\nweights = {relu = -1}", "search.weights = {'relu': -1}, expected a table"),
    ("[search]\ngrammar = ['mime.py']", "does not exist. Did you mean 'mine.py'?"),
    ("[accept]\nmargin = 1", "accept.margin = 1, expected a number above 0 and below 1"),
    ("[accept]\nmax_kl = -1", "accept.max_kl = -1, expected a number above 0"),
    ("[accept]\nmin_agreement = 99", "accept.min_agreement = 99, expected a number"),
    ("[run]\nseed = -1", "run.seed = -1, expected a whole number from 0"),
    ("[run]\njobs = true", "run.jobs = True, expected a whole number"),
    ("[run]\nquiet = 1", "run.quiet = 1, expected true or false"),
    ("[run]\nout = ''", "run.out = '', expected the path of a folder"),
    ("[run]\nsed = 1", "unknown key 'sed'. Did you mean 'seed'?"),
    ("[run]\nmax_fvu = 0.1", "unknown key 'max_fvu'. 'max_fvu' belongs in [search]."),
    ("[serch]\nmax_fvu = 0.1", "unknown table or key 'serch'. Did you mean 'search'?"),
    ("[search]\nweights = 3", "search.weights = 3, expected a table"),
]


@pytest.mark.parametrize(("text", "expected"), BAD_VALUES)
def test_bad_values(folder: Path, text: str, expected: str) -> None:
    """One mistake gives one problem with file, key, value and what was expected."""
    (problem,) = problems_of(folder, SMALLEST + text)
    assert str(folder / "small.toml") in problem
    assert expected in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [("factory", "net.py"), ("factory", "data.npz:x"), ("factory", 3), ("weights", "")],
)
def test_bad_network(folder: Path, key: str, value: object) -> None:
    """A reference of another form is told with the form that is expected."""
    (problem,) = problems_of(folder, SMALLEST, **{f"network__{key}": value})
    assert problem.startswith(f"command line: network.{key} = {value!r}, expected ")


def test_a_model_file_is_a_network(folder: Path) -> None:
    """A file may stand for a factory; the output that is judged has a name or an index."""
    (folder / "net.onnx").touch()
    text = SMALLEST.replace('factory = "net.py:make"', 'file = "net.onnx"\noutput = "scores"')
    network = read(folder, text).network
    assert (network.factory, network.file, network.source) == (None, "net.onnx", "net.onnx")
    assert network.output == "scores"
    assert read(folder, text, network__output=1).network.output == 1
    digests = [read(folder, text, network__output=n).digest_fields() for n in (None, 0, 1)]
    assert len({json.dumps(fields) for fields in digests}) == 3


def test_sources_that_exclude_each_other(folder: Path) -> None:
    """None, two, and weights beside a file are told with the keys that stand in the way."""
    (folder / "net.pt2").touch()
    (none,) = problems_of(folder, '[network]\n[probes]\ninputs = "data.npz:x"')
    assert "network.factory is missing, expected 'FILE.py:FUNCTION'; or network.file" in none
    both, weights = problems_of(
        folder, SMALLEST, network__file=str(folder / "net.pt2"), network__weights="w.safetensors"
    )[-2:]
    assert "the network has two sources; give only one of them" in both
    assert "stands beside network.file: a model file holds its own; leave it out" in weights


@pytest.mark.parametrize(
    ("key", "value"), [("file", "net.pkl"), ("file", 3), ("output", -1), ("output", True)]
)
def test_bad_model_files(folder: Path, key: str, value: object) -> None:
    """Another kind of file and an output that cannot be one are told with what is expected."""
    text = SMALLEST.replace('factory = "net.py:make"', 'file = "net.onnx"')
    (folder / "net.onnx").touch()
    (problem,) = problems_of(folder, text, **{f"network__{key}": value})
    assert problem.startswith(f"command line: network.{key} = {value!r}, expected the ")


def test_all_problems_at_once(folder: Path) -> None:
    """Mistakes of every kind come in one error, and the message has a line for each."""
    text = """
    seed = 3
    accept = 1
    [network]
    weights = "w.safetensor"
    [probes]
    inputs = "data.csv"
    test_labels = "data.npz:y"
    [search]
    max_fvu = 7
    """
    with pytest.raises(InputError) as caught:
        read(folder, text, run__sed=1)
    error = caught.value
    told = "\n".join(error.problems)
    for expected in (
        "'seed' belongs in [run]",
        "accept = 1, expected a table [accept]",
        "network.factory is missing, expected 'FILE.py:FUNCTION'",
        "Did you mean 'w.safetensors'?",
        "probes.inputs = 'data.csv', expected",
        "probes.test_labels: stands without probes.test_inputs",
        "search.max_fvu = 7",
        "command line: run.sed = 1: unknown key 'sed'. Did you mean 'seed'?",
    ):
        assert expected in told
    assert len(error.problems) == 8
    assert error.exit_code == 2
    assert str(error).startswith("8 problems with the input:\n  - ")


def test_unreadable_files(folder: Path) -> None:
    """A missing file, broken TOML and bytes that are no text are told as such."""
    read(folder)
    with pytest.raises(InputError, match=r"smal\.toml does not exist. Did you mean 'small.toml'"):
        load_config(folder / "smal.toml")
    with pytest.raises(InputError, match="is a folder"):
        load_config(folder)
    with pytest.raises(InputError, match="nor does its folder"):
        load_config(folder / "none" / "a.toml")
    assert "is not valid TOML" in problems_of(folder, "[run\n")[0]
    (folder / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not valid TOML"):
        load_config(folder / "bytes.toml")


def test_select_layers() -> None:
    """Globs keep the network's order; each pattern that matches nothing is a problem."""
    names = ["conv1", "conv2", "fc"]
    assert select_layers(["fc", "conv*"], names) == ("conv1", "conv2", "fc")
    assert select_layers(iter(["conv2"]), iter(names)) == ("conv2",)
    with pytest.raises(InputError) as caught:
        select_layers(["conv3", "x*", "fc"], names)
    assert len(caught.value.problems) == 2
    assert "Did you mean 'conv" in caught.value.problems[0]


def test_problems_collects_and_keeps_other_errors() -> None:
    """InputErrors join the collection, once each; any other exception passes untouched."""
    problems = Problems()
    with pytest.raises(InputError) as caught, problems:
        problems.add("a", "a")
        assert problems.attempt(int, "3") == 3
        assert problems.attempt(_raise, InputError("b")) is None
        _raise(InputError("a", "c"))
    assert caught.value.problems == ("a", "b", "c")
    with pytest.raises(KeyError), Problems() as problems:
        problems.add("a")
        _raise(KeyError("k"))


def _raise(error: Exception) -> None:
    raise error


def test_nearest() -> None:
    """The hint has the near name whatever its case, and the known names, not all of thousands."""
    assert nearest("FC1", ["fc1", "out"]) == " Did you mean 'fc1'? Known: fc1, out."
    assert nearest("zzz", ["fc1"]) == " Known: fc1."
    assert nearest("a", []) == " None is known."
    assert nearest("q", map(str, range(30))).endswith(" and 10 more.")
