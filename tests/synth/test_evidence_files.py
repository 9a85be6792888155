"""Evidence comes back from files as it was, mapped, and nothing of it stays behind."""

import errno
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from small import HEADS, dense_evidence, dense_layer, random_probes

from synth import evidence_files
from synth.disk import Stopped
from synth.evidence import LayerEvidence


@pytest.fixture(scope="module")
def evidence() -> LayerEvidence:
    weights = np.random.default_rng(0).standard_normal((len(HEADS), 4))
    layer = dense_layer(list(weights), [0.1] * len(HEADS), list(HEADS))
    return dense_evidence(layer, random_probes((4,), fit=80, select=30))


def parts(value, name=""):
    """(dotted name, value) of every field that is no dataclass."""
    if not is_dataclass(value):
        return [(name, value)]
    return [p for f in fields(value) for p in parts(getattr(value, f.name), f"{name}.{f.name}")]


def test_evidence_comes_back(evidence, tmp_path) -> None:
    """Every field of every part is equal in type, shape and bits, and no array can be changed."""
    back = evidence_files.read(evidence_files.write(evidence, tmp_path / "new" / "folder"))
    for (name, before), (_, after) in zip(parts(evidence), parts(back), strict=True):
        if not isinstance(before, np.ndarray):
            assert (type(before), before) == (type(after), after), name
            continue
        assert (before.dtype, before.shape) == (after.dtype, after.shape), name
        assert before.tobytes() == after.tobytes() and not after.flags.writeable, name
    assert isinstance(back.patches.base, np.memmap)
    layer = evidence.layer
    assert evidence_files.read(tmp_path / "new" / "folder", layer).layer is layer


def test_any_array_is_kept(evidence, tmp_path) -> None:
    """Other orders, types and no rows at all are kept; an object is refused, and never pickled."""
    for patches in (
        np.asfortranarray(evidence.patches),
        evidence.patches[::2, 1:],
        evidence.patches[:0],
        evidence.patches > 0,
    ):
        changed = replace(evidence, patches=patches)
        back = evidence_files.read(evidence_files.write(changed, tmp_path)).patches
        assert back.dtype == patches.dtype and np.array_equal(back, patches)
    with pytest.raises(TypeError, match=r"evidence.patches is of type set"):
        evidence_files.write(replace(evidence, patches={1}), tmp_path)
    with pytest.raises(TypeError, match=r"evidence.patches holds objects"):
        evidence_files.write(replace(evidence, patches=np.array([{}])), tmp_path)


def test_removing(evidence, tmp_path) -> None:
    """Evidence is removed without a trace; a folder that holds anything more stays with it."""
    folder = evidence_files.write(evidence, tmp_path / "a")
    assert {p.suffix for p in folder.iterdir()} == {".npy", ".json"}
    evidence_files.remove(folder)
    assert not folder.exists()
    evidence_files.write(evidence, folder)
    (folder / "mine.npy").touch()
    evidence_files.remove(folder)
    assert [p.name for p in folder.iterdir()] == ["mine.npy"]


def test_a_full_disk(evidence, tmp_path, monkeypatch) -> None:
    """A disk that is full is told as that, with the folder and what to do."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evidence_files, "_save", full)
    with pytest.raises(Stopped, match="Make room there and give the same command") as caught:
        evidence_files.write(evidence, tmp_path / "a")
    assert str(Path(tmp_path / "a")) in str(caught.value)
