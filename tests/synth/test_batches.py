"""Samples: batches are the same from whatever they are read, and nothing is read too early."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from synth.batches import BATCH, HELD, Inputs, batch_size

PIXELS = np.random.default_rng(0).integers(0, 256, (600, 3, 2), dtype=np.uint8)


def mapped(array: np.ndarray, folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", array)
    return np.load(folder / "x.npy", mmap_mode="r")


FORMS: dict[str, Callable[[Path], object]] = {
    "uint8": lambda _: PIXELS,
    "uint8 mapped": lambda folder: mapped(PIXELS, folder),
    "float32": lambda _: PIXELS.astype(np.float32),
    "float64 mapped": lambda folder: mapped(PIXELS.astype(np.float64), folder),
    "big-endian mapped": lambda folder: mapped(PIXELS.astype(">f4"), folder),
    "column by column": lambda folder: mapped(np.asfortranarray(PIXELS), folder),
    "tensor": lambda _: torch.from_numpy(PIXELS).float().requires_grad_(),
}


@pytest.mark.parametrize("form", FORMS)
def test_batches_do_not_depend_on_the_form(form: str, tmp_path: Path) -> None:
    """Arrays, tensors and mapped files of one content give equal batches and one digest."""
    expected = Inputs([PIXELS.astype(np.float32)])
    found = Inputs([FORMS[form](tmp_path)])  # type: ignore[list-item]
    batches = list(found.batches())
    assert [len(batch[0]) for batch in batches] == [BATCH, BATCH, 88]
    for (x,), (y,) in zip(batches, expected.batches(), strict=True):
        assert x.dtype == torch.float32 and x.is_contiguous()
        assert torch.equal(x, y)
    assert found.digest() == expected.digest()


def test_digest_tells_contents_apart() -> None:
    """Another value, order, number of samples, shape or division into inputs is another digest."""
    x = np.arange(24.0).reshape(4, 6)
    changed = x.copy()
    changed[3, 5] += 1
    others = [
        Inputs([changed]),
        Inputs([x[::-1]]),
        Inputs([x[:3]]),
        Inputs([x.reshape(4, 2, 3)]),
        Inputs([x[:, :3], x[:, 3:]]),
        Inputs([x, x]),
    ]
    digests = {inputs.digest() for inputs in others} | {Inputs([x]).digest()}
    assert len(digests) == len(others) + 1


def test_taking_selects_samples_of_all_inputs(tmp_path: Path) -> None:
    """Samples are taken in any order, also of what was taken, from every input alike."""
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20)[:, None]
    taken = Inputs([mapped(x, tmp_path), y]).take(np.array([7, 3, 11])).take(np.array([2, 0]))
    assert len(taken) == 2 and taken.shapes == ((2,), (1,))
    left, right = taken.batch()
    assert left.tolist() == [[22, 23], [14, 15]] and right.tolist() == [[11], [7]]
    assert taken.digest() == Inputs([x[[11, 7]], y[[11, 7]]]).digest()


def test_inputs_have_one_length() -> None:
    """Arrays of different lengths, or none, are no samples."""
    with pytest.raises(ValueError, match=r"\[3, 4\] samples"):
        Inputs([np.zeros((3, 1)), np.zeros((4, 1))])
    with pytest.raises(ValueError, match="expected as many of each"):
        Inputs([])


def test_large_samples_run_in_smaller_batches() -> None:
    """A batch is a power of two that keeps to what may be held, from 1 to BATCH."""
    assert [batch_size(n) for n in (0, 1, HELD // BATCH)] == [BATCH] * 3
    assert batch_size(HELD // BATCH + 1) == BATCH // 2
    assert batch_size(HELD // 3) == 2
    assert batch_size(10 * HELD) == 1
    assert batch_size(8, held=24) == 2
    images = Inputs([np.broadcast_to(np.float32(0), (3, 3, 224, 224))])
    assert [len(batch[0]) for batch in images.batches()] == [2, 1]
