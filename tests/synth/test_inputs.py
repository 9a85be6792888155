"""Probes: what a reference may give, and every reason why it is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from synth.config import Config, load_config
from synth.errors import InputError
from synth.inputs import load_array, load_probes

SOURCE = """
import numpy as np
import torch
X = np.arange(12.0).reshape(4, 3)
def pair(): return X, np.array([0, 1, 0, 1])
def alone(): return torch.tensor(X, requires_grad=True)
def unlabelled(): return X, None
def three(): return X, X, X
def ragged(): return [[1, 2], [3]]
def drawn(): return torch.rand(4, 3), np.random.randint(0, 2, 4)
def half(): return torch.ones(4, 3, dtype=torch.bfloat16)
def fails(): raise ValueError("no data today")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text("")
    (tmp_path / "d.py").write_text(SOURCE)
    x = np.arange(12, dtype=np.float64).reshape(4, 3)
    holes = x.copy()
    holes[1, 2] = np.nan
    holes[3, 0] = np.inf
    np.savez(
        tmp_path / "d.npz",
        x=x,
        y=np.array([0, 1, 2, 0], dtype=np.int32),
        holes=holes,
        huge=np.full((4, 3), 1e300),
        pixels=np.full((4, 3), 255, dtype=np.uint8),
        words=np.full((4, 3), "a"),
        objects=np.array([[None] * 3] * 4),
        flat=np.arange(4.0),
        nothing=np.zeros((0, 3)),
        wide=np.zeros((4, 5)),
        short=np.array([0, 1]),
        floats=np.array([0.0, 1, 2, 0]),
        onehot=np.eye(4, dtype=np.int64),
        minus=np.array([0, -1, -2, 0]),
        wrapped=np.array([0, 1, 2**64 - 1, 0], dtype=np.uint64),
    )
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no zip")
    return tmp_path


def config(folder: Path, **probes: str) -> Config:
    lines = "\n".join(f'{key} = "{value}"' for key, value in probes.items())
    (folder / "c.toml").write_text(f'[network]\nfactory = "net.py:make"\n[probes]\n{lines}\n')
    return load_config(folder / "c.toml")


def told(folder: Path, **probes: str) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        load_probes(config(folder, **probes))
    return caught.value.problems


@pytest.mark.parametrize("reference", ["d.npz:x", "x.npy", "d.py:alone", "d.py:pair", "d.py:X"])
def test_each_kind_of_reference(folder: Path, reference: str) -> None:
    """Files, functions of arrays, tensors or pairs, and plain arrays of a module all load."""
    probes = load_probes(config(folder, inputs=reference))
    assert probes.inputs.dtype == torch.float32
    assert torch.equal(probes.inputs, torch.arange(12.0).reshape(4, 3))
    assert (probes.labels is not None) == (reference == "d.py:pair")


def test_labels_of_their_own_key_stand_above(folder: Path) -> None:
    """`labels` replaces what the function returns, as int64."""
    probes = load_probes(config(folder, inputs="d.py:pair", labels="d.npz:y"))
    assert probes.labels is not None
    assert probes.labels.dtype == torch.int64
    assert probes.labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(("reference", "value"), [("d.npz:pixels", 255.0), ("d.py:half", 1.0)])
def test_other_numbers_become_float32(folder: Path, reference: str, value: float) -> None:
    """Integer images and bfloat16 tensors are converted without loss."""
    inputs = load_probes(config(folder, inputs=reference)).inputs
    assert inputs.dtype == torch.float32
    assert (inputs == value).all()


def test_drawn_probes_are_the_same_each_time(folder: Path) -> None:
    """A function that draws at random gives one set, or a run could not be resumed."""
    first, second = (load_array("d.py:drawn", folder) for _ in range(2))
    assert np.array_equal(first.values, second.values)
    assert np.array_equal(first.labels, second.labels)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("d.npz:X2", "has no array 'X2'. Did you mean 'x'?"),
        ("d.npz:objects", "cannot be read as an array: Object arrays cannot be loaded"),
        ("d.npz:holes", "has 2 NaN or infinite values (as float32), the first at (1, 2)"),
        ("d.npz:huge", "has 12 NaN or infinite values (as float32), the first at (0, 0)"),
        ("d.npz:words", "has type <U1, expected real numbers"),
        ("d.npz:flat", "has shape (4,), expected (N, ...)"),
        ("d.npz:nothing", "has shape (0, 3), expected (N, ...)"),
        ("broken.npy", "cannot be read as an array"),
        ("broken.npz:x", "cannot be read as an array"),
        ("d.py:three", "gave a tuple of 3, expected inputs or (inputs, labels)"),
        ("d.py:ragged", "cannot be read as an array"),
        ("d.py:fails", "raised ValueError: no data today (line 12"),
        ("d.py:pear", "has no 'pear'. Did you mean 'pair'?"),
    ],
)
def test_bad_inputs(folder: Path, inputs: str, expected: str) -> None:
    """One problem that says what is wrong, how often and where first."""
    (problem,) = told(folder, inputs=inputs)
    assert expected in problem


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("d.npz:short", "probes.labels has 2 labels for 4 inputs"),
        ("d.npz:floats", "has type float64, expected class numbers from 0"),
        ("d.npz:onehot", "has shape (4, 4), expected (4,)"),
        ("d.npz:minus", "2 are negative, the first at 1"),
        ("d.npz:wrapped", "1 are negative, the first at 2"),
        ("d.npz:words", "has type <U1"),
    ],
)
def test_bad_labels(folder: Path, labels: str, expected: str) -> None:
    """Length, form, type and range of labels are each checked."""
    assert any(expected in problem for problem in told(folder, inputs="x.npy", labels=labels))


def test_own_test_set(folder: Path) -> None:
    """A test set has the samples' shape, and labels if the probes have any."""
    probes = load_probes(config(folder, inputs="d.py:pair", test_inputs="d.py:pair"))
    assert probes.test_inputs is not None
    assert probes.test_labels is not None
    (problem,) = told(folder, inputs="d.py:pair", test_inputs="x.npy")
    assert "give probes.test_labels" in problem
    (problem,) = told(folder, inputs="x.npy", test_inputs="d.npz:wide")
    assert "samples of shape (5,), probes.inputs of (3,)" in problem


def test_all_problems_of_all_arrays_at_once(folder: Path) -> None:
    """A problem in one array hides none in another, and causes no second one."""
    problems = told(
        folder,
        inputs="d.npz:holes",
        labels="d.npz:short",
        test_inputs="d.npz:Wide",
        test_labels="d.npz:zz",
    )
    assert len(problems) == 4
    problems = told(folder, inputs="d.py:pair", test_inputs="x.npy", test_labels="d.npz:short")
    assert problems == ("probes.test_labels has 2 labels for 4 inputs.",)
