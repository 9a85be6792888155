"""What is accepted is proved twice, what was tampered with is not, and certificates carry it."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from small import (
    BANK,
    CORE,
    HEADS,
    IDENTITY,
    RELU,
    chooser_of,
    chosen,
    dense_evidence,
    dense_layer,
    evidence_of,
    fronts_of,
    planted,
    random_probes,
    read,
    seeded,
)
from torch import nn

from grammars.compiled import compile_bank
from grammars.program import Node, call, const, linear, tap
from oracles.certificate import CERTIFICATES_FILE
from oracles.claims import Proved, Refuted, Unknown, gap_at
from oracles.cover_checker import check_all
from synth.affine import affine_forms, unit_bank
from synth.assembly import LayerChoice, Status, names_of, own_program, source_index
from synth.batches import Inputs
from synth.evidence import LayerEvidence, Probes, Ranges
from synth.folder import Finished, check_run
from synth.layers import Head
from synth.proofs import (
    UnitProof,
    epsilon_of,
    prove_choices,
    save_certificates,
    verdict_row,
)

CLAIMED = (Status.PROGRAM, Status.ROUNDED)


def dense() -> nn.Module:
    return seeded(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5), nn.LeakyReLU(0.125), nn.Linear(5, 3))


def convolved() -> nn.Module:
    return seeded(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)
    )


Case = tuple[list[LayerChoice], dict[str, Ranges], list[UnitProof]]


@pytest.fixture(
    scope="module", params=[(dense, (6,)), (convolved, (1, 4, 4))], ids=["dense", "conv"]
)
def proved(request: pytest.FixtureRequest) -> Case:
    """The choices of a searched network with their proofs."""
    make, shape = request.param
    network, probes = read(make(), shape), random_probes(shape)
    fronts = fronts_of(network, probes)
    choices = list(chooser_of(network, probes, fronts, max_fvu=0.1).at(1e3).choices)
    ranges = {name: e.ranges for name, e in evidence_of(network, probes).items()}
    return choices, ranges, prove_choices(choices, ranges, CORE, max_error=0.25)


def test_every_accepted_program_is_proved_twice(proved):
    """Programs and rounded units are Proved by a checked bound within ε, and by Z3 as well."""
    choices, ranges, proofs = proved
    by_unit = {(p.layer, p.channel): p for p in proofs}
    claimed = [(c.layer.name, u.channel) for c in choices for u in c.units if u.status in CLAIMED]
    assert len(by_unit) == sum(c.layer.units for c in choices) and len(claimed) >= 5
    for proof in (by_unit[key] for key in claimed):
        assert isinstance(proof.verdict, Proved) and proof.verdict.trust == "checked"
        assert proof.verdict.bound <= proof.epsilon
        assert proof.epsilon == epsilon_of(ranges[proof.layer], proof.channel, 0.25)
        assert isinstance(proof.smt, Proved)
        assert proof.bound_over_std is not None and proof.bound_over_std > 0


def certified(proved: Case, folder: Path) -> Path:
    choices, ranges, proofs = proved
    names = names_of([c.layer for c in choices], CORE)
    save_certificates(folder, choices, ranges, proofs, names, CORE)
    return folder


def test_certificates_are_accepted(proved, tmp_path):
    """The independent checker accepts the certificate of every checked proof, and no other."""
    report = check_all(certified(proved, tmp_path))
    expected = [f"{p.layer}[{p.channel}]" for p in proved[2] if isinstance(p.verdict, Proved)]
    assert not report.rejected and sorted(report.accepted) == sorted(expected)


@pytest.mark.parametrize(
    "head",
    [
        Head("leaky_relu", (("slope", 0.01),)),
        Head("prelu", (("slope", 0.25),)),
        Head("clip", (("low", 0.0), ("high", 6.0))),
    ],
    ids=lambda h: h.op,
)
def test_certificates_of_default_heads_are_accepted(head, tmp_path):
    """The checker knows a head whose parameters are those that the grammar has by default."""
    evidence = evidence_for(head)
    names, ranges = names_of([evidence.layer], CORE), {"fc1": evidence.ranges}
    choice = chosen(evidence.layer, [own_program(evidence.layer, c) for c in range(2)])
    proofs = prove_choices([choice], ranges, CORE, max_error=0.25)
    save_certificates(tmp_path, [choice], ranges, proofs, names, CORE)
    report = check_all(tmp_path)
    assert sorted(report.accepted) == ["fc1[0]", "fc1[1]"] and not report.rejected


@pytest.mark.parametrize("op", ["sigmoid", "tanh", "silu", "gelu"])
def test_smooth_heads_count_as_checked(op, tmp_path):
    """`synth check` accepts their claims by covers: none is left without a certificate."""
    evidence = evidence_for(Head(op))
    programs = [planted(Head(op), {0: 1.0, 1: -0.5, 2: 0.5}, 0.25), const(0.5)]
    choice, ranges = chosen(evidence.layer, programs), {"fc1": evidence.ranges}
    proofs = prove_choices([choice], ranges, CORE, max_error=1.0)
    save_certificates(tmp_path, [choice], ranges, proofs, names_of([evidence.layer], CORE), CORE)
    document = json.loads((tmp_path / CERTIFICATES_FILE).read_text())
    texts = [certificate["program"] for certificate in document["certificates"]]
    told = {"layer": "fc1", "name": "", "status": "program", "bits": 1}
    rows = [
        {**told, "channel": p.channel, "program": text, **verdict_row(p)}
        for p, text in zip(proofs, texts, strict=True)
    ]
    assert [row["trust"] for row in rows] == ["checked", "checked"]
    accepted, rejected = check_run(Finished(tmp_path, {}, tuple(rows)))
    assert (accepted, rejected) == (["fc1[0]", "fc1[1]"], [])


def test_a_changed_program_is_rejected(proved, tmp_path):
    """A certificate whose program was changed by one constant is rejected, and only that one."""
    folder = certified(proved, tmp_path)
    path = folder / "certificates.json"
    document = json.loads(path.read_text())
    victims = document["certificates"]
    for position in range(len(victims)):
        changed = json.loads(path.read_text())
        text = changed["certificates"][position]["program"]
        changed["certificates"][position]["program"] = _shifted(text)
        other = tmp_path / f"changed{position}"
        other.mkdir()
        (other / path.name).write_text(json.dumps(changed))
        (other / "units.safetensors").write_bytes((folder / "units.safetensors").read_bytes())
        report = check_all(other)
        assert [label for label, _ in report.rejected] == [victims[position]["unit"]]


def _shifted(text: str) -> str:
    """The program with a larger bias inside its head."""
    return text[:-1] + " + 0.5)" if text.endswith(")") and "(" in text[:12] else f"{text} + 0.5"


def one_unit(program: Node, evidence: LayerEvidence, status: Status = Status.PROGRAM) -> UnitProof:
    """The proof for the first unit of a layer under a program of our choice."""
    layer = evidence.layer
    choice = chosen(layer, [program, *(own_program(layer, c) for c in range(1, layer.units))])
    units = (replace(choice.units[0], status=status), *choice.units[1:])
    return prove_choices(
        [replace(choice, units=units)], {layer.name: evidence.ranges}, CORE, max_error=0.25
    )[0]


WEIGHTS = np.array([1.0, -0.5, 0.75, 0.0])


def evidence_for(head=RELU, bias: float = 0.25, weights: np.ndarray = WEIGHTS) -> LayerEvidence:
    return dense_evidence(dense_layer([weights, weights], [bias, bias], [head, head]))


@pytest.mark.parametrize("head", HEADS, ids=lambda h: h.op)
@pytest.mark.parametrize("exact", [True, False])
def test_tampered_programs_are_not_proved(head, exact):
    """The unit's own weights are proved with a bound of 0; a wrong sign is refuted or unknown."""
    evidence = evidence_for(head)
    weights = {0: 1.0, 1: -0.5 if exact else 2.5, 2: 0.75 if exact else -3.0}
    proof = one_unit(planted(head, weights, 0.25), evidence)
    if exact:
        assert isinstance(proof.verdict, Proved) and proof.verdict.bound == 0
        assert isinstance(proof.smt, Proved)
    else:
        assert isinstance(proof.verdict, Refuted) and proof.smt is None


def test_a_refutation_is_a_point(tmp_path):
    """A counterexample lies in the envelope, and there unit and program differ beyond ε."""
    evidence = evidence_for()
    program = planted(RELU, {0: 1.0, 1: 2.5}, 0.25)
    proof = one_unit(program, evidence)
    assert isinstance(proof.verdict, Refuted)
    point = proof.verdict.counterexample
    ranges = evidence.ranges
    assert (ranges.lower <= point).all() and (point <= ranges.upper).all()
    bank = compile_bank([program], source_index(evidence.scope), CORE)
    pair = unit_bank(evidence.layer, [0])[0], affine_forms(evidence.layer, [0], bank).bank[0]
    assert gap_at(*pair, point) > proof.epsilon
    row = verdict_row(proof)
    assert row["verdict"] == "refuted" and json.dumps(row)


def test_bent_programs_are_decided_too():
    """One of another form is refuted at a point that replays, or proved without a certificate."""
    larger = call("max", tap(BANK, 0), linear([(0.5, tap(BANK, 1))], 0.25))
    refuted = one_unit(larger, evidence_for())
    assert isinstance(refuted.verdict, Refuted)
    own = own_program(evidence_for().layer, 0)
    proof = one_unit(linear([(1.0, own), (0.0625, call("tanh", own))]), evidence_for())
    assert isinstance(proof.verdict, Proved) and proof.verdict.trust == "enclosed"
    assert proof.verdict.bound <= Fraction(1, 16) and proof.smt is None
    assert verdict_row(proof)["smt_checked"] is False


def test_bent_programs_have_no_certificate(tmp_path):
    """What is enclosed is proved, and is not written for the checker."""
    evidence = evidence_for()
    layer, ranges = evidence.layer, {"fc1": evidence.ranges}
    own = [own_program(layer, c) for c in range(layer.units)]
    choice = chosen(layer, [linear([(1.0, p), (0.0625, call("tanh", p))]) for p in own])
    proofs = prove_choices([choice], ranges, CORE, max_error=0.5)
    assert all(isinstance(p.verdict, Proved) for p in proofs)
    save_certificates(tmp_path, [choice], ranges, proofs, names_of([layer], CORE), CORE)
    assert check_all(tmp_path) == ([], [])


def test_every_unit_is_proved_against_its_own_program():
    """Among heads of all kinds, bent programs and ablated units, each gets its own verdict."""
    heads = [HEADS[i] for i in (1, 0, 6, 1, 5, 0, 1)]
    weights = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    evidence = dense_evidence(dense_layer(list(weights), np.linspace(-0.5, 0.5, 7), heads))
    programs = [own_program(evidence.layer, c) for c in range(7)]
    programs[0] = call("max", tap(BANK, 0), linear([(0.5, tap(BANK, 1))], 0.25))
    programs[3] = const(0.0)
    choice = chosen(evidence.layer, programs)
    units = [replace(u, status=Status.ABLATED) if u.channel == 3 else u for u in choice.units]
    choice = replace(choice, units=tuple(units))
    proofs = prove_choices([choice], {"fc1": evidence.ranges}, CORE, max_error=0.25)
    assert [p.channel for p in proofs] == list(range(7))
    for proof in proofs:
        if proof.channel in (0, 3):
            assert isinstance(proof.verdict, Refuted if proof.channel == 0 else Unknown)
        else:
            assert isinstance(proof.verdict, Proved) and proof.verdict.bound == 0
            assert isinstance(proof.smt, Proved)


def test_nothing_is_claimed_of_ablated_and_opaque_units():
    """Ablated and opaque units are Unknown with their own reasons."""
    evidence = evidence_for()
    ablated = one_unit(const(0.0), evidence, Status.ABLATED)
    assert isinstance(ablated.verdict, Unknown) and "ablated" in ablated.verdict.reason
    choice = chosen(evidence.layer, [None, None])
    opaque = prove_choices([choice], {"fc1": evidence.ranges}, CORE, max_error=0.25)[0]
    assert isinstance(opaque.verdict, Unknown) and "keeps its weights" in opaque.verdict.reason


@pytest.mark.parametrize(("bias", "dead"), [(-40.0, True), (-1.9, False)])
def test_inactive_units_are_dead_where_that_is_proved(bias, dead):
    """A unit silent on all probes is proved dead at ε = 0, or refuted by a corner."""
    probes = random_probes((4,), fit=60, select=30)
    evidence = dense_evidence(dense_layer([WEIGHTS] * 2, [bias] * 2, [RELU] * 2), probes)
    assert not evidence.ranges.span.any()
    proof = one_unit(const(0.0), evidence, Status.INACTIVE)
    assert proof.epsilon == 0 and proof.bound_over_std is None
    assert isinstance(proof.verdict, Proved if dead else Refuted)


def test_references_are_expanded_before_the_proof(tmp_path):
    """A copy is proved against the sibling's program, and its certificate reads the source only."""
    rough = planted(RELU, {0: 1.0, 1: -0.5}, 0.5)
    evidence = evidence_for()
    choice = chosen(evidence.layer, [rough, tap("fc1", 0)])
    proofs = prove_choices([choice], {"fc1": evidence.ranges}, CORE, max_error=1.0)
    bounds = [p.verdict.bound for p in proofs if isinstance(p.verdict, Proved)]
    assert bounds[0] == bounds[1] > 0
    names = names_of([evidence.layer], CORE)
    save_certificates(tmp_path, [choice], {"fc1": evidence.ranges}, proofs, names, CORE)
    document = json.loads((tmp_path / "certificates.json").read_text())
    first, second = (c["program"] for c in document["certificates"])
    assert first == second and not check_all(tmp_path).rejected


def test_epsilon_is_a_share_of_the_range_on_fit():
    """ε is exactly max_error times the range of the unit over fit, select not asked."""
    probes = Probes(random_probes((4,)).fit, Inputs([np.zeros((30, 4))]))
    evidence = dense_evidence(dense_layer([WEIGHTS], [0.25], [IDENTITY]), probes)
    values = evidence.target[evidence.fit, 0]
    assert epsilon_of(evidence.ranges, 0, 0.25) == Fraction(0.25) * Fraction(
        float(values.max() - values.min())
    )
    assert np.isclose(evidence.ranges.span[0], np.ptp(torch.tensor(values).numpy()))


def test_rows_of_proofs_are_json(proved):
    """Every verdict is a row of plain JSON values, with ε exactly."""
    for proof in proved[2]:
        row = json.loads(json.dumps(verdict_row(proof), allow_nan=False))
        assert Fraction(row["epsilon"]) == proof.epsilon and row["domain"] == "envelope"
        assert row["verdict"] in ("proved", "refuted", "unknown")
