import ast
import copy
import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from oracles import checker
from oracles.certificate import CertifiedLayer, CertifiedUnit, write_certificates
from oracles.claims import AffineBank, Box, Claim, Proved, head_form
from oracles.prove import prove_layer

HEADS = (
    head_form("relu"),
    head_form("leaky_relu", {"slope": 0.01}),
    head_form("identity"),
    head_form("abs"),
    head_form("clip", {"low": 0.0, "high": 6.0}),
    head_form("sigmoid"),
    head_form("tanh"),
    head_form("prelu", {"slope": 1.5}),
)
ROWS, COLUMNS, CHANNELS = (-1, 0, 1), (0, 2), 4


def term(coefficient, tap, style):
    """One product in the four ways it may be written."""
    forms = (
        f"{coefficient!r}*{tap}",
        f"{tap}*{coefficient!r}",
        f"({coefficient!r})*({tap})",
        f"-({tap}*{-coefficient!r})",
    )
    return forms[style % 4]


def text_of(weights, bias, head, name="conv"):
    """A program's text: grouped sums of products, in a head."""
    taps = [
        f"{name}_{c}" if (dy, dx) == (0, 0) else f"shift({name}_{c}, dy={dy}, dx={dx})"
        for c in range(CHANNELS)
        for dy in ROWS
        for dx in COLUMNS
    ]
    taps = [tap.replace("dy=0, ", "").replace(", dx=0", "") for tap in taps]
    pairs = [(w, tap) for w, tap in zip(weights.tolist(), taps, strict=True) if w]
    terms = [term(w, tap, index) for index, (w, tap) in enumerate(pairs)]
    groups = [" + ".join(terms[k : k + 5]) for k in range(0, len(terms), 5)]
    affine = " + ".join([*(f"({group})" for group in groups), repr(bias)])
    params = "".join(f", {name}={value!r}" for name, value in head.params)
    return affine if head.op == "identity" else f"{head.op}({affine}{params})"


def honest_layer(name, seed, heads=HEADS):
    """A layer of one unit a head, its programs (weights on 2^-6), and what prove_layer says."""
    rng = np.random.default_rng(seed)
    units, inputs = len(heads), CHANNELS * len(ROWS) * len(COLUMNS)
    weight = rng.normal(size=(units, inputs)).astype(np.float32) / 4
    bias = rng.normal(size=units).astype(np.float32)
    lower = -rng.random(inputs)
    box = Box(lower, lower + 1.5)
    names = {f"conv_{channel}": channel for channel in range(CHANNELS)}
    layer = CertifiedLayer(name, weight, bias, box, names, CHANNELS, ROWS, COLUMNS, heads)
    rounded = AffineBank(np.round(weight * 64) / 64, np.round(bias * 64) / 64, heads)
    epsilons = [Fraction(1, 2)] * units
    verdicts = prove_layer(AffineBank(weight, bias, heads), rounded, box, epsilons)
    certified = []
    for channel, verdict in enumerate(verdicts):
        assert isinstance(verdict, Proved)
        program = rounded[channel]
        text = text_of(program.weights, program.bias, program.head)
        claim = Claim(epsilons[channel], "envelope")
        certified.append(CertifiedUnit(name, channel, text, claim, verdict))
    return layer, certified


@dataclass
class Run:
    """The files of a run, to be corrupted and checked again."""

    document: dict
    tensors: dict
    rehash: bool = True
    raw: dict = field(default_factory=dict)  # bytes that replace a file

    def unit(self, label):
        return next(c for c in self.document["certificates"] if c["unit"] == label)

    def check(self, folder):
        data = save(self.tensors)
        if self.rehash:
            digest = hashlib.sha256(self.raw.get("units.safetensors", data)).hexdigest()
            self.document["files"] = {"units.safetensors": digest}
        files = {
            "units.safetensors": data,
            "certificates.json": json.dumps(self.document).encode(),
            **self.raw,
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return checker.check(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    layers, units = zip(
        honest_layer("conv1", 1), honest_layer("block.2", 2, HEADS[:2]), strict=True
    )
    write_certificates(place, layers, [unit for group in units for unit in group])
    return place


@pytest.fixture
def run(folder):
    document = json.loads((folder / "certificates.json").read_text())
    tensors = load((folder / "units.safetensors").read_bytes())
    return Run(document, {name: tensor.copy() for name, tensor in tensors.items()})


LABELS = [*(f"conv1[{channel}]" for channel in range(len(HEADS))), "block.2[0]", "block.2[1]"]


def test_honest_certificates_are_accepted(folder):
    """All heads, all ways to write a term, two layers: every honest certificate passes."""
    report = checker.check(folder)
    assert report.rejected == []
    assert report.accepted == LABELS


def test_each_lipschitz_head_is_checked_with_its_constant(tmp_path):
    """Equal heads that turn or saturate are accepted at exactly the bound that was claimed."""
    heads = tuple(map(head_form, ("gelu", "silu", "hardsigmoid", "hardswish")))
    layer, certified = honest_layer("smooth", 3, heads)
    write_certificates(tmp_path, [layer], certified)
    report = checker.check(tmp_path)
    assert (len(report.accepted), report.rejected) == (4, [])


def test_it_runs_alone(folder, tmp_path):
    """A copy of the file alone, without site packages, says the same, and fails on a bad folder."""
    script = tmp_path / "checker.py"
    script.write_text(Path(checker.__file__).read_text())
    command = [sys.executable, "-I", "-S", str(script)]
    good = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, f"{len(LABELS)} accepted, 0 rejected\n")
    bad = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "REJECTED certificates.json" in bad.stdout
    assert bad.stderr == ""


def test_it_is_short_and_imports_only_the_standard_library():
    """Under 200 lines, standard library only: that is what makes it worth trusting."""
    source = Path(checker.__file__).read_text()
    assert len(source.splitlines()) < 200
    imported = [
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    ]
    assert set(imported) <= set(sys.stdlib_module_names)


# Corruptions of one unit: each takes the run and the certificate of conv1[0] (a relu).


def in_text(before, after):
    def corrupt(run, certificate):
        assert before in certificate["program"]
        certificate["program"] = certificate["program"].replace(before, after, 1)

    return corrupt


def text(program):
    def corrupt(run, certificate):
        certificate["program"] = program

    return corrupt


def put(key, value):
    def corrupt(run, certificate):
        certificate[key] = value

    return corrupt


def drop(key):
    def corrupt(run, certificate):
        del certificate[key]

    return corrupt


def shifted(key, by):
    def corrupt(run, certificate):
        certificate[key] = str(Fraction(certificate[key]) + by)

    return corrupt


def first_term(run, certificate, change):
    """Edit the first product of the program."""
    inner = certificate["program"].removeprefix("relu((")
    product, rest = inner.split(" + ", 1)
    certificate["program"] = f"relu(({change(product)} + {rest}"


def moved_coefficient(run, certificate):
    def change(product):
        number, tap = product.split("*")
        return f"{float(number) + 2**-40!r}*{tap}"

    first_term(run, certificate, change)


def dropped_term(run, certificate):
    first_term(run, certificate, lambda product: "0.0")


def doubled_term(run, certificate):
    first_term(run, certificate, lambda product: f"{product} + {product}")


def swapped_tap(run, certificate):
    first_term(run, certificate, lambda product: product.split("*")[0] + "*conv_3")


def bias_sign(run, certificate):
    program = certificate["program"]
    start = program.rindex(" + ")
    certificate["program"] = program[:start] + " - " + program[start + 3 :]


def multipliers(index, value):
    def corrupt(run, certificate):
        certificate["multipliers"][index] = value

    return corrupt


def other_multipliers(run, certificate):
    """Each is inside its interval, but gives another bound than the claimed one."""
    certificate["multipliers"] = ["1/3"] * 4


def swap_programs(run, certificate):
    other = run.unit("block.2[0]")
    certificate["program"], other["program"] = other["program"], certificate["program"]


def duplicate(run, certificate):
    run.document["certificates"].append(dict(certificate))


def epsilon_below(run, certificate):
    certificate["epsilon"] = str(Fraction(certificate["bound"]) - Fraction(1, 2**200))


def understated(run, certificate):
    bound = str(Fraction(certificate["bound"]) - Fraction(1, 2**80))
    certificate["bound"] = certificate["epsilon"] = bound


def both_heads(run, certificate):
    """A head swapped in the layer and in the certificate: then the bound is another."""
    head = {"op": "identity", "params": {}}
    certificate["head"] = run.document["layers"]["conv1"]["heads"][0] = head


OF_ONE_UNIT = {
    "coefficient moved by 2^-40": moved_coefficient,
    "term dropped": dropped_term,
    "term doubled": doubled_term,
    "tap swapped": swapped_tap,
    "bias sign": bias_sign,
    "multiplier above": multipliers(1, "1048577/1048576"),
    "multiplier below": multipliers(1, "-1/1048576"),
    "multiplier huge": multipliers(0, "9" * 3000),
    "multipliers others": other_multipliers,
    "multipliers three": put("multipliers", ["1", "1", "1"]),
    "multipliers five": put("multipliers", ["1"] * 5),
    "multipliers no list": put("multipliers", 1),
    "multiplier no text": multipliers(2, 0.5),
    "multiplier decimal": multipliers(2, "0.5"),
    "multiplier exponent": multipliers(2, "1e999999999"),
    "multiplier over zero": multipliers(2, "1/0"),
    "bound understated": understated,
    "bound overstated": shifted("bound", Fraction(1, 2**90)),
    "bound as float": put("bound", 0.1),
    "bound nan": put("bound", "nan"),
    "bound missing": drop("bound"),
    "epsilon below the bound": epsilon_below,
    "epsilon negative": put("epsilon", "-1/2"),
    "epsilon infinite": put("epsilon", "Infinity"),
    "epsilon null": put("epsilon", None),
    "head swapped": put("head", {"op": "identity", "params": {}}),
    "head swapped everywhere": both_heads,
    "head unknown": put("head", {"op": "gelu", "params": {}}),
    "head with a parameter": put("head", {"op": "relu", "params": {"slope": 0.0}}),
    "head no object": put("head", "relu"),
    "program head swapped": in_text("relu(", "abs("),
    "program head dropped": in_text("relu", ""),
    "program head negated": in_text("relu(", "-relu("),
    "program head inside": in_text("relu(", "relu(relu(conv_0) + "),
    "program head of two": in_text("relu(", "relu(1, "),
    "program head by attribute": in_text("relu(", "math.relu("),
    "program head with keyword": in_text("relu(", "relu(low=0, *"),
    "program of another unit": swap_programs,
    "program empty": text(""),
    "program constant": text("0.25"),
    "program infinite": text("relu(1e999)"),
    "program nan": text("relu(nan)"),
    "program complex": text("relu(1j*conv_0)"),
    "program of a bool": text("relu(True*conv_0)"),
    "program of a string": text("relu('0.5'*conv_0)"),
    "program bilinear": text("relu(conv_0*conv_1)"),
    "program quotient": text("relu(conv_0/2)"),
    "program power": text("relu(2**9999999*conv_0)"),
    "program huge integer": text("relu(" + "9" * 400 + "*conv_0)"),
    "program integer beyond floats": text(f"relu({2**53 + 1}*conv_0)"),
    "program too long an integer": text("relu(" + "9" * 9000 + "*conv_0)"),
    "program with an import": text("__import__('os').system('true')"),
    "program with a lambda": text("(lambda: conv_0)()"),
    "program with a walrus": text("(conv_0 := 1)"),
    "program with a statement": text("import os"),
    "program with a null": text("relu(conv_0\0)"),
    "program with a comment": text("relu(conv_0"),
    "program nested too deep": text("(" * 5000 + "conv_0" + ")" * 5000),
    "program of signs": text("relu(" + "-" * 100_000 + "conv_0)"),
    "program too long a chain": text("relu(" + " + ".join(["conv_0"] * 50_000) + ")"),
    "program no text": put("program", 7),
    "name unknown": in_text("conv_0", "conv_9"),
    "name of a sibling": in_text("conv_0", "pre(conv_0)"),
    "offset unknown": in_text("dy=-1", "dy=-2"),
    "offset not stated": in_text("dx=2", "dx=1"),
    "offset fractional": in_text("dx=2", "dx=1.5"),
    "offset text": in_text("dx=2", "dx='2'"),
    "offset twice": in_text("dx=2", "dx=2, dx=2"),
    "offset unpacked": in_text("dx=2", "**dx"),
    "offset keyword unknown": in_text("dx=2", "dz=2"),
    "shift of a shift": in_text("shift(conv_0", "shift(shift(conv_0, dy=1)"),
    "shift without a tap": in_text("shift(conv_0", "shift(1.0"),
    "named otherwise": put("unit", "conv1[1]"),
    "unit missing": drop("unit"),
    "channel missing": drop("channel"),
    "second certificate": duplicate,
}


@pytest.mark.parametrize("name", OF_ONE_UNIT)
def test_a_corrupted_certificate_is_rejected_alone(run, tmp_path, name):
    """The corrupted unit is rejected with a reason that names it; all untouched ones pass."""
    OF_ONE_UNIT[name](run, run.document["certificates"][0])
    report = run.check(tmp_path)
    rejected = dict(report.rejected)
    touched = {"conv1[0]", "block.2[0]"} if name == "program of another unit" else {"conv1[0]"}
    assert set(rejected) == ({"certificate 0"} if name == "channel missing" else touched)
    assert all(len(reason) > 10 for reason in rejected.values())
    survivors = {"conv1[0]"} if name == "second certificate" else set()
    assert set(report.accepted) == set(LABELS) - touched | survivors


# Corruptions of what several units share; all of conv1 falls, or everything.


def of_layer(key, value):
    def corrupt(run):
        run.document["layers"]["conv1"][key] = value

    return corrupt


def tensor(name, change):
    def corrupt(run):
        run.tensors[name] = change(run.tensors[name])

    return corrupt


def with_value(value):
    def change(array):
        array.flat[:] = value
        return array

    return change


def channel_alias(value):
    def corrupt(run):
        for certificate in run.document["certificates"][:8]:
            certificate["channel"] = value
            certificate["unit"] = f"conv1[{value}]"

    return corrupt


def names_rotated(run):
    run.document["layers"]["conv1"]["names"] = {f"conv_{c}": (c + 1) % 4 for c in range(4)}


def layer_missing(run):
    del run.document["layers"]["conv1"]


def tensor_missing(run):
    del run.tensors["conv1.lower"]


def raw_tensors(change):
    def corrupt(run):
        run.raw["units.safetensors"] = change(save(run.tensors))

    return corrupt


OF_A_LAYER = {
    "box narrowed": tensor("conv1.upper", lambda a: a - 0.125),
    "box shifted by an ulp": tensor("conv1.lower", lambda a: np.nextafter(a, 1)),
    "box empty": tensor("conv1.upper", lambda a: a - 100),
    "box infinite": tensor("conv1.upper", with_value(np.inf)),
    "box nan": tensor("conv1.lower", with_value(np.nan)),
    "box in float32": tensor("conv1.lower", lambda a: a.astype(np.float32)),
    "box too short": tensor("conv1.lower", lambda a: a[:-1]),
    "weights moved an ulp": tensor("conv1.weight", lambda a: np.nextafter(a, np.float32(9))),
    "weights nan": tensor("conv1.weight", with_value(np.nan)),
    "weights transposed": tensor("conv1.weight", lambda a: np.ascontiguousarray(a.T)),
    "weights in float64": tensor("conv1.weight", lambda a: a.astype(np.float64)),
    "weights rolled": tensor("conv1.weight", lambda a: np.roll(a, 1, axis=0)),
    "bias moved": tensor("conv1.bias", lambda a: a + np.float32(0.25)),
    "bias infinite": tensor("conv1.bias", with_value(np.inf)),
    "bias too long": tensor("conv1.bias", lambda a: np.append(a, a[:1])),
    "names rotated": names_rotated,
    "names out of range": of_layer("names", {f"conv_{c}": c + 100 for c in range(4)}),
    "names negative": of_layer("names", {f"conv_{c}": c - 4 for c in range(4)}),
    "names no object": of_layer("names", ["conv_0"]),
    "names fractional": of_layer("names", {f"conv_{c}": c + 0.5 for c in range(4)}),
    "rows reversed": of_layer("rows", [1, 0, -1]),
    "rows twice": of_layer("rows", [0, 0, 1]),
    "rows text": of_layer("rows", "abc"),
    "columns reversed": of_layer("columns", [2, 0]),
    "channels more": of_layer("channels", 5),
    "channels negative": of_layer("channels", -4),
    "channels text": of_layer("channels", "4"),
    "heads shorter": of_layer("heads", [{"op": "relu", "params": {}}]),
    "heads odd": of_layer("heads", [{"op": "mish", "params": {}}] * 8),
    "heads nan": of_layer("heads", [{"op": "prelu", "params": {"slope": float("nan")}}] * 8),
    "layer missing": layer_missing,
    "tensor missing": tensor_missing,
    "channel negative": channel_alias(-1),
    "channel too large": channel_alias(8),
    "channel a bool": channel_alias(True),
    "channel a float": channel_alias(1.0),
}


@pytest.mark.parametrize("name", OF_A_LAYER)
def test_a_corrupted_layer_falls_and_no_other(run, tmp_path, name):
    """What a layer's units share takes all of them down, with a reason each, and no others."""
    OF_A_LAYER[name](run)
    report = run.check(tmp_path)
    assert report.accepted == [label for label in LABELS if label.startswith("block.2")]
    assert len(report.rejected) == 8
    assert all(unit.startswith("conv1[") and reason for unit, reason in report.rejected)


def not_rehashed(run):
    run.rehash = False
    run.tensors["block.2.bias"] += 1


def whole(key, value):
    def corrupt(run):
        run.document[key] = value

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


@pytest.mark.parametrize("label", LABELS)
def test_mutants_of_every_head_are_rejected(run, tmp_path, label):
    """For every head: a bound less by 2^-100, another bias and another weight are all caught."""
    clean = run.unit(label)
    mutants = []
    for change in ("bound", "program", "head"):
        mutant = copy.deepcopy(run)
        certificate = mutant.unit(label)
        if change == "bound":
            certificate["bound"] = str(Fraction(clean["bound"]) - Fraction(1, 2**100))
        elif change == "program":
            certificate["program"] = clean["program"].replace("conv_1", "conv_2", 1)
        else:
            certificate["head"] = {"op": "clip", "params": {"low": 0.0, "high": 1.0}}
        mutants.append(mutant.check(tmp_path))
    assert [[unit for unit, _ in report.rejected] for report in mutants] == [[label]] * 3


def test_thousands_of_terms(tmp_path):
    """A dense program of 6,000 weights, in grouped sums, is read and accepted."""
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(1, 6000)).astype(np.float32)
    rounded = np.round(weight.astype(np.float64) * 256) / 256
    relu = (head_form("relu"),)
    box, names = Box(np.zeros(6000), np.ones(6000)), {f"x_{k}": k for k in range(6000)}
    bias = np.zeros(1, dtype=np.float32)
    layer = CertifiedLayer("fc", weight, bias, box, names, 6000, (0,), (0,), relu)
    banks = AffineBank(weight, bias, relu), AffineBank(rounded, bias, relu)
    (proof,) = prove_layer(*banks, box, [Fraction(100)])
    assert isinstance(proof, Proved)
    terms = [f"{w!r}*x_{k}" for k, w in enumerate(rounded[0].tolist()) if w]
    groups = [" + ".join(terms[k : k + 64]) for k in range(0, len(terms), 64)]
    program = "relu(" + " + ".join(f"({group})" for group in groups) + ")"
    unit = CertifiedUnit("fc", 0, program, Claim(Fraction(100), "sound"), proof)
    write_certificates(tmp_path, [layer], [unit])
    assert checker.check(tmp_path) == (["fc[0]"], [])


def test_constants_and_equal_programs(tmp_path):
    """A constant program, and one that is its unit (bound 0), are accepted too."""
    heads = (head_form("relu"), head_form("relu"))
    weight = np.array([[0.5, -0.25], [0.5, -0.25]], dtype=np.float32)
    bias, box = np.zeros(2, dtype=np.float32), Box(np.zeros(2), np.ones(2))
    layer = CertifiedLayer("fc", weight, bias, box, {"a": 0, "b": 1}, 2, (0,), (0,), heads)
    flat = AffineBank(
        np.array([[0.0, 0.0], [0.5, -0.25]]),
        np.array([0.25, 0.0]),
        (head_form("identity"), heads[1]),
    )
    proofs = prove_layer(AffineBank(weight, bias, heads), flat, box, [Fraction(1, 4), Fraction(0)])
    claims = Claim(Fraction(1, 4), "sound"), Claim(Fraction(0), "sound")
    units = []
    for channel, program in enumerate(("0.25", "relu(a*0.5 - 0.25*b)")):
        proof = proofs[channel]
        assert isinstance(proof, Proved)
        units.append(CertifiedUnit("fc", channel, program, claims[channel], proof))
    write_certificates(tmp_path, [layer], units)
    assert checker.check(tmp_path).accepted == ["fc[0]", "fc[1]"]


def test_the_writer_refuses_what_cannot_be_checked(tmp_path):
    """A solver's word has no certificate, sizes must agree, weights are float32."""
    layer, units = honest_layer("conv1", 1)
    proof = Proved("solver", Fraction(1))
    solver = CertifiedUnit("conv1", 0, "conv_0", units[0].claim, proof)
    with pytest.raises(ValueError, match=r"conv1\[0\] has no certificate"):
        write_certificates(tmp_path, [layer], [solver])
    with pytest.raises(ValueError, match="no unit"):
        write_certificates(tmp_path, [], units)
    parts = (layer.bias, layer.box, layer.names, CHANNELS, ROWS, COLUMNS, HEADS)
    with pytest.raises(ValueError, match="expected float32"):
        CertifiedLayer("conv1", layer.weight.astype(np.float64), *parts)
    with pytest.raises(ValueError, match="taps expect"):
        CertifiedLayer("conv1", layer.weight[:, 1:], *parts)
