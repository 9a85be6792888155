"""The checker accepts honest certificates of every form, alone and with nothing but Python."""

import ast
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from certified import CHANNELS, COLUMNS, HEADS, LABELS, ROWS, honest_layer

from oracles import checker, cover_checker
from oracles.certificate import CertifiedLayer, CertifiedUnit, write_certificates
from oracles.claims import AffineBank, Box, Claim, Proved, head_form
from oracles.cover_checker import check_all
from oracles.prove import prove_layer


def test_honest_certificates_are_accepted(folder):
    """All heads, all ways to write a term, two layers: every honest certificate passes."""
    report = check_all(folder)
    assert report.rejected == []
    assert report.accepted == LABELS


def test_each_head_of_another_form_is_checked_with_covers(tmp_path):
    """Equal heads that turn or saturate are accepted at the bound that was claimed."""
    heads = tuple(map(head_form, ("gelu", "silu", "hardsigmoid", "hardswish")))
    layer, certified = honest_layer("smooth", 3, heads)
    write_certificates(tmp_path, [layer], certified)
    report = check_all(tmp_path)
    assert (len(report.accepted), report.rejected) == (4, [])


def test_it_runs_alone(folder, tmp_path):
    """A copy of the file alone, without site packages, says the same of two-slope heads, and fails
    on a bad folder."""
    script = tmp_path / "checker.py"
    script.write_text(Path(checker.__file__).read_text())
    command = [sys.executable, "-I", "-S", str(script)]
    good = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    multiplied = checker.check(folder).accepted
    assert {*multiplied} == {*LABELS} - {f"conv1[{channel}]" for channel in (4, 5, 6, 7)}
    assert (good.returncode, good.stdout) == (
        0,
        f"{len(multiplied)} accepted, 0 rejected of those without covers\n",
    )
    bad = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "REJECTED certificates.json" in bad.stdout
    assert bad.stderr == ""


def test_the_checker_of_covers_needs_only_the_other(folder, tmp_path):
    """Copies of both files, without site packages, say the same of all heads."""
    package = tmp_path / "oracles"
    package.mkdir()
    for module in (checker, cover_checker):
        path = Path(str(module.__file__))
        (package / path.name).write_text(path.read_text())
    command = [sys.executable, "-E", "-S", "-m", "oracles.cover_checker", str(folder)]
    good = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (good.returncode, good.stdout) == (0, f"{len(LABELS)} accepted, 0 rejected\n")


@pytest.mark.parametrize("module", [checker, cover_checker], ids=lambda module: module.__name__)
def test_it_is_short_and_imports_only_the_standard_library(module):
    """Under 200 lines, standard library only: that is what makes it worth trusting."""
    source = Path(module.__file__).read_text()
    assert len(source.splitlines()) < 200
    imported = [
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    ]
    own = {"oracles.checker"} if module is cover_checker else set()
    assert set(imported) <= set(sys.stdlib_module_names) | own


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
