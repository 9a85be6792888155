"""Units that are constant on all probes are inactive under every head, and dead where proved."""

import numpy as np
import pytest
import torch
from small import CORE, HEADS, dense_evidence, dense_layer, random_probes, unit_evidence

from grammars.program import const
from oracles.claims import Proved
from synth.assembly import LayerChoice, Status
from synth.batches import Inputs
from synth.engines.linear import LinearEngine
from synth.evidence import LayerEvidence, Probes
from synth.layers import Head
from synth.modules import layer_module
from synth.picking import Criteria, Fronts, Picker
from synth.proofs import prove_choices
from synth.schedule import search_unit

ALL = (*HEADS, *map(Head, ("gelu", "silu", "hardsigmoid", "hardswish")))
COLUMNS = 27
STILL = slice(0, 20)  # columns that never move


def probes(*, moved: float = 0.0) -> Probes:
    """Random probes with still columns, of which select moves the first by so much."""
    drawn = random_probes((COLUMNS,))
    parts = [p.batch()[0] for p in (drawn.fit, drawn.select)]
    for part in parts:
        part[:, STILL] = torch.linspace(-1, 1, 20) / 3
    parts[1][5, 0] += moved
    return Probes(*(Inputs([p]) for p in parts))


def still_rows() -> list[np.ndarray]:
    """Weights of units that never move: none at all, one, and one for each still column."""
    rows = np.zeros((3, COLUMNS))
    rows[1, 0] = 0.5
    rows[2, STILL] = np.linspace(-0.1, 0.1, 20)
    return list(rows)


def evidence_for(head: Head, biases: list[float], given: Probes | None = None) -> LayerEvidence:
    rows = [row for row in still_rows() for _ in biases]
    layer = dense_layer(rows, biases * 3, [head] * len(rows))
    return dense_evidence(layer, given or probes())


def picked(evidence: LayerEvidence) -> LayerChoice:
    """What is picked where every program has its price in nats."""
    units = tuple(
        search_unit(unit_evidence(evidence, c), [LinearEngine()], budget=400, seed=0).front
        for c in range(evidence.layer.units)
    )
    fronts = Fronts(evidence.layer, units, tuple(np.full(len(u), 9.0) for u in units))
    criteria = Criteria(max_fvu=0.05, max_error=0.25, max_kl=0.01, min_agreement=0.99)
    picker = Picker(fronts, evidence, None, criteria, CORE, {"linear": LinearEngine()})
    return picker.choice(1.0)


@pytest.mark.parametrize("head", ALL, ids=lambda h: h.op)
def test_constant_units_are_inactive(head):
    """Without weights or on still columns, at any bias: a float32, near to what the layer gives."""
    evidence = evidence_for(head, [0.0, 0.3, -2.7])
    choice = picked(evidence)
    assert {u.status for u in choice.units} == {Status.INACTIVE}
    (x,) = probes().fit.batch()
    values = layer_module(evidence.layer)(x[:, :, None, None])[0, :, 0, 0].numpy()
    for unit, value in zip(choice.units, values, strict=True):
        assert unit.program is not None and unit.program.op == "const"
        found = unit.program["value"]
        assert found == np.float32(found) == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_dead_is_what_is_proved():
    """ε = 0 is proved where a float32 is the unit exactly, and not where its sum is rounded."""
    evidence = evidence_for(Head("identity"), [0.3])
    proofs = prove_choices([picked(evidence)], {"fc1": evidence.ranges}, CORE, max_error=0.25)
    assert all(p.epsilon == 0 for p in proofs)
    assert [isinstance(p.verdict, Proved) for p in proofs] == [True, True, False]


@pytest.mark.parametrize("head", ALL, ids=lambda h: h.op)
def test_a_unit_that_moves_is_not_inactive(head):
    """One probe of select that moves a column is enough, for the units that read it alone."""
    evidence = evidence_for(head, [0.3], probes(moved=1e-3))
    assert evidence.ranges.constant.tolist() == [True, False, False]
    assert not evidence.ranges.span.any()
    first, *others = picked(evidence).units
    assert first.status is Status.INACTIVE
    assert Status.INACTIVE not in {u.status for u in others}
    proposed = LinearEngine().propose(unit_evidence(evidence, 1), budget=2, seed=0)
    assert const(float(np.float32(evidence.target[0, 1]))) in proposed
