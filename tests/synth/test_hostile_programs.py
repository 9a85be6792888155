"""Hostile exported programs (.pt2): nothing in them runs, and each is refused clearly."""

import contextlib
import copy
import json
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from archives import (
    Masked,
    bare,
    old_layout,
    parts,
    pickled,
    program,
    rewritten,
    saved,
    told,
    with_program,
    zipped,
)

from synth.formats import read_model


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """A folder that hostile files try to make; the test fails if it is there."""
    path = tmp_path / "harmed"
    yield path
    assert not path.exists()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return saved(Masked(), tmp_path, torch.rand(2, 1, 8, 8))


PICKLES = {
    "data/sample_inputs/model.pt": "it asks for posix.mkdir",
    "data/weights/model.pt": "it asks for posix.mkdir",
    "data/constants/model.pt": "it asks for posix.mkdir",
    "data/constants/custom_obj_0": "it is a pickled script object (TorchBind)",
    "data/constants/opaque_obj_0": "it is a pickled object",
    "data/aotinductor/model/model.so": "it is compiled code (AOTInductor)",
    "code/__torch__.py": "it is no part of a program that torch writes",
}


@pytest.mark.parametrize(("part", "expected"), PICKLES.items())
@pytest.mark.parametrize("make", [pickled, bare])
def test_hostile_parts_of_a_program(
    archive: Path, mark: Path, part: str, expected: str, make: Any
) -> None:
    """A pickle or a library in any place of the archive is refused by its name."""
    message = told(read_model, rewritten(archive, {part: make(mark)}))
    assert f"part '{part}'" in message
    assert expected in message or (make is bare and "is no plain file of tensors" in message)


@pytest.mark.parametrize("table", ["weights", "constants"])
def test_hostile_pickled_weights(archive: Path, mark: Path, table: str) -> None:
    """A weight that is declared to be a pickle is looked at before it is loaded."""
    config = f"data/{table}/model_{table}_config.json"
    entries = json.loads(parts(archive)[config])
    entry = next(iter(entries["config"].values()))
    entry["use_pickle"] = True
    part = f"data/{table}/{entry['path_name']}"
    changes = {config: json.dumps(entries).encode(), part: pickled(mark)}
    message = told(read_model, rewritten(archive, changes))
    assert f"part '{part}' is no plain file of tensors: it asks for posix.mkdir" in message


@pytest.mark.parametrize("name", ["state_dict", "constants", "example_inputs"])
def test_hostile_parts_of_the_old_layout(tmp_path: Path, mark: Path, name: str) -> None:
    """The four files of older versions are no way in either."""
    path = old_layout(Masked().eval(), tmp_path, torch.rand(2, 1, 8, 8))
    with zipfile.ZipFile(path) as archive:
        held = {n: archive.read(n) for n in archive.namelist()}
    held[f"serialized_{name}.pt"] = pickled(mark)
    with zipfile.ZipFile(path, "w") as archive:
        for part, data in held.items():
            archive.writestr(part, data)
    assert f"part 'serialized_{name}.pt' is no plain" in told(read_model, path)


def test_the_hostile_archives_are_hostile(archive: Path, tmp_path: Path) -> None:
    """torch's own loader runs what we refuse: else these tests would prove nothing."""
    mark = tmp_path / "made by torch"
    hostile = rewritten(archive, {"data/sample_inputs/model.pt": pickled(mark)})
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        torch.export.load(hostile)
    assert mark.exists()


TARGETS = [
    ("torch.os.mkdir", "is no operation of a tensor program"),
    ("torch.hub.load", "is no operation of a tensor program"),
    ("_operator.methodcaller", "is no operation of a tensor program"),
    ("#mine:op", "is no operation of a tensor program"),
    ("torch.ops.aten.from_file.default", "is no operation of networks"),
    ("torch.ops.aten.__class__.default", "is no operation of networks"),
    ("torch.ops.aten.linear.__init__", "is no operation of networks"),
    ("torch.ops.load_library.x.y", "is a custom operation"),
]


@pytest.mark.parametrize(("target", "expected"), TARGETS)
def test_hostile_operations(archive: Path, mark: Path, target: str, expected: str) -> None:
    """No name in a program reaches beyond torch's tensor operations."""
    changed = program(archive)
    node = changed["graph_module"]["graph"]["nodes"][1]
    node["target"] = target
    given = {"name": "path", "arg": {"as_string": str(mark)}, "kind": 1}
    node["inputs"] = [given]
    assert expected in told(read_model, with_program(archive, changed))


def test_hostile_texts_and_objects_in_arguments(archive: Path) -> None:
    """An argument is a number, a tensor or a known word; never a path, a graph or an object."""
    for argument, expected in (
        ({"as_string": "/etc/passwd"}, "'/etc/passwd' is none of the words"),
        ({"as_custom_obj": {"name": "o", "class_fqn": "c"}}, "its argument is custom_obj"),
        ({"as_operator": "torch.os.mkdir"}, "its argument is operator"),
    ):
        changed = program(archive)
        node = changed["graph_module"]["graph"]["nodes"][1]
        node["inputs"].append({"name": "padding", "arg": argument, "kind": 1})
        assert expected in told(read_model, with_program(archive, changed))


def test_code_in_the_names_and_sizes_of_a_program(archive: Path, mark: Path) -> None:
    """Names, symbolic sizes, guards and metadata are never evaluated, by us or by an export."""
    code = f"__import__('os').mkdir({str(mark)!r})"
    text = json.dumps(program(archive))
    changed = json.loads(
        text.replace('"expr_str": "s', f'"expr_str": {json.dumps(code)[:-1]} or s')
    )
    changed["guards_code"] = [code]
    graph = changed["graph_module"]["graph"]
    name = f"x={code}"
    renamed = json.loads(json.dumps(changed).replace('"name": "x"', f'"name": {json.dumps(name)}'))
    graph = renamed["graph_module"]["graph"]
    graph["tensor_values"][name] = graph["tensor_values"].pop("x")
    for node in graph["nodes"]:
        node["metadata"]["nn_module_stack"] = f"a,{code},b"
    network = read_model(with_program(archive, renamed))
    sample = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(network(sample), Masked().eval()(sample))
    shapes = ({0: torch.export.Dim("batch")},)
    again = torch.export.export(network, (sample,), dynamic_shapes=shapes)
    torch.testing.assert_close(again.module()(sample), network(sample))


def test_weights_never_read_beyond_their_bytes(archive: Path) -> None:
    """A shape that is larger than the data is refused, not filled from memory."""
    config = "data/weights/model_weights_config.json"
    entries = json.loads(parts(archive)[config])
    meta = entries["config"]["fc.weight"]["tensor_meta"]
    for key, value in (
        ("sizes", [{"as_int": 3}, {"as_int": 10**9}]),
        ("storage_offset", {"as_int": 9}),
    ):
        changed = copy.deepcopy(entries)
        changed["config"]["fc.weight"]["tensor_meta"] = meta | {key: value}
        path = rewritten(archive, {config: json.dumps(changed).encode()})
        assert "has 54 numbers, but claims the shape" in told(read_model, path)


def test_damaged_programs(archive: Path) -> None:
    """Missing parts and JSON of another form name the archive, in one sentence."""
    assert "lacks its part" in told(read_model, rewritten(archive, {"data/weights/weight_0": None}))
    for text in ("{", "[]", '{"schema_version": {"major": 8}}', "[" * 10**5):
        path = rewritten(archive, {"models/model.json": text.encode()})
        assert "is damaged: its program cannot be read" in told(read_model, path)
    changed = program(archive)
    changed["graph_module"]["graph"]["nodes"].reverse()
    assert "which nothing made" in told(read_model, with_program(archive, changed))
    models = {"models/second.json": b"{}"}
    assert "holds 2 programs, expected one" in told(read_model, rewritten(archive, models))


# zip archives


def test_hostile_zip_archives(archive: Path, tmp_path: Path) -> None:
    """Paths out of the archive, members twice, bombs and locks are refused before reading."""
    held = {f"net/{name}": data for name, data in parts(archive).items()}
    for name, expected in (
        ("/etc/cron.d/x", "'/etc/cron.d/x' is an absolute path"),
        ("C:/x", "'C:/x' is an absolute path"),
        ("net\\..\\x", "is an absolute path, or not written with '/'"),
        ("net/../../x", "'net/../../x' points out of the archive"),
    ):
        assert expected in told(read_model, zipped(tmp_path / "a.pt2", held | {name: b""}))
    bomb = zipped(tmp_path / "b.pt2", held | {"net/extra/x": bytes(10**7)}, compression=8)
    assert bomb.stat().st_size < 10**5
    assert "'net/extra/x' is compressed, which torch never does" in told(read_model, bomb)
    twice = zipped(tmp_path / "c.pt2", held)
    with zipfile.ZipFile(twice, "a") as again, pytest.warns(UserWarning):
        again.writestr("net/models/model.json", b"{}")
    assert "it holds 'net/models/model.json' 2 times" in told(read_model, twice)


def test_zip_archives_with_false_tables_of_contents(archive: Path, tmp_path: Path) -> None:
    """Encrypted members and sizes beyond the file's are seen in the table of contents."""
    data = bytearray(archive.read_bytes())
    entry = data.rindex(b"PK\x01\x02")  # the archive has others inside
    locked = bytearray(data)
    locked[entry + 8] |= 1
    (tmp_path / "l.pt2").write_bytes(locked)
    assert "is encrypted" in told(read_model, tmp_path / "l.pt2")
    large = bytearray(data)
    large[entry + 24 : entry + 28] = struct.pack("<I", 2**31)
    (tmp_path / "s.pt2").write_bytes(large)
    assert "its parts claim" in told(read_model, tmp_path / "s.pt2")
    for name, content in (("e.pt2", b""), ("n.pt2", b"no zip"), ("c.pt2", data[:1000])):
        (tmp_path / name).write_bytes(content)
        assert "is no readable zip archive" in told(read_model, tmp_path / name)
    (tmp_path / "i.pt2").write_bytes(data[:-100])  # the sample inputs inside are a zip too
    assert "does not begin with its first part" in told(read_model, tmp_path / "i.pt2")


def test_onnx_is_imported_for_onnx_files_only(archive: Path) -> None:
    """Reading a program does not wait for a library that it does not need."""
    code = (
        "import sys; from pathlib import Path; from synth.formats import read_model;"
        f"read_model(Path({str(archive)!r})); sys.exit('onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
