"""Engines of a unit: cheap ones first, dear ones where these leave a gap, failures told."""

from collections.abc import Iterable

import numpy as np
import pytest
from small import RELU, dense_evidence, dense_layer, random_probes, unit_evidence

from grammars.program import Node, call, linear
from synth.engine import EngineFailed, UnitEvidence
from synth.engines import automatic, load_engine
from synth.engines.linear import LinearEngine
from synth.evidence import LayerEvidence
from synth.schedule import NO_GAP, EngineCost, EngineTally, SearchedUnit, search_unit


@pytest.fixture(scope="module")
def evidence() -> LayerEvidence:
    """A unit of which three weights of twelve matter."""
    weights = np.zeros(12)
    weights[:3] = 0.5, -0.25, 1.0
    layer = dense_layer([weights], [0.125], [RELU])
    return dense_evidence(layer, random_probes((12,), fit=200, select=80))


class Dear(LinearEngine):
    """Proposes two constants."""

    name = "dear"
    tier = 2

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        yield from (linear([], value) for value in (0.25, 0.5))


class Failing(Dear):
    """Proposes one program before it fails."""

    name = "failing"
    tier = 0

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        yield evidence.scope.taps[0]
        raise EngineFailed("its process ended by signal SIGSEGV")


class Twice(Dear):
    """Proposes one function in two words."""

    tier = 0

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        a, b, *_ = evidence.scope.taps
        yield from (call("max", a, b), call("max", b, call("max", b, a)))


def searched(evidence: LayerEvidence, *engines: LinearEngine, max_fvu: float) -> SearchedUnit:
    unit = unit_evidence(evidence)
    return search_unit(unit, engines, budget=200, seed=0, max_fvu=max_fvu)


def test_a_dear_engine_is_left_out_where_a_short_program_passes(evidence):
    found = searched(evidence, Dear(), LinearEngine(), max_fvu=1e-6)
    linear_, dear = found.costs
    assert (linear_.engine, linear_.reason) == ("linear", "") and linear_.proposed > 0
    assert dear == EngineCost("dear", 0, 0.0, NO_GAP)


def test_a_dear_engine_is_asked_where_there_is_a_gap(evidence):
    """No program has an error below zero."""
    found = searched(evidence, Dear(), LinearEngine(), max_fvu=-1.0)
    assert [c.engine for c in found.costs] == ["linear", "dear"]  # the cheap one comes first
    assert found.costs[1].proposed == 2 and found.costs[1].reason == ""


def test_what_an_engine_proposed_before_it_failed_stays(evidence):
    found = searched(evidence, Failing(), LinearEngine(), max_fvu=0.1)
    assert found.costs[0].reason == "its process ended by signal SIGSEGV"
    assert found.costs[0].proposed == 1 and len(found.front) > 1
    alone = searched(evidence, Failing(), max_fvu=0.1)
    assert [c.program for c in alone.front] == [evidence.layer.scope.taps[0]]


def test_the_tally_of_many_units(evidence):
    tally = EngineTally()
    for max_fvu in (1e-6, -1.0):
        tally.add(searched(evidence, Dear(), LinearEngine(), max_fvu=max_fvu))
    tally.add(searched(evidence, Failing(), max_fvu=0.1))
    rows = tally.rows
    assert rows["linear"]["asked"] == 2 and rows["linear"]["improved"] == 2
    assert rows["dear"]["asked"] == 1 and rows["dear"]["proposed"] == 2
    assert rows["failing"]["stopped"] == {"its process ended by signal SIGSEGV": 1}
    assert set(tally.seconds) == set(rows)


def test_auto_stands_for_what_is_able():
    """Cheap engines by name, gates among them; none that would find nothing."""
    names, note = automatic(lambda engine: engine is not load_engine("kernel"))
    assert {"linear", "discrete", "template", "enumeration"} <= {*names} and "kernel" not in names
    assert "counterexample" not in names and ", ".join(names) in note


def test_one_function_in_two_words_is_one_candidate(evidence):
    """It stands in its canonical form, whichever words came first."""
    found = searched(evidence, Twice(), max_fvu=1e-6)
    a, b, *_ = unit_evidence(evidence).scope.taps
    assert [c.program for c in found.front] == [call("max", a, b)]
    assert found.costs[0].proposed == 2
