"""Claims, certificates and controls of programs with kernels."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import chosen, evidence_of, random_probes, read
from torch import nn

from grammars.coding import program_bits
from grammars.compiled import compile_bank
from grammars.grammar import Grammar, load_grammar
from grammars.program import Node, bank, call, linear, tap, walk
from oracles.checker import check
from oracles.claims import Proved
from synth.assembly import LayerChoice, names_of, source_bits, source_index
from synth.controls import random_program
from synth.evidence import Ranges
from synth.proofs import prove_choices, save_certificates
from synth.unfolding import unfolded

IMAGE = "input_1"
RED, GREEN, BLUE = (tap(IMAGE, c) for c in range(3))


@cache
def grammar() -> Grammar:
    return load_grammar(tags=("core", "kernel", "colour"), installed=False)


def conv(source: Node, name: str, **changed: Any) -> Node:
    parameters = grammar()[name].parameters
    kernel = call(name, **{n: changed.get(n, spec.default) for n, spec in parameters})
    return call("conv", kernel, source)


LIGHT = call("luminance", bank(IMAGE, 3), bgr=0)
PROGRAMS = (
    call("relu", linear([(0.75, conv(LIGHT, "gabor", angle=45.0)), (0.5, RED)], -0.125)),
    call("relu", linear([(-1.0, tap("0:pre", 0))])),
    call("relu", conv(linear([(0.5, GREEN), (-0.25, BLUE)]), "line", angle=30.0)),
    call("relu", linear([(0.5, conv(GREEN, "edge")), (1.0, tap(IMAGE, 1, -1, 0))])),
)


Case = tuple[LayerChoice, dict[str, Ranges]]


@pytest.fixture(scope="module")
def case() -> Case:
    """A layer whose units are nearly the programs, and the envelope of its sources."""
    module = nn.Sequential(nn.Conv2d(3, len(PROGRAMS), (5, 4), stride=2, padding=1), nn.ReLU())
    network = read(module, (3, 8, 8))
    layer = network.layers[0]
    choice = chosen(layer, PROGRAMS)
    rows = compile_bank(choice.expanded(grammar()), source_index(choice.scope), grammar())
    noise = np.random.default_rng(0).standard_normal(rows.weight.shape) / 256
    with torch.no_grad():
        conv_ = module[0]
        conv_.weight.copy_(torch.from_numpy(rows.weight + noise).reshape(conv_.weight.shape))
        conv_.bias.copy_(torch.from_numpy(rows.bias))
    network, probes = read(module, (3, 8, 8)), random_probes((3, 8, 8))
    ranges = {name: e.ranges for name, e in evidence_of(network, probes).items()}
    return chosen(network.layers[0], PROGRAMS), ranges


@pytest.fixture
def folder(case: Case, tmp_path: Path) -> Path:
    """The certificates of all programs, each proved twice."""
    choice, ranges = case
    proofs = prove_choices([choice], ranges, grammar(), max_error=0.25)
    assert all(isinstance(p.verdict, Proved) and p.verdict.trust == "checked" for p in proofs)
    assert all(isinstance(p.smt, Proved) for p in proofs)
    names = names_of([choice.layer], grammar())
    save_certificates(tmp_path, [choice], ranges, proofs, names, grammar())
    return tmp_path


def test_certificates_are_accepted(folder: Path) -> None:
    """The checker knows sums of taps alone, and accepts what it is told of kernels."""
    report = check(folder)
    assert not report.rejected and report.accepted == [f"0[{c}]" for c in range(len(PROGRAMS))]
    text = (folder / "certificates.json").read_text()
    assert "shift(input_1_1, dy=-2, dx=-1)" in text
    assert "gabor" not in text and "luminance" not in text


@pytest.mark.parametrize("channel", range(len(PROGRAMS)))
def test_a_corrupted_weight_is_rejected(folder: Path, channel: int) -> None:
    """A weight that is off by the last bit of a kernel is enough."""
    path = folder / "certificates.json"
    document = json.loads(path.read_text())
    certificate = document["certificates"][channel]
    assert certificate["program"].startswith("relu(") and certificate["program"].endswith(")")
    certificate["program"] = f"{certificate['program'][:-1]} + {2**-10}*input_1_2)"
    path.write_text(json.dumps(document))
    assert [label for label, _ in check(folder).rejected] == [f"0[{channel}]"]


@pytest.mark.parametrize("program", [PROGRAMS[0], *PROGRAMS[2:]], ids=lambda p: p.args[0].op)
def test_unfolded_programs_are_the_same(case: Case, program: Node) -> None:
    """In exact arithmetic and within the window; beside the head there is one sum of taps."""
    choice, _ = case
    window = source_index(choice.scope)
    plain = unfolded(program, window, grammar())
    assert {node.op for node in walk(plain)} == {"relu", "linear", "tap"}
    pair = compile_bank([program, plain], window, grammar())
    assert np.array_equal(pair.weight[0], pair.weight[1]) and pair.bias[0] == pair.bias[1]
    assert unfolded(plain, window, grammar()) is plain


def test_what_is_no_kernel_stays() -> None:
    """Constants, single taps, heads and sums of heads are written as they were."""
    window = {(IMAGE, c, 0, 0): c for c in range(3)}
    for program in (
        linear([], 0.5),
        RED,
        call("relu", RED),
        linear([(0.5, call("abs", linear([(0.5, RED), (1.0, BLUE)]))), (0.25, GREEN)], 0.5),
    ):
        assert unfolded(program, window, grammar()) == program


def test_random_programs_have_random_kernels(case: Case) -> None:
    """Of equal bits, and with the same kinds of kernels, but of other angles, mixes and taps."""
    choice = priced(case[0])
    (drawn,) = random_program([choice], grammar(), seed=3)
    assert drawn.units[0].program != choice.units[0].program
    for old, new in zip(PROGRAMS, drawn.programs(), strict=True):
        assert kinds(new) == kinds(old)
    assert source_bits([drawn], grammar()) == pytest.approx(
        source_bits([choice], grammar()), rel=0.1
    )
    without_taps = call("relu", conv(LIGHT, "gabor", angle=45.0))
    (other,) = random_program([chosen(choice.layer, [without_taps] * 4)], grammar(), seed=4)
    assert without_taps not in other.programs()


def priced(choice: LayerChoice) -> LayerChoice:
    """The same with the bits that its programs take."""
    pairs = zip(choice.units, choice.programs(), strict=True)
    units = (replace(u, bits=program_bits(p, choice.scope, grammar())) for u, p in pairs)
    return replace(choice, units=tuple(units))


def kinds(program: Node) -> list[str]:
    """The operations of a program but for its taps and sums."""
    return sorted(n.op for n in walk(program) if n.op not in ("tap", "linear"))
