"""A refuted program is fitted again at the points that refute it, or it is rejected."""

from fractions import Fraction

import numpy as np
import pytest
from small import BANK, CORE, HEADS, RELU, dense_evidence, dense_layer, planted, unit_evidence

from grammars.compiled import compile_bank
from grammars.hoist import hoist
from grammars.program import call, const, tap
from oracles.claims import Proved
from oracles.prove import prove_layer
from synth.affine import affine_forms, chosen, unit_bank, unit_box
from synth.batches import Inputs
from synth.evidence import Probes
from synth.fronts import error_of, judge
from synth.mending import mended
from synth.picking import Criteria, able
from synth.proofs import epsilon_of
from synth.schedule import search_unit

WEIGHTS = np.array([1.0, 0.53, -0.41, *[0.003] * 13])
MAX_ERROR, MAX_FVU = 0.125, 0.05
CRITERIA = Criteria(MAX_FVU, MAX_ERROR, 0.01, 0.99)


def skewed(rows, seed):
    """Inputs of which the second and third move together, but for one row in thirty."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(rows, len(WEIGHTS)))
    x[:, 2] = x[:, 1]
    x[::30, 2] = -x[::30, 1]
    return x.astype(np.float32)


def evidence_of(head=RELU):
    layer = dense_layer([WEIGHTS], [0.1], [head])
    return dense_evidence(layer, Probes(Inputs([skewed(600, 0)]), Inputs([skewed(200, 1)])))


class Hand:
    """An engine that proposes what it is given."""

    name = "hand"

    def __init__(self, *programs):
        self.programs = programs

    def propose(self, evidence, *, budget, seed):
        return self.programs

    def refit(self, program, evidence):
        return None


def refuted_program(head=RELU):
    """On probes the two inputs that move together nearly cancel; over the envelope they do not."""
    return planted(head, {0: 1.0, 1: 0.125, 2: 0.0625}, 0.125)


@pytest.mark.parametrize("head", [h for h in HEADS if h.op != "clip"])
def test_a_refuted_program_is_fitted_again_until_it_is_proved(head):
    """On the same inputs, within ε exactly, and near the unit on probes, for every falling head."""
    unit = unit_evidence(evidence_of(head))
    (candidate,) = judge(unit, [refuted_program(head)], ["hand"])
    epsilon = epsilon_of(unit.layer.ranges, 0, MAX_ERROR)
    assert error_of(candidate) <= MAX_FVU and candidate.bound > epsilon
    ((program, engine),) = mended(unit, [candidate], epsilon)
    assert engine == "hand"
    (before,), (after,) = (hoist(p, CORE).rows for p in (candidate.program, program))
    assert set(after.weights) <= set(before.weights)
    (again,) = judge(unit, [program], [engine])
    assert error_of(again) <= MAX_FVU
    layer = unit.layer.layer
    bank = compile_bank([program], unit.scope.index, CORE)
    forms = affine_forms(layer, [0], bank, narrow=True)
    pair = unit_bank(layer, [0]), chosen(forms.bank, [0])
    (verdict,) = prove_layer(*pair, unit_box(unit.layer.ranges, 0), [epsilon])
    assert isinstance(verdict, Proved)


def test_the_search_of_a_unit_mends_what_is_refuted():
    """Where every short program that passes is refuted, one that is proved joins the front."""
    unit = unit_evidence(evidence_of())
    epsilon = float(epsilon_of(unit.layer.ranges, 0, MAX_ERROR))
    more = {"budget": 10, "seed": 0, "max_fvu": MAX_FVU}
    without = search_unit(unit, [Hand(refuted_program())], **more)
    assert all(c.bound > epsilon for c in without.front)
    first, second = (
        search_unit(unit, [Hand(refuted_program())], max_error=MAX_ERROR, **more).front
        for _ in range(2)
    )
    assert any(c.bound <= epsilon and error_of(c) <= MAX_FVU for c in first)
    assert first == second


def test_what_cannot_be_mended_is_rejected():
    """A program without the inputs that it needs stays refuted, and no choice may take it."""
    unit = unit_evidence(evidence_of())
    few = planted(RELU, {0: 1.0, 1: 0.125}, 0.125)
    found = search_unit(unit, [Hand(few)], budget=10, seed=0, max_fvu=MAX_FVU, max_error=MAX_ERROR)
    assert [c.program for c in found.front] == [few]
    assert error_of(found.front[0]) <= MAX_FVU
    assert able([found.front], unit.layer.ranges, CRITERIA) == ((),)


def test_nothing_is_mended_where_a_short_program_holds():
    """One that is proved already is enough: the front is what it was."""
    unit = unit_evidence(evidence_of())
    good = planted(RELU, {0: 1.0, 1: 0.5, 2: -0.375}, 0.125)
    engine, more = Hand(refuted_program(), good), {"budget": 10, "seed": 0, "max_fvu": MAX_FVU}
    plain = search_unit(unit, [engine], **more)
    assert search_unit(unit, [engine], max_error=MAX_ERROR, **more).front == plain.front


def test_programs_of_other_forms_are_left_alone():
    """Siblings, constants and programs of several rows have no linear conditions."""
    unit = unit_evidence(evidence_of())
    programs = [const(0.5), tap("fc1", 0), call("max", tap(BANK, 0), tap(BANK, 1))]
    candidates = judge(unit, programs, ["hand"] * 3)
    assert list(mended(unit, candidates, Fraction(1, 8))) == []
