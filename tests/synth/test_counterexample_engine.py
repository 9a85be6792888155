"""The counterexample engine: every proposal is proved within ε, and planted units come back."""

from fractions import Fraction

import numpy as np
import pytest
from small import CORE, RELU, dense_evidence, dense_layer, planted, unit_evidence

from grammars.compiled import compile_bank
from grammars.program import Node
from oracles.claims import Proved
from oracles.prove import prove_layer
from synth.affine import affine_forms, unit_bank, unit_box
from synth.engine import UnitEvidence
from synth.engines import load_engine
from synth.engines.counterexample import CounterexampleEngine
from synth.layers import Head
from synth.proofs import epsilon_of


def evidence_of(weights: list[float], bias: float, head: Head) -> UnitEvidence:
    layer = dense_layer([np.array(weights)], [bias], [head])
    return unit_evidence(dense_evidence(layer))


def proposed(evidence: UnitEvidence, *, budget: int = 100, max_error: float = 0.25) -> list[Node]:
    engine = CounterexampleEngine(max_error)
    return [*engine.propose(evidence, budget=budget, seed=0)]


@pytest.mark.parametrize("head", [RELU, Head("sigmoid")], ids=lambda head: head.op)
def test_all_proposals_are_proved(head: Head) -> None:
    """What the engine proposes lies within ε of its unit on all of the envelope."""
    weights = np.random.default_rng(3).normal(size=4).tolist()
    evidence = evidence_of(weights, 0.25, head)
    ranges, layer = evidence.layer.ranges, evidence.layer.layer
    programs = proposed(evidence)
    assert len(programs) > 1
    for program in programs:
        compiled = compile_bank([program], layer.scope.index, CORE)
        bank = affine_forms(layer, [0], compiled).bank
        epsilon = epsilon_of(ranges, 0, 0.25)
        (verdict,) = prove_layer(unit_bank(layer, [0]), bank, unit_box(ranges, 0), [epsilon])
        assert isinstance(verdict, Proved) and verdict.bound <= Fraction(epsilon)


def test_a_planted_unit_is_found() -> None:
    """Without error, the only program of a unit of quarters is the unit."""
    evidence = evidence_of([0.75, 0.0, -0.5], 0.25, RELU)
    truth = planted(RELU, {0: 0.75, 2: -0.5}, 0.25)
    assert set(proposed(evidence, max_error=0.0)) == {truth}


def test_the_same_twice_and_within_its_budget() -> None:
    """Two searches propose alike; a budget cuts the same list short."""
    evidence = evidence_of(np.random.default_rng(1).normal(size=4).tolist(), -0.5, RELU)
    whole = proposed(evidence)
    assert len(whole) > 3 and proposed(evidence) == whole
    assert proposed(evidence, budget=3) == whole[:3]


def test_who_has_no_programs() -> None:
    """A head that falls and a constant unit have none; a layer of such heads is told beforehand."""
    turning = evidence_of([1.0, -1.0], 0.0, Head("gelu"))
    assert not proposed(turning) and not proposed(evidence_of([0.0, 0.0], 1.0, RELU))
    unable = CounterexampleEngine.unable(CORE, [turning.layer.layer])
    assert unable and "never falls" in unable
    assert load_engine("counterexample") is CounterexampleEngine and CounterexampleEngine.tier > 0
