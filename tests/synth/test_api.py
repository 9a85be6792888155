"""`import synth`: the same runs as the command's, from and into memory."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from typed import NETWORK, Home, python

import synth
from synth.api.given import Given, write_given
from synth.api.settings import keys
from synth.config import load_config
from synth.errors import InputError
from synth.inputs import load_probes

HERE: dict[str, Any] = {}
exec(NETWORK, HERE)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> synth.Run:
    """The run of the fixture `home`, made from a module and tensors; without its controls."""
    out = tmp_path_factory.mktemp("api") / "results" / "net"
    settings: synth.Settings = {"budget": 250, "margin": 0.1, "max_kl": 1e-6, "controls": ()}
    return synth.run(HERE["network"]().train(), HERE["probes"](), out=out, **settings)


def test_it_is_the_run_of_the_command(made: synth.Run, home: Home) -> None:
    """The same network, probes and settings give the same programs to the byte."""
    files = (made.folder, home.folder / "results" / "net")
    ours, theirs = ((folder / "programs.json").read_bytes() for folder in files)
    assert ours == theirs and made.verdict == "drop-in"


def test_layers_units_and_fronts(made: synth.Run) -> None:
    """Units are found by name and by channel, and the chosen candidate is what the unit says."""
    assert list(made) == ["fc1", "fc2"] and len(made["fc1"]) == 5
    unit = made["fc1"][4]
    assert unit is made["fc1"]["fc1_4"] and unit.channel == 4
    assert unit.row == made.unit("fc1[4]").row
    assert unit.front.chosen is not None and unit.front.chosen.program == unit.program
    assert [c.bits for c in unit.front[:-1]] == sorted(c.bits for c in unit.front[:-1])
    assert unit.bound is not None and unit.bound <= unit.epsilon


def test_the_replacement_answers_as_the_source_does(made: synth.Run) -> None:
    """`replacement()` is what `decompiled.py` computes, near the original; all take batches."""
    inputs = HERE["probes"]()[0][:50]
    written: dict[str, Any] = {
        "__file__": str(made.folder / "decompiled.py"),
        "__name__": "written",
    }
    exec(compile(made.source, "decompiled.py", "exec"), written)
    with torch.no_grad():
        replaced, original = made.replacement()(inputs), made.original()(inputs)
        torch.testing.assert_close(replaced, written["forward"](inputs), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(original, HERE["network"]()(inputs), rtol=0, atol=0)
    assert (replaced.argmax(1) == original.argmax(1)).float().mean() > 0.95


def test_commands_take_its_folder(made: synth.Run, tmp_path: Path) -> None:
    """Moved elsewhere, the folder is shown, checked, validated, reported, and cleaned whole."""
    out = shutil.copytree(made.folder, tmp_path / "moved")
    assert Home(tmp_path)("check", "moved").exit_code == 0
    assert Home(tmp_path)("validate", "moved").exit_code == 0
    again = synth.open(out)
    page = again.report()
    assert page.path.exists() and not page.notes and again.check() == {}
    assert Home(tmp_path)("clean", "--all", "--yes", "moved").exit_code == 0
    assert not out.exists()


def test_what_a_notebook_shows(made: synth.Run) -> None:
    """Everything has a table or a text, in which names are no markup."""
    unit = made["fc1"][0]
    shown = (
        made,
        made["fc1"],
        unit,
        unit.front,
        unit.front[0],
        made.source,
        made.report(probes=False),
    )
    for one in shown:
        text = one._repr_html_()
        assert text.startswith(("<table>", "<pre>")) and len(repr(one)) > 5
    assert "></th>" not in shown[-1]._repr_html_()  # no line without a name
    hostile = synth.Candidate("<script>", 1, None, None, None, None, "none", False)
    assert "<script>" not in hostile._repr_html_() and "&lt;script&gt;" in hostile._repr_html_()


def test_settings_are_the_keys_of_the_configuration() -> None:
    """Each key that no other argument stands for is a typed setting, and no other."""
    assert set(get_type_hints(synth.Settings)) == set(keys())


def written(tmp_path: Path, probes: object, net: object = None, test: object = None) -> Any:
    """The probes that a configuration reads which was written from what is in memory."""
    given = Given(net or HERE["network"](), probes, test)
    return load_probes(load_config(write_given(tmp_path, given)))


def _batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    yield HERE["probes"]()[0][:150], HERE["probes"]()[1][:150]
    yield HERE["probes"]()[0][150:], HERE["probes"]()[1][150:]


def _loader() -> object:
    return DataLoader(TensorDataset(*HERE["probes"]()), batch_size=64)


@pytest.mark.parametrize("make", [HERE["probes"], _batches, _loader])
def test_probes_of_any_form(tmp_path: Path, make: Callable[[], object]) -> None:
    """Tensors, a generator and a DataLoader are the same probes, in order."""
    inputs, labels = HERE["probes"]()
    found = written(tmp_path, make())
    np.testing.assert_array_equal(found.inputs.batch()[0], inputs)
    np.testing.assert_array_equal(found.labels, labels)


def test_references_are_read_where_they_are(tmp_path: Path) -> None:
    """Named files are not copied; a network of two inputs takes a list of them."""

    class Sum(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a + b

    np.save(tmp_path / "x.npy", np.ones((9, 2), np.float32))
    np.save(tmp_path / "y.npy", np.zeros(9, np.int64))
    given = tmp_path / "given"
    given.mkdir()
    found = written(given, ([tmp_path / "x.npy"] * 2, tmp_path / "y.npy"), Sum())
    assert found.inputs.shapes == ((2,), (2,)) and len(found.labels) == 9
    assert sorted(p.name for p in given.iterdir()) == ["network.pt2", "run.toml"]


def test_another_network_leaves_the_folder_alone(made: synth.Run) -> None:
    """Refused as by the command, and the folder keeps its own network."""
    before = (made.folder / "given" / "network.pt2").read_bytes()
    other = HERE["network"]()
    nn.init.ones_(other.fc2.bias)
    with pytest.raises(InputError, match="another"):
        synth.run(other, HERE["probes"](), out=made.folder, budget=250)
    assert (made.folder / "given" / "network.pt2").read_bytes() == before
    assert [p.name for p in made.folder.parent.iterdir()] == ["net"]


def test_all_problems_at_once(tmp_path: Path) -> None:
    """What is wrong with the network, the probes and the test set is one message; nothing stays."""
    with pytest.raises(InputError) as caught:
        synth.run(3, np.ones(4), test="no.npy", out=tmp_path / "run")  # type: ignore[arg-type]
    told = "\n".join(caught.value.problems)
    assert "of type int" in told and "shape (4,)" in told and "no.npy" in told
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"no setting 'buget'\. Did you mean 'budget'"):
        synth.run(HERE["network"](), HERE["probes"](), buget=3)  # type: ignore[call-arg]


def test_unknown_names_are_key_errors(made: synth.Run) -> None:
    """Mappings behave as such, and the message has the near names."""
    assert "fc3" not in made and made.get("fc3") is None
    with pytest.raises(KeyError, match="Did you mean 'fc2'"):
        made["fc3"]
    with pytest.raises(InputError, match="no unit 'fc1_9'"):
        made["fc1"]["fc1_9"]


def test_importing_is_quick() -> None:
    """`import synth`, and what a finished run needs, import no numeric library."""
    code = "import synth, sys; synth.open; assert not {'torch', 'numpy', 'z3'} & set(sys.modules)"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
