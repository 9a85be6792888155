"""Constants that move together lower the divergence, keep what units must hold, and repeat."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import (
    BANK,
    CORE,
    RELU,
    as_they_are,
    chooser_of,
    chosen,
    evidence_of,
    planted,
    random_probes,
    read,
    seeded,
    unit_evidence,
)
from torch import nn
from typed import project

from grammars.coding import program_bits
from grammars.compiled import compile_bank
from grammars.grammar import load_grammar
from grammars.program import PRE, Node, call, linear, tap
from synth.affine import float_bounds
from synth.assembly import LayerChoice, assemble, own_program, source_bits, source_index
from synth.choice import Chooser, Point
from synth.folder import RESULT_FILES
from synth.fronts import judge
from synth.joint.constants import constants_of
from synth.joint.descent import descended
from synth.joint.quadratic import Quadratic
from synth.joint.refine import Refiner
from synth.network import Network
from synth.outputs import agreement, kl_divergence, run_batches
from synth.picking import Fronts
from synth.points import JOINT
from synth.store import Store
from synth.threads import numeric_threads

PROBES = random_probes((4,))
PAY = 1e6  # bits per nat


def twins(weight: float) -> Network:
    """Two units of one program, of which the outputs read the sum; `weight` is their first."""
    units, outputs = nn.Linear(4, 2), nn.Linear(2, 2)
    with torch.no_grad():
        units.weight[:] = torch.tensor([weight, 0.75, -0.25, 0.25])
        units.bias[:] = 2.0
        outputs.weight[:] = torch.tensor([[2.0, 2.0], [-2.0, -2.0]])
        outputs.bias[:] = torch.tensor([-8.0, 8.0])
    return read(nn.Sequential(units, nn.ReLU(), outputs), (4,))


def rounded() -> Node:
    """Either unit, on a grid of quarters."""
    return planted(RELU, {0: 0.5, 1: 0.75, 2: -0.25, 3: 0.25}, 2.0)


def assembled(network: Network, programs: Sequence[Node], **bars: float) -> tuple[Chooser, Point]:
    """A chooser, and a point of these programs for the first layer, of own weights behind it."""
    evidence = evidence_of(network, PROBES)
    fronts = []
    for layer in network.layers:
        own = [[own_program(layer, c)] for c in range(layer.units)]
        known = evidence[layer.name]
        units = tuple(tuple(judge(unit_evidence(known, c), p, [""])) for c, p in enumerate(own))
        fronts.append(Fronts(layer, units, (np.zeros(1),) * layer.units))
    chooser = chooser_of(network, PROBES, tuple(fronts), **bars)
    choices = [chosen(network.layers[0], programs), *as_they_are(network)[1:]]
    choices = [
        replace(c, units=tuple(replace(u, bits=_bits(c, u.program)) for u in c.units))
        for c in choices
    ]
    outputs = run_batches(assemble(network, choices, CORE), PROBES.select)
    return chooser, chooser.judged(PAY, choices, outputs)


def _bits(choice: LayerChoice, program: Node | None) -> int:
    assert program is not None
    return program_bits(program, choice.scope, CORE)


def weights(point: Point) -> list[float]:
    """What each unit of the first layer multiplies the first input by."""
    rows = compile_bank(point.choices[0].expanded(CORE), source_index(point.choices[0].scope), CORE)
    return rows.weight[:, 0].tolist()


def test_correlated_errors_cancel() -> None:
    """Both units are an eighth too large, so one becomes an eighth too small: at no more bits the
    outputs are those of the original, and figures are what the replacement does."""
    network = twins(0.375)
    chooser, point = assembled(network, [rounded()] * 2, max_fvu=0.3, max_error=1.0)
    found = Refiner(chooser, 0).refined(point)
    assert weights(point) == [0.5, 0.5] and sorted(weights(found)) == [0.25, 0.5]
    assert found.bits <= point.bits and found.bits == source_bits(found.choices, CORE)
    assert found.kl < 1e-3 * point.kl
    original = run_batches(network.module, PROBES.select)
    outputs = run_batches(assemble(network, found.choices, CORE), PROBES.select)
    assert found.kl == float(kl_divergence(original, outputs).mean())
    assert found.agreement == agreement(original, outputs)


@pytest.mark.parametrize("bar", ["max_fvu", "max_error"])
def test_a_unit_that_would_break_its_limit_stays(bar: str) -> None:
    """The outputs would gain if one unit moved, but a unit that is so far from its own is none."""
    network = twins(0.40625)
    loose = {"max_fvu": 0.5, "max_error": 1.0}
    chooser, point = assembled(network, [rounded()] * 2, **loose)
    assert sorted(weights(Refiner(chooser, 0).refined(point))) == [0.25, 0.5]
    evidence = evidence_of(network, PROBES)[network.layers[0].name]
    unit = point.choices[0]
    bank = compile_bank(unit.expanded(CORE), source_index(unit.scope), CORE)
    bound = float_bounds(evidence.ranges, [0, 1], bank)[0] / evidence.ranges.span[0]
    (now,) = judge(unit_evidence(evidence, 0), [rounded()], [""])
    tight = loose | {bar: 1.2 * {"max_fvu": now.fvu_select, "max_error": float(bound)}[bar]}
    chooser, point = assembled(network, [rounded()] * 2, **tight)
    found = Refiner(chooser, 0).refined(point)
    assert weights(found) == [0.5, 0.5]
    assert all(max(u.fvu_local, u.fvu_in_situ) <= tight["max_fvu"] for u in found.choices[0].units)


def test_the_same_for_any_number_of_threads() -> None:
    """Programs and figures are equal to the bit."""
    module = seeded(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    network = read(module, (4,))
    la = network.layers[0]
    quarters = np.round(4 * np.column_stack([la.weight, la.bias])) / 4
    rows = [planted(RELU, dict(enumerate(row[:-1].tolist())), float(row[-1])) for row in quarters]
    found = []
    for jobs in (1, 2):
        with numeric_threads(jobs):
            chooser, point = assembled(network, rows, max_fvu=0.5, max_error=2.0)
            found.append(Refiner(chooser, 0).refined(point))
    assert found[0].kl < point.kl
    assert [c.units for c in found[0].choices] == [c.units for c in found[1].choices]
    assert (found[0].kl, found[0].bits) == (found[1].kl, found[1].bits)


def test_what_hangs_on_more_than_one_program_stays() -> None:
    """References and what they point at, constants and formulas have nothing to move."""
    network = read(seeded(nn.Linear(4, 5), nn.ReLU()), (4,))
    (layer,) = network.layers
    referring = call("relu", linear([(-1.0, tap(layer.name + PRE, 0))]))
    bent = linear([(2.0, call("relu", tap(BANK, 0))), (1.0, tap(BANK, 1))])
    free = planted(RELU, {1: 0.5, 3: -0.25}, 0.0625)
    programs = [rounded(), referring, bent, free, call("relu", tap(BANK, 2))]
    (found,) = constants_of(chosen(layer, programs), CORE)
    assert found.channel == 3 and found.program_of(found.values) == free
    assert found.values.tolist() == [0.5, -0.25, 0.0625]
    assert found.steps.tolist() == [0.25, 0.25, 0.0625]


def test_kernels_are_atoms() -> None:
    """A weight before a kernel moves all its taps."""
    network = read(seeded(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()), (1, 6, 6))
    (layer,) = network.layers
    grammar = load_grammar(tags=("core", "kernel"), installed=False)
    edge = call("edge", **{n: s.default for n, s in grammar["edge"].parameters})
    program = call("relu", linear([(0.5, call("conv", edge, tap(BANK, 0)))], 0.25))
    (found,) = constants_of(chosen(layer, [program]), grammar)
    patches = torch.rand(7, 9, generator=torch.Generator().manual_seed(0)).double()
    bank = compile_bank([program], source_index(layer.scope), grammar)
    rows = found.inputs(patches) @ torch.from_numpy(found.values)
    assert found.units(rows, grammar).numpy() == pytest.approx(bank.apply(patches.numpy())[:, 0])


def test_steps_pay_for_themselves() -> None:
    """A weight that tells nothing is left out, the last one never; nats are bought if they pay."""
    network = twins(0.375)
    (constants, _) = constants_of(chosen(network.layers[0], [rounded()] * 2), CORE)
    gram, slope = np.diag([1.0, 1e-9, 1e-9, 1.0, 1.0]), np.array([0.25, 0.0, 0.0, 0.0, 0.0])
    costs = Quadratic(slope, gram, constants.values, torch.zeros(0))
    last = descended(constants, costs, 1e4, lambda _: True)
    assert last.tolist() == [0.25, 0.0, 0.0, 0.25, 2.0]
    assert costs.nats(last) == pytest.approx(-1 / 32)
    least = descended(constants, costs, 1e-9, lambda _: True)
    assert np.count_nonzero(least[:-1]) == 1
    held = descended(constants, costs, 1e4, lambda values: bool(values[0] == 0.5))
    assert held.tolist() == [0.5, 0.0, 0.0, 0.25, 2.0]


def test_a_run_is_refined(tmp_path: Path) -> None:
    """It says what was gained, every program is proved, and what is in its store is not done again,
    with any number of workers."""
    home = project(tmp_path)
    flags = "--budget", "60", "--set", "accept.joint=true", "--set", "run.controls=[]"
    done = home("run", "net.toml", "--set", "accept.max_kl=1e-4", *flags)
    assert done.exit_code in (0, 1), done.output
    summary = json.loads((tmp_path / "results/net/summary.json").read_text())
    before, after = summary["joint"]["assembled"], summary["joint"]["refined"]
    assert after == summary["select"] | {"bits": summary["bits"]} and before != after
    assert summary["refuted"] == 0 and summary["proved"] == summary["accepted_programs"]
    row = f"{before['bits']:,} bits, KL {before['kl']:.3g} → {after['bits']:,} bits"
    assert f"{summary['joint']['moved']} units: {row}" in done.output
    first = [(tmp_path / "results/net" / name).read_bytes() for name in RESULT_FILES]
    (tmp_path / "results/net/summary.json").unlink()
    with Store(tmp_path / "results/net") as store:
        kept = store.count(JOINT)
    done = home("run", "net.toml", "--set", "accept.max_kl=1e-4", "--jobs", "2", *flags)
    with Store(tmp_path / "results/net") as store:
        assert kept == store.count(JOINT) > 0
    assert first == [(tmp_path / "results/net" / name).read_bytes() for name in RESULT_FILES]
