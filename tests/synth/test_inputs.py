"""Probes: what a reference may give, and every reason why it is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from synth.arrays import load_arrays
from synth.config import Config, load_config
from synth.errors import InputError
from synth.inputs import load_probes

SOURCE = """
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset
X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 0, 1])
def pair(): return X, np.array([0, 1, 0, 1])
def alone(): return torch.tensor(X, requires_grad=True)
def unlabelled(): return X, None
def three(): return X, X, X
def ragged(): return [[1, 2], [3]]
def drawn(): return torch.rand(4, 3), np.random.randint(0, 2, 4)
def half(): return torch.ones(4, 3, dtype=torch.bfloat16)
def fails(): raise ValueError("no data today")
def two(): return {"inputs": (X, X[:, :2]), "labels": Y}
def two_paired(): return (X, X[:, :2]), Y
def keys(): return {"x": X, "inputs": X}
def nothing(): return (), Y
def batches():
    for i in range(0, 4, 3): yield X[i : i + 3]
def pairs():
    for i in range(0, 4, 3): yield X[i : i + 3], Y[i : i + 3]
def dicts():
    for x, y in pairs(): yield {"inputs": (x, x[:, :2]), "labels": y}
def loader(): return DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=3)
def bytewise():
    for row in X: yield row[None].astype(np.uint8)
def drawn_in_batches():
    for _ in range(3): yield torch.rand(2, 3), np.random.randint(0, 2, 2)
def uneven():
    yield X
    yield X[:, :2]
def no_batch(): return iter([])
def holes_late():
    yield X
    yield np.full((4, 3), np.nan)
def fails_late():
    yield X
    raise ValueError("no more data")
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
    np.savez_compressed(tmp_path / "z.npz", x=x)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "bytes.npy", x.astype(np.uint8))
    np.save(tmp_path / "left.npy", x[:, :2])
    np.save(tmp_path / "three.npy", x[:3])
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no zip")
    torn = bytearray((tmp_path / "z.npz").read_bytes())
    torn[60:64] = b"torn"
    (tmp_path / "torn.npz").write_bytes(torn)
    return tmp_path


def config(folder: Path, **probes: str | list[str]) -> Config:
    lines = "\n".join(f"{key} = {value!r}" for key, value in probes.items())
    (folder / "c.toml").write_text(f'[network]\nfactory = "net.py:make"\n[probes]\n{lines}\n')
    return load_config(folder / "c.toml")


def told(folder: Path, **probes: str | list[str]) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        load_probes(config(folder, **probes))
    return caught.value.problems


WHOLE = ["d.npz:x", "z.npz:x", "x.npy", "bytes.npy", "d.py:alone", "d.py:pair", "d.py:X"]
IN_BATCHES = ["d.py:batches", "d.py:pairs", "d.py:loader", "d.py:bytewise"]
LABELLED = ("d.py:pair", "d.py:pairs", "d.py:loader")


@pytest.mark.parametrize("reference", WHOLE + IN_BATCHES)
def test_each_kind_of_reference(folder: Path, reference: str) -> None:
    """Files, arrays, tensors, generators and loaders of one content are the same probes."""
    probes = load_probes(config(folder, inputs=reference))
    (values,) = probes.inputs.batch()
    assert values.dtype == torch.float32
    assert torch.equal(values, torch.arange(12.0).reshape(4, 3))
    plain = load_probes(config(folder, inputs="x.npy")).inputs
    assert probes.inputs.digest() == plain.digest()
    labels = None if probes.labels is None else probes.labels.tolist()
    assert labels == ([0, 1, 0, 1] if reference in LABELLED else None)


@pytest.mark.parametrize("reference", ["d.npz:x", "z.npz:x", "x.npy", *IN_BATCHES])
def test_files_and_batches_are_mapped(folder: Path, reference: str) -> None:
    """What need not be in memory is not."""
    assert all(isinstance(a, np.memmap) for a in load_arrays(reference, folder).inputs)


SEVERAL = [
    "d.py:two",
    "d.py:two_paired",
    "d.py:dicts",
    ["x.npy", "left.npy"],
    ["d.py:X", "left.npy"],
]


@pytest.mark.parametrize("inputs", SEVERAL, ids=str)
def test_several_inputs(folder: Path, inputs: str | list[str]) -> None:
    """A tuple of arrays, at once or in batches, and a list of references are several inputs."""
    probes = load_probes(config(folder, inputs=inputs, labels="d.npz:y"))
    assert probes.inputs.shapes == ((3,), (2,))
    left, right = probes.inputs.batch()
    assert torch.equal(left[:, :2], right)
    assert torch.equal(left, torch.arange(12.0).reshape(4, 3))
    assert probes.labels is not None and probes.labels.tolist() == [0, 1, 2, 0]


def test_labels_come_from_any_of_several_references(folder: Path) -> None:
    """Of a list, the first function that gives labels gives those of all."""
    probes = load_probes(config(folder, inputs=["x.npy", "d.py:pair"]))
    assert probes.labels is not None and probes.labels.tolist() == [0, 1, 0, 1]


def test_labels_of_their_own_key_stand_above(folder: Path) -> None:
    """`labels` replaces what the function returns, as int64."""
    probes = load_probes(config(folder, inputs="d.py:pair", labels="d.npz:y"))
    assert probes.labels is not None
    assert probes.labels.dtype == torch.int64
    assert probes.labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(("reference", "value"), [("d.npz:pixels", 255.0), ("d.py:half", 1.0)])
def test_other_numbers_become_float32(folder: Path, reference: str, value: float) -> None:
    """Integer images and bfloat16 tensors are converted without loss."""
    (inputs,) = load_probes(config(folder, inputs=reference)).inputs.batch()
    assert inputs.dtype == torch.float32
    assert (inputs == value).all()


@pytest.mark.parametrize("name", ["drawn", "drawn_in_batches"])
def test_drawn_probes_are_the_same_each_time(folder: Path, name: str) -> None:
    """A function that draws at random gives one set, or a run could not be resumed."""
    first, second = (load_arrays(f"d.py:{name}", folder) for _ in range(2))
    assert np.array_equal(first.inputs[0], second.inputs[0])
    assert np.array_equal(first.labels, second.labels)  # type: ignore[arg-type]
    assert len(np.unique(first.inputs[0])) == first.inputs[0].size


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("d.npz:X2", "has no array 'X2'. Did you mean 'x'?"),
        (
            "d.npz:objects",
            "cannot be read as an array: Array can't be memory-mapped: Python objects",
        ),
        ("d.npz:holes", "has 2 NaN or infinite values (as float32), the first at (1, 2)"),
        ("d.npz:huge", "has 12 NaN or infinite values (as float32), the first at (0, 0)"),
        ("d.npz:words", "has type <U1, expected real numbers"),
        ("d.npz:flat", "has shape (4,), expected (N, ...)"),
        ("d.npz:nothing", "has shape (0, 3), expected (N, ...)"),
        ("broken.npy", "cannot be read as an array"),
        ("broken.npz:x", "cannot be read as an array: it is neither an .npy nor an .npz file"),
        ("torn.npz:x", "cannot be read as an array"),
        ("d.py:three", "gave a tuple of 3, expected inputs or (inputs, labels)"),
        ("d.py:ragged", "cannot be read as an array"),
        ("d.py:fails", "raised ValueError: no data today (line 14"),
        ("d.py:fails_late", "raised ValueError: no more data (line 39"),
        ("d.py:keys", "gave a dict of 'x', 'inputs', expected 'inputs' and maybe 'labels'"),
        ("d.py:nothing", "gave an empty tuple for its inputs"),
        ("d.py:uneven", "batch 1, counted from 0, gives inputs (n, 2) float64; the first gave"),
        ("d.py:no_batch", "gave no batch"),
        ("d.py:holes_late", "has 12 NaN or infinite values (as float32), the first at (4, 0)"),
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
    (problem,) = told(folder, inputs="x.npy", test_inputs=["x.npy", "left.npy"])
    assert "samples of shape (3,) and (2,), probes.inputs of (3,)" in problem


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


def test_problems_of_several_inputs_name_the_input(folder: Path) -> None:
    """Each array of a list is checked by itself, and all have as many samples."""
    problems = told(folder, inputs=["x.npy", "d.npz:holes", "d.npz:words", "three.npy"])
    assert [p.split(" has ")[0] for p in problems] == [
        "probes.inputs[1]",
        "probes.inputs[2]",
        "probes.inputs",
    ]
    assert "has 4, 4, 4, 3 samples, expected as many of each input" in problems[2]
    problems = told(folder, inputs=["d.npz:X2", "d.npz:W"], labels="d.py:two")
    assert len(problems) == 3
    assert "probes.labels: d.py:two gave 2 arrays, expected one" in problems[2]
