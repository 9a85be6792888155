"""Picking for all units of a layer at once is picking for each alone, one candidate at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import CORE, HEADS, unit_evidence

from grammars.coding import program_bits
from grammars.compiled import compile_bank
from grammars.program import PRE, Node, const, count_terms, linear, tap
from grammars.siblings import expand, references
from oracles.evidence import fvu
from synth import shifting
from synth.affine import float_bounds
from synth.assembly import Status, UnitChoice, source_index
from synth.engine import UnitEvidence, with_head
from synth.engines.linear import LinearEngine
from synth.evidence import LayerEvidence, evidence_of
from synth.fronts import Candidate, judge
from synth.layers import Geometry, Layer
from synth.picking import Criteria, Fronts, Picker, able
from synth.schedule import search_unit

UNITS = 4  # of a group: a prototype, two copies of it and a negation, but for noise


@cache
def family(groups: int) -> LayerEvidence:
    """Evidence of a padded convolution of some groups, whose units are families."""
    generator = np.random.default_rng(groups)
    own = generator.standard_normal((groups, 1, 2 * 4))
    signs = np.array([1.0, 1.0, 1.0, -1.0])[:, None]
    weight = (own * signs + 0.01 * generator.standard_normal((groups, UNITS, 8))).reshape(-1, 8)
    bias = 0.1 * generator.standard_normal(len(weight))
    weight[UNITS - 1] = 0.0  # a constant instead
    heads = [HEADS[i % len(HEADS)] for i in range(groups)]
    layer = Layer(
        name="layer",
        source="source",
        in_shape=(2 * groups, 4, 4),
        out_shape=(UNITS * groups, 2, 5),
        geometry=Geometry((2, 2), (2, 1), (1, 1), (0, 1)),
        weight=weight,
        bias=bias,
        heads=tuple(h for h in heads for _ in range(UNITS)),
        groups=groups,
    )
    fit, select = (
        torch.from_numpy(generator.standard_normal((n, *layer.in_shape)).astype(np.float32))
        for n in (40, 15)
    )
    return evidence_of(layer, lambda: [fit], lambda: [select], seed=0)


def siblings_of(layer: Layer, channel: int) -> Iterator[Node]:
    """Copies and negations of the other units of its group."""
    for j in range(layer.units):
        if j != channel and layer.part(j) == layer.part(channel):
            yield tap(layer.name, j)
            negated = linear([(-1.0, tap(f"{layer.name}{PRE}", j))])
            yield with_head(layer.heads[channel], negated)


@cache
def candidates(groups: int) -> tuple[tuple[Candidate, ...], ...]:
    """A front of each unit, with references to all siblings, near or not."""
    evidence = family(groups)
    result = []
    for channel in range(evidence.layer.units):
        unit = unit_evidence(evidence, channel)
        front = search_unit(unit, [LinearEngine()], budget=120, seed=0).front
        others = list(siblings_of(evidence.layer, channel))
        result.append((*front, *judge(unit, others, ["linear"] * len(others))))
    return tuple(result)


@dataclass(frozen=True)
class Naive:
    """Picks unit by unit, one candidate after the other, each compiled by itself."""

    picker: Picker
    multiplier: float

    def choice(self) -> list[UnitChoice | None]:
        """What stands for each unit; None for an opaque one."""
        channels = range(self.picker.layer.units)
        first = [self.pick(c, None) for c in channels]
        programs = {u[0].channel: u[0].program for u in first if u and u[0].program}
        second = [self.pick(c, programs) for c in channels]
        return self.without_chains(first, second)

    def without_chains(
        self,
        first: list[tuple[UnitChoice, float] | None],
        second: list[tuple[UnitChoice, float] | None],
    ) -> list[UnitChoice | None]:
        """References where they cost less, in order, to units that stand by themselves."""
        before = [pair and pair[0] for pair in first]
        result, needed = list(before), set()
        for channel, other in enumerate(second):
            if other is None or channel in needed:
                continue
            plain = first[channel]
            if plain is not None and self.price(*other) >= self.price(*plain):
                continue
            assert other[0].program is not None
            targets = set(references(other[0].program, "layer"))
            if not any(result[t] is not before[t] for t in targets):
                result[channel] = other[0]
                needed |= targets
        return result

    def price(self, unit: UnitChoice, cost: float) -> float:
        return unit.bits + self.multiplier * cost

    def pick(
        self, channel: int, siblings: Mapping[int, Node] | None
    ) -> tuple[UnitChoice, float] | None:
        """The cheapest that passes, with its cost: without references, or with references to
        `siblings`."""
        fronts = self.picker.fronts
        pairs = zip(fronts.units[channel], fronts.costs[channel], strict=True)
        for candidate, cost in sorted(
            pairs, key=lambda p: (p[0].bits + self.multiplier * p[1], p[0].bits)
        ):
            targets = set(references(candidate.program, "layer"))
            if bool(targets) != (siblings is not None) or not targets <= set(siblings or {}):
                continue
            found = self.stands_for(channel, candidate, cost, siblings or {})
            if found is not None:
                return found, cost
        return None

    def stands_for(
        self, channel: int, candidate: Candidate, cost: float, siblings: Mapping[int, Node]
    ) -> UnitChoice | None:
        """The program that a candidate becomes, if it passes."""
        evidence, criteria = self.picker.evidence, self.picker.criteria
        if evidence.ranges.constant[channel] and candidate.worst == 0:
            value = const(float(evidence.target[0, channel]))
            return self.unit(channel, candidate, value, Status.INACTIVE)
        if candidate.program.op == "const" and cost <= criteria.nothing:
            return self.unit(channel, candidate, candidate.program, Status.ABLATED)
        if not self.allowed(channel, [candidate.fvu_fit, candidate.fvu_select], candidate.bound):
            return None
        passing = []
        for program in self.rivals(channel, candidate):
            situ, local, bound = self.errors(channel, program, siblings)
            if self.allowed(channel, [situ, local], bound):
                passing.append((situ, local, program))
        if not passing:
            return None
        situ, local, program = min(passing, key=lambda row: row[0])
        return self.unit(channel, candidate, program, None, situ, local)

    def allowed(self, channel: int, errors: list[float], bound: float) -> bool:
        criteria, span = self.picker.criteria, self.picker.evidence.ranges.span[channel]
        return max(errors) <= criteria.max_fvu and bound <= criteria.max_error * span * (1 - 1e-9)

    def rivals(self, channel: int, candidate: Candidate) -> list[Node]:
        if self.picker.replaced is None:
            return [candidate.program]
        unit = UnitEvidence(self.picker.evidence, channel, CORE, self.picker.replaced)
        fitted = LinearEngine().refit(candidate.program, unit)
        return [candidate.program] if fitted is None else [fitted, candidate.program]

    def errors(
        self, channel: int, program: Node, siblings: Mapping[int, Node]
    ) -> tuple[float, float, float]:
        """FVU on select in situ and local, and the bound, of one program alone."""
        evidence, layer = self.picker.evidence, self.picker.layer
        plain = expand(program, "layer", lambda j: siblings[j], CORE)
        bank = compile_bank([plain], source_index(layer.scope), CORE)
        rows, variance = evidence.select, float(evidence.ranges.variance[channel])
        target = evidence.target[rows, channel]
        replaced = evidence.patches if self.picker.replaced is None else self.picker.replaced
        situ, local = (
            float(fvu(bank.apply(p[rows]), target, variance)[0])
            for p in (replaced, evidence.patches)
        )
        return situ, local, float(float_bounds(evidence.ranges, [channel], bank)[0])

    def unit(
        self,
        channel: int,
        candidate: Candidate,
        program: Node,
        status: Status | None,
        situ: float = np.inf,
        local: float | None = None,
    ) -> UnitChoice:
        bits = program_bits(program, self.picker.layer.scope.of(channel), CORE)
        local = candidate.fvu_select if local is None else local
        situ = 0.0 if status is Status.INACTIVE else situ
        return UnitChoice(
            channel, status or Status.PROGRAM, program, bits, local, situ, candidate.engine
        )


def assert_same(found: UnitChoice, expected: UnitChoice | None) -> None:
    """That a choice is the naive one, which calls short and long programs alike."""
    if expected is None:
        assert found.status is Status.OPAQUE and found.program is None
        return
    assert found.program == expected.program and found.bits == expected.bits
    assert (Status.PROGRAM if found.status is Status.ROUNDED else found.status) is expected.status
    assert found.fvu_local == pytest.approx(expected.fvu_local, rel=1e-6, abs=1e-12)
    assert found.fvu_in_situ == pytest.approx(expected.fvu_in_situ, rel=1e-6, abs=1e-12)


def picker_of(
    groups: int,
    *,
    seed: int = 0,
    scale: float = 1.0,
    noise: float | None = None,
    max_fvu: float,
    max_error: float,
) -> Picker:
    """A picker with random costs, some of them nothing, on sources that are scaled and noisy; or,
    where `noise` is None, as they are."""
    evidence, units = family(groups), candidates(groups)
    generator, replaced = np.random.default_rng(seed), None
    costs = [generator.exponential(1e-3, len(u)) * (generator.random() > 0.1) for u in units]
    if noise is not None:
        drawn = generator.standard_normal(evidence.patches.shape).astype(np.float32)
        replaced = scale * evidence.patches + noise * drawn
    return Picker(
        fronts=Fronts(evidence.layer, units, tuple(costs)),
        evidence=evidence,
        replaced=replaced,
        criteria=Criteria(max_fvu, max_error, 1e-2, 0.9),
        grammar=CORE,
        engines={"linear": LinearEngine()},
    )


pickers = st.builds(
    picker_of,
    st.sampled_from([1, 3]),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1.0, 1.1, 1.5]),
    noise=st.sampled_from([None, 0.0, 0.01, 0.1, 0.5]),
    max_fvu=st.sampled_from([1e-4, 0.05, 0.5]),
    max_error=st.sampled_from([0.05, 0.25]),
)


@settings(max_examples=25)
@given(pickers, st.sampled_from([1e1, 1e4, 1e9]), st.sampled_from([3, 128]))
def test_all_units_at_once_are_picked_as_one_by_one(picker, multiplier, long):
    """Programs, statuses, bits and both FVUs are those of a loop over units and candidates, also
    where programs count as long, whose biases are fitted all at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shifting, "LONG", long)
        compare(picker, multiplier)


def compare(picker: Picker, multiplier: float) -> None:
    found = picker.choice(multiplier)
    assert [u.channel for u in found.units] == list(range(picker.layer.units))
    expected = Naive(picker, multiplier).choice()
    for one, other in zip(found.units, expected, strict=True):
        assert_same(one, other)


@settings(max_examples=15)
@given(pickers, st.sampled_from([1e1, 1e4, 1e9]))
def test_what_cannot_be_taken_may_be_left_out(picker, multiplier):
    """Without the candidates that are not able the choice is the same."""
    fronts = picker.fronts
    units = able(fronts.units, picker.evidence.ranges, picker.criteria)
    kept = [set(map(id, unit)) for unit in units]
    costs = tuple(
        np.array([cost for c, cost in zip(front, prices, strict=True) if id(c) in ids])
        for front, prices, ids in zip(fronts.units, fronts.costs, kept, strict=True)
    )
    fewer = replace(picker, fronts=Fronts(fronts.layer, units, costs))
    assert fewer.choice(multiplier).units == picker.choice(multiplier).units


def test_a_reference_has_its_price():
    """A copy that is shorter, but changes more than its bits are worth, does not stand."""
    kept = []
    for multiplier in (1e1, 1e12):
        choice = picker_of(3, max_fvu=0.5, max_error=1.0).choice(multiplier)
        programs = [u.program for u in choice.units if u.program is not None]
        kept.append(sum(bool(references(p, "layer")) for p in programs))
    assert kept[0] > kept[1]


def test_many_cannot_be_taken():
    """A strict choice has few candidates that are able, and every unit keeps its constants."""
    picker = picker_of(3, max_fvu=1e-4, max_error=0.05)
    fronts, criteria = picker.fronts.units, picker.criteria
    units = able(fronts, picker.evidence.ranges, criteria)
    assert sum(map(len, units)) < 0.5 * sum(map(len, fronts))
    for unit, front in zip(units, fronts, strict=True):
        assert {c for c in front if c.program.op == "const"} <= set(unit)


def test_no_constant_is_free_where_another_output_reads():
    """Units that the judged output does not need are ablated, but not if an unjudged one does."""
    picker = picker_of(3, max_fvu=0.05, max_error=0.25)
    free = tuple(np.zeros(len(cost)) for cost in picker.fronts.costs)
    fronts = replace(picker.fronts, costs=free)
    statuses = []
    for bound in (False, True):
        choice = replace(picker, fronts=replace(fronts, bound=bound)).choice(1e4)
        statuses.append([u.status for u in choice.units])
    assert Status.ABLATED in statuses[0] and Status.ABLATED not in statuses[1]


def test_short_programs_stand_more_often_where_they_are_wanted():
    """More units have short programs, and those pass like others."""
    counts = []
    for wanted in (False, True):
        picker = picker_of(3, max_fvu=0.2, max_error=1.0)
        picker = replace(picker, criteria=replace(picker.criteria, short=wanted))
        units = picker.choice(1e6).units
        counts.append(sum(u.status is Status.PROGRAM for u in units))
        assert all(u.fvu_in_situ <= 0.2 for u in units if u.status is Status.PROGRAM)
    assert counts[1] > counts[0]


def test_what_is_picked_is_of_all_kinds():
    """Among what is compared are references, plain programs and units of every status."""
    loose, strict = (0.05, 0.25), (1e-4, 0.05)
    choices = [
        picker_of(7, seed=seed, noise=0.1, max_fvu=worst, max_error=error).choice(1e4)
        for seed in range(3)
        for worst, error in (loose, strict)
    ]
    assert {u.status for c in choices for u in c.units} == set(Status)
    units = choices[0].units
    programs = [u.program for u in units if u.program is not None and u.program.op != "const"]
    bent = [p for p in programs if references(p, "layer")]
    assert len(bent) >= 3 and len(programs) - len(bent) >= 3


def test_refits_are_picked_where_they_are_nearer():
    """On larger, noisy sources programs are fitted again; a re-fit that loses more is not taken."""
    picker = picker_of(3, scale=1.05, noise=0.05, max_fvu=0.5, max_error=0.25)
    known = {c.program for unit in picker.fronts.units for c in unit}
    fitted = [u for u in picker.choice(1e9).units if u.program not in known]
    assert len(fitted) >= 4

    class Spoiler(LinearEngine):
        """Fits every program a little wrongly."""

        def refit(self, program: Node, evidence: UnitEvidence) -> Node:
            return linear([(0.75, program)])

    spoilt = replace(picker, engines={"linear": Spoiler()}).choice(1e9)
    assert {u.program for u in spoilt.units} <= known | {None}
    assert any(u.program is not None and u.program.op != "const" for u in spoilt.units)


def test_programs_pass_on_both_sources():
    """On scaled sources re-fitted programs are good, but no longer on the original ones: opaque."""
    mild, strong = (
        picker_of(3, scale=s, noise=0.0, max_fvu=0.05, max_error=1.0).choice(1e9)
        for s in (1.01, 1.5)
    )
    claimed = [
        [u for u in c.units if u.status in (Status.PROGRAM, Status.ROUNDED)] for c in (mild, strong)
    ]
    assert len(claimed[0]) >= 6 and not claimed[1]


def test_short_programs_are_told_from_rounded_ones():
    """At most 16 terms and a quarter of the unit's own bits make a program, anything else not."""
    picker = picker_of(3, noise=None, max_fvu=0.5, max_error=1.0)
    for unit in (*picker.choice(1e1).units, *picker.choice(1e9).units):
        if unit.status in (Status.PROGRAM, Status.ROUNDED):
            assert unit.program is not None
            short = count_terms(unit.program) <= 16 and unit.bits <= (1 + 32 * 9) / 4
            assert (unit.status is Status.PROGRAM) == short
