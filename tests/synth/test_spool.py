"""Spools: batches of any number end up in one array on disk, and odd ones are told apart."""

import resource
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typed import python

from synth.batches import Inputs
from synth.errors import InputError
from synth.spool import Columns, spool


def rows(count: int, start: int = 0) -> dict[str, np.ndarray]:
    x = np.arange(start, start + 3 * count, dtype=np.float64).reshape(count, 3)
    return {"inputs": x, "labels": np.arange(count, dtype=np.uint8)}


def test_batches_are_joined_in_order() -> None:
    """Batches of any size, also none, become mapped arrays of their own dtype."""
    found = spool(iter([rows(2), rows(0), rows(5, 6), rows(1, 21)]), "here")
    assert np.array_equal(found["inputs"], np.arange(24.0).reshape(8, 3))
    assert found["labels"].tolist() == [0, 1, 0, 1, 2, 3, 4, 0]
    assert found["labels"].dtype == np.uint8
    assert all(isinstance(array, np.memmap) for array in found.values())


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        (
            {"inputs": np.zeros((2, 4)), "labels": np.zeros(2, np.uint8)},
            "here: batch 2, counted from 0, gives inputs (n, 4) float64 and labels (n) uint8; "
            "the first gave inputs (n, 3) float64 and labels (n) uint8.",
        ),
        (rows(2) | {"inputs": np.zeros((2, 3), np.float32)}, "gives inputs (n, 3) float32"),
        ({"inputs": np.zeros((2, 3))}, "gives inputs (n, 3) float64; the first gave"),
        (rows(2) | {"labels": np.zeros(3, np.uint8)}, "2, counted from 0, has 2 inputs, 3 labels"),
        (rows(2) | {"inputs": np.array([["a"]] * 2)}, "has inputs of type <U1, expected real"),
        (rows(2) | {"labels": np.array(1)}, "has a single number for labels, expected (n, ...)"),
    ],
)
def test_a_batch_unlike_the_first_is_named(batch: Columns, expected: str) -> None:
    """Another shape, dtype, set of columns or length is told with the number of the batch."""
    with pytest.raises(InputError) as caught:
        spool(iter([rows(3), rows(2), batch, rows(1)]), "here")
    assert expected in caught.value.problems[0]


def test_no_batches_are_a_problem() -> None:
    """A generator that gives nothing is told; one of empty batches is left to the checks."""
    with pytest.raises(InputError, match="here gave no batch"):
        spool(iter([]), "here")
    assert spool(iter([rows(0)]), "here")["inputs"].shape == (0, 3)


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no byte more can be written, the error says where and how to go elsewhere."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(InputError, match=r"here does not fit in .* variable TMPDIR") as caught:
            spool((rows(1000) for _ in range(50)), "here")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(tmp_path) in caught.value.problems[0]
    assert list(tmp_path.iterdir()) == []


LARGE = """
import resource
import numpy as np
from synth.inputs import check_inputs
from synth.spool import spool

def batches():
    for i in range(100):
        yield {"inputs": np.full((250, 2000), i, np.float32)}

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
inputs = check_inputs([spool(batches(), "here")["inputs"]], "probes.inputs")
total = sum(float(batch.double().sum()) for (batch,) in inputs.batches())
digest = inputs.take(np.arange(0, 25000, 2)).digest()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(len(inputs), total / 2000 / 250, len(digest), grown // 1024)
"""


def test_memory_holds_one_batch() -> None:
    """200 MB are spooled, checked, summed and hashed in a process that grows by less than 60."""
    done = python("-c", LARGE, cwd=Path(sys.modules["synth"].__path__[0]).parent)
    assert done.returncode == 0, done.stderr
    count, mean, digest, grown = done.stdout.split()
    assert (count, float(mean), digest) == ("25000", 4950.0, "32")
    assert int(grown) < 60


def test_what_is_allocated_is_one_batch() -> None:
    """Of 40 MB that pass, no more than a few batches are ever allocated."""

    def batches() -> Iterator[Columns]:
        for i in range(80):
            yield {"inputs": np.full((250, 500), i, np.float32)}

    tracemalloc.start()
    try:
        inputs = Inputs([spool(batches(), "here")["inputs"]])
        assert sum(len(batch[0]) for batch in inputs.batches()) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 250 * 500 * 4
