"""Corruptions of the files of a run: there is a report, and it accepts nothing spoilt."""

import hashlib
import json

import pytest
from certified import LABELS
from safetensors.numpy import save

from oracles import checker


def not_rehashed(run):
    run.rehash = False
    run.tensors["block.2.bias"] += 1


def whole(key, value):
    def corrupt(run):
        run.document[key] = value

    return corrupt


def raw_tensors(change):
    def corrupt(run):
        run.raw["units.safetensors"] = change(save(run.tensors))

    return corrupt


def raw_json(content):
    def corrupt(run):
        run.raw["certificates.json"] = content

    return corrupt


def other_files(run):
    run.rehash = False
    run.document["files"]["../units.safetensors"] = "0"


def key_twice(run):
    digest = hashlib.sha256(save(run.tensors)).hexdigest()
    body = json.dumps(run.document | {"files": {"units.safetensors": digest}})
    run.raw["certificates.json"] = body.replace('"epsilon":', '"epsilon": "9", "epsilon":').encode()


OF_THE_RUN = {
    "sha256 differs": not_rehashed,
    "another file": other_files,
    "format 2": whole("format", 2),
    "semantics float32": whole("semantics", "float32"),
    "layers no object": whole("layers", []),
    "certificates no list": whole("certificates", 5),
    "binary truncated": raw_tensors(lambda data: data[:-100]),
    "binary empty": raw_tensors(lambda data: b""),
    "binary with a huge header": raw_tensors(lambda data: b"\xff" * 8 + data[8:]),
    "binary with an odd header": raw_tensors(lambda data: data[:8] + b"[" + data[9:]),
    "binary with short tensors": raw_tensors(
        lambda data: data.replace(b'"data_offsets":[0,', b'"data_offsets":[9,')[: len(data) - 300]
    ),
    "json truncated": raw_json(b'{"format": 1, '),
    "json no object": raw_json(b"[]"),
    "json no text": raw_json(b"\xff\xfe\x00"),
    "json nested too deep": raw_json(b"[" * 100_000),
    "json key twice": key_twice,
}


@pytest.mark.parametrize("name", OF_THE_RUN)
def test_a_corrupted_run_never_crashes(run, tmp_path, name):
    """Whatever is wrong with the files, there is a report, and it accepts nothing spoilt."""
    OF_THE_RUN[name](run)
    report = run.check(tmp_path)
    assert report.rejected
    spoilt = {"binary with short tensors", "binary truncated"}  # what is whole may pass
    assert report.accepted == [] or name in spoilt
    assert len(report.accepted) < len(LABELS)


def test_a_missing_folder_is_rejected(tmp_path):
    """No files: a report that says so."""
    assert checker.check(tmp_path / "nowhere").rejected[0][0] == "certificates.json"
