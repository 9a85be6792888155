"""Grouped and depthwise layers go through the whole chain, each unit in its group's scope."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_layers import layers, maps_of, seeds
from small import (
    CORE,
    RELU,
    as_they_are,
    by_taps,
    chooser_of,
    chosen,
    dense_evidence,
    dense_layer,
    evidence_of,
    fronts_of,
    random_probes,
    read,
    seeded,
    unit_evidence,
    unit_metric,
)
from torch import nn

from grammars.coding import decode, encode, opaque_bits
from grammars.compiled import compile_bank
from grammars.program import Node, call, const, linear, tap, taps_of
from grammars.siblings import references
from oracles.checker import check
from oracles.claims import Proved, Refuted
from synth import evidence
from synth.affine import affine_forms, float_bounds
from synth.assembly import (
    LayerChoice,
    Status,
    assemble,
    bank_module,
    names_of,
    original_bits,
    own_program,
    source_bits,
    source_index,
)
from synth.batches import Inputs
from synth.evidence import LayerEvidence, Probes, gather
from synth.fronts import judge
from synth.layers import Geometry, Layer
from synth.metric import refit_metric
from synth.modules import layer_module
from synth.network import Network
from synth.picking import Fronts
from synth.proofs import prove_choices, save_certificates


def grouped() -> nn.Module:
    return seeded(
        nn.Conv2d(4, 6, 3, groups=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 4, 1, groups=2),
        nn.LeakyReLU(0.25),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def depthwise() -> nn.Module:
    """A block of a MobileNet: depthwise, with a stride, then one by one."""
    return seeded(
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    )


SHAPE = (4, 4, 4)
Case = tuple[Network, Probes, tuple[Fronts, ...], list[LayerChoice]]


@pytest.fixture(scope="module", params=[grouped, depthwise], ids=lambda f: f.__name__)
def case(request: pytest.FixtureRequest) -> Case:
    """A network with its fronts and a choice among them."""
    network, probes = read(request.param(), SHAPE), random_probes(SHAPE, fit=80, select=40)
    fronts = fronts_of(network, probes, budget=120)
    chooser = chooser_of(network, probes, fronts, max_fvu=0.2)
    return network, probes, fronts, list(chooser.at(1e5).choices)


def grouped_layers(network: Network) -> list[Layer]:
    return [la for la in network.layers if la.groups > 1]


def test_programs_read_their_own_group(case):
    """Every candidate reads the channels of its unit's group alone, and refers to no other."""
    network, _, fronts, _ = case
    assert grouped_layers(network)
    for found in fronts:
        layer = found.layer
        for channel, candidates in enumerate(found.units):
            own = set(layer.scope.columns[layer.part(channel)])
            for program in (c.program for c in candidates):
                keys = {tuple(v for _, v in t.params) for t in taps_of(program)}
                assert {k for k in keys if k[0] == layer.source} <= own
                parts = {layer.part(j).start for j in references(program, layer.name)}
                assert parts <= {layer.part(channel).start}


def test_candidates_are_judged_by_their_taps(case):
    """The errors of candidates of grouped layers are those of an evaluation tap by tap."""
    network, probes, fronts, _ = case
    known = evidence_of(network, probes)
    for found in fronts:
        own = known[found.layer.name]
        for channel, candidates in enumerate(found.units):
            for candidate in candidates[::4]:
                errors = by_taps(candidate.program, own) - own.target[:, channel]
                assert candidate.worst == pytest.approx(np.abs(errors).max(), rel=1e-6, abs=1e-12)
                assert candidate.worst <= candidate.bound * (1 + 1e-6) + 1e-9


def test_the_source_decodes(case):
    """decode(encode(source)) == source, with opaque units of grouped layers among programs."""
    choices = [c.source() for c in case[3]]
    scopes = [s.scope for s in choices]
    assert decode(encode(choices, CORE).to_bytes(), scopes, CORE) == tuple(choices)
    opaque = [chosen(c.layer, [None] * c.layer.units) for c in case[3]]
    stream = encode([c.source() for c in opaque], CORE)
    assert decode(stream.to_bytes(), scopes, CORE) == tuple(c.source() for c in opaque)
    own = sum(opaque_bits(la.fan) * la.units for la in case[0].layers)
    assert len(stream) == 2 + own  # no user primitives, no families
    assert own == original_bits(case[0].layers) + sum(la.units for la in case[0].layers)


def test_narrow_scopes_are_cheaper(case):
    """A program of a grouped unit costs no more than it would among all columns of its layer."""
    for choice in case[3]:
        layer = choice.layer
        wide = replace(choice, scope=replace(layer.scope, groups=1))
        programs = [own_program(layer, c) for c in range(layer.units)]
        narrow, broad = (replace(c, units=chosen(layer, programs).units) for c in (choice, wide))
        cost, more = source_bits([narrow], CORE), source_bits([broad], CORE)
        assert cost < more if layer.groups > 1 else cost == more


def test_choices_are_programs_that_pass(case):
    """The replacement is near to the network, and most units of grouped layers have programs."""
    network, probes, _, choices = case
    statuses = [u.status for c in choices if c.layer.groups > 1 for u in c.units]
    assert statuses.count(Status.OPAQUE) < len(statuses) / 2
    batch = probes.select.batch()
    with torch.no_grad():
        wanted, got = network(*batch), assemble(network, choices, CORE)(*batch)
    assert float((wanted - got).square().mean() / wanted.var()) < 0.2


def test_assembled_layers_are_their_programs(case):
    """A layer's module computes, unit by unit, what its programs say tap by tap."""
    network, probes, _, choices = case
    known = evidence_of(network, probes)
    for choice in choices:
        own = known[choice.layer.name]
        maps = network.record(probes.fit.batch(), [choice.layer.source])[choice.layer.source]
        with torch.no_grad():
            found = bank_module(choice, CORE)(maps)
        rows = found.permute(0, 2, 3, 1).flatten(0, 2).numpy()[own.sample.fit]
        for channel, program in enumerate(choice.expanded(CORE)):
            values = by_taps(program, own)[own.fit]
            assert rows[:, channel] == pytest.approx(values, rel=1e-4, abs=1e-5)


def test_own_programs_are_the_network(case):
    """With every unit replaced by its own weights the network is the same."""
    network, probes, *_ = case
    batch = probes.select.batch()
    with torch.no_grad():
        found = assemble(network, as_they_are(network), CORE)(*batch)
        assert torch.allclose(found, network(*batch), rtol=1e-5, atol=1e-5)


def test_programs_are_proved_and_certified(case, tmp_path: Path):
    """Accepted programs of grouped layers are proved, and the independent checker agrees."""
    network, probes, _, choices = case
    ranges = {name: e.ranges for name, e in evidence_of(network, probes).items()}
    proofs = prove_choices(choices, ranges, CORE, max_error=0.25)
    statuses = {(c.layer.name, u.channel): u.status for c in choices for u in c.units}
    claimed = [
        p for p in proofs if statuses[p.layer, p.channel] in (Status.PROGRAM, Status.ROUNDED)
    ]
    assert len(claimed) > 4
    assert all(isinstance(p.verdict, Proved) and isinstance(p.smt, Proved) for p in claimed)
    save_certificates(tmp_path, choices, ranges, proofs, names_of(network.layers, CORE), CORE)
    report = check(tmp_path)
    checked = [f"{p.layer}[{p.channel}]" for p in proofs if isinstance(p.verdict, Proved)]
    assert not report.rejected and sorted(report.accepted) == sorted(checked)


@pytest.mark.parametrize("caution", [0.0, 0.5])
def test_metrics_are_of_the_own_columns(caution):
    """A grouped unit's metrics are those of the same unit of a layer of its group alone."""
    network, probes = (
        read(seeded(nn.Conv2d(6, 4, 1, groups=2)), (6, 1, 1)),
        random_probes((6, 1, 1)),
    )
    (own,) = gather(network, probes, seed=0)
    support = np.array([0, 2])
    for channel in range(4):
        layer, part = own.layer, own.layer.part(channel)
        sources = Probes(
            *(Inputs([p.arrays[0][:, part, 0, 0]]) for p in (probes.fit, probes.select))
        )
        weights, bias = layer.weight[channel], float(layer.bias[channel])
        alone = dense_evidence(dense_layer([weights], [bias], [layer.heads[channel]]), sources)
        patches = (own.patches + 0.5)[:, part]
        pairs = [
            (unit_metric(e, c, caution=caution), refit_metric(e, c, p, support))
            for e, c, p in ((own, channel, own.patches + 0.5), (alone, 0, patches))
        ]
        for found, expected in zip(*pairs, strict=True):
            assert found.gram == pytest.approx(expected.gram, rel=1e-9)
            assert found.target == pytest.approx(expected.target, rel=1e-6)


# any grouped layer


def layer_evidence(layer: Layer, seed: int) -> LayerEvidence:
    fit, select = maps_of(layer, seed, samples=6), maps_of(layer, seed + 1, samples=3)
    return evidence.evidence_of(layer, lambda: [fit], lambda: [select], seed=0)


def some_programs(layer: Layer, seed: int) -> list[Node]:
    """Sparse programs, siblings of the same group, constants and opaque units in no order."""
    generator = np.random.default_rng(seed)
    first = {layer.part(c).start: c for c in reversed(range(layer.units))}
    programs = []
    for channel in range(layer.units):
        kind, scope = generator.integers(6), layer.scope.of(channel)
        integers = generator.integers(-3, 4, layer.fan).tolist()
        weights = [(float(w), t) for w, t in zip(integers, scope.taps, strict=True)]
        sparse = linear(weights, float(generator.integers(-2, 3)) / 4)
        target = first[layer.part(channel).start]
        if kind == 0:
            programs.append(const(0.5))
        elif kind == 1 and target != channel:
            programs.append(tap(layer.name, target))
        elif kind == 2 and target != channel:
            programs.append(call("relu", linear([(-1.0, tap(f"{layer.name}:pre", target))])))
        else:
            programs.append([own_program(layer, channel), sparse, call("relu", sparse)][kind % 3])
    return programs


@settings(max_examples=40)
@given(layers(groups=st.integers(1, 4)), seeds)
def test_any_bank_of_programs_is_assembled(layer, seed):
    """Of any geometry and groups, the module of a choice is its programs, read tap by tap."""
    choice = chosen(layer, some_programs(layer, seed))
    own = layer_evidence(layer, seed)
    maps = maps_of(layer, seed, samples=6)
    found = bank_module(choice, CORE)(maps)
    assert found.shape == (6, *layer.out_shape)
    rows = found.permute(0, 2, 3, 1).flatten(0, 2).numpy()
    for channel, program in enumerate(choice.expanded(CORE)):
        values = by_taps(program, own)[own.role != 2]
        assert rows[own.sample.fit, channel] == pytest.approx(values, rel=1e-4, abs=1e-4)
    (back,) = decode(encode([choice.source()], CORE).to_bytes(), [choice.scope], CORE)
    assert back == choice.source()


@settings(max_examples=40)
@given(layers(groups=st.integers(1, 4)), seeds)
def test_any_layer_is_its_own_programs(layer, seed):
    """The module of every unit's own weights is the layer."""
    choice = chosen(layer, [own_program(layer, c) for c in range(layer.units)])
    maps = maps_of(layer, seed)
    assert torch.allclose(
        bank_module(choice, CORE)(maps), layer_module(layer)(maps), rtol=1e-4, atol=1e-4
    )


@settings(max_examples=30)
@given(layers(groups=st.integers(1, 4)), seeds)
def test_bounds_do_not_depend_on_the_scope(layer, seed):
    """Columns of the group and siblings, or columns of the layer: the same bounds, which hold."""
    own, choice = layer_evidence(layer, seed), chosen(layer, some_programs(layer, seed))
    for channel, (program, plain) in enumerate(
        zip(choice.programs(), choice.expanded(CORE), strict=True)
    ):
        narrow, wide = layer.scope.of(channel), source_index(layer.scope)
        banks = [(compile_bank([program], narrow.index, CORE), True)]
        if program == plain:
            banks.append((compile_bank([program], source_index(narrow), CORE), True))
            banks.append((compile_bank([program], wide, CORE), False))
        bounds = [
            float_bounds(own.ranges, [channel], bank, narrow=inside)[0] for bank, inside in banks
        ]
        assert bounds == pytest.approx([bounds[0]] * len(bounds), rel=1e-9)
        errors = np.abs(by_taps(program, own) - own.target[:, channel])
        assert errors.max() <= bounds[0] * (1 + 1e-6) + 1e-6


def test_scopes_of_equal_width_are_told_apart():
    """A group's columns and its siblings may be as many as the columns of the layer: no mix-up."""
    layer = Layer(
        "layer",
        "source",
        (16, 1, 1),
        (4, 1, 1),
        Geometry((1, 1)),
        np.random.default_rng(0).standard_normal((4, 8)),
        np.zeros(4),
        (RELU,) * 4,
        groups=2,
    )
    assert len(layer.scope.of(3).index) == layer.width
    own = layer_evidence(layer, 0)
    program = own_program(layer, 3)
    (candidate,) = judge(unit_evidence(own, 3), [program], ["hand"])
    assert candidate.worst < 1e-6 and candidate.bound == 0
    bank = compile_bank([program], layer.scope.of(3).index, CORE)
    form = affine_forms(layer, [3], bank, narrow=True).bank
    assert form.weights.tolist() == [layer.weight[3].tolist()]


def test_what_reads_another_group_has_no_bound():
    """A unit of another group and its weights have no bound in a search, in any scope, and are
    refuted: its columns are as many as the unit's own and mean something else. Siblings of the own
    group have one."""
    weight = np.tile(np.random.default_rng(0).standard_normal((1, 3)), (4, 1))
    layer = Layer(
        "layer",
        "source",
        (6, 1, 1),
        (4, 1, 1),
        Geometry((1, 1)),
        weight,
        np.zeros(4),
        (RELU,) * 4,
        2,
    )
    own = layer_evidence(layer, 0)

    def bounds(*programs: Node) -> list[float]:
        return [c.bound for c in judge(unit_evidence(own, 0), programs, ["hand"] * len(programs))]

    def siblings(j: int) -> tuple[Node, Node]:
        return tap("layer", j), call("relu", tap("layer:pre", j))

    assert bounds(*siblings(1)) == [0, 0] and bounds(*siblings(3)) == [np.inf, np.inf]
    for program in (*siblings(3), own_program(layer, 3)):
        choice = chosen(layer, [program, None, None, None])
        bank = compile_bank(choice.expanded(CORE)[:1], source_index(layer.scope), CORE)
        assert float_bounds(own.ranges, [0], bank).tolist() == [np.inf]
        first = prove_choices([choice], {"layer": own.ranges}, CORE, max_error=0.5)[0]
        assert isinstance(first.verdict, Refuted)


def test_rows_of_several_groups_are_refused():
    """A program that reads channels of two groups is no program of a grouped layer."""
    (layer,) = read(seeded(nn.Conv2d(4, 4, 1, groups=2)), (4, 2, 2)).layers
    across = linear([(1.0, tap(layer.source, 0)), (1.0, tap(layer.source, 3))])
    choice = chosen(layer, [across, *(own_program(layer, c) for c in range(1, 4))])
    with pytest.raises(ValueError, match="reads channels of several groups"):
        bank_module(choice, CORE)
