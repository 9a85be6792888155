"""Families that were planted are found among other units, and chosen where they save bits."""

from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from emitting import read
from small import pictures
from torch import nn

from grammars.coding import family_bits, program_bits
from grammars.compiled import compile_bank
from grammars.grammar import Grammar, load_grammar
from grammars.program import Node, call, linear, tap
from synth import evidence_files
from synth.assembly import Status, source_index
from synth.backends import Workers
from synth.batches import Inputs
from synth.engine import UnitEvidence
from synth.engines.kernel import KernelEngine
from synth.evidence import LayerEvidence, Probes, gather
from synth.families.kin import Kin, kin_of
from synth.fronts import Candidate, judge
from synth.picking import Criteria, Fronts, Picker
from synth.search import GrammarSpec, UnitFailure
from synth.unit_tasks import EachUnit, done
from synth.unit_workers import UnitWorkers

SIDE, SIZE = 16, 7
ANGLES, PHASES, SCALES = (0.0, 45.0, 90.0, 135.0), (0.0, 90.0), (1.0, 1.5)
PLANTED = [*product(ANGLES, PHASES, SCALES)]
OTHERS = 3
KEPT = {"gabor", "conv"}


@cache
def grammar() -> Grammar:
    whole = load_grammar(tags=("core", "kernel"), installed=False)
    able = (p for p in whole.primitives if "kernel" not in p.tags or p.name in KEPT)
    return Grammar(tuple(able))


def planted(angle: float, phase: float, scale: float, jitter: float = 0.0) -> Node:
    """A unit of the family, with a width that is off by so much."""
    sizes = {"wavelength": 4.0, "sigma": 1.25, "length": 1.5}
    given = {name: round(8 * scale * size) / 8 for name, size in sizes.items()}
    given |= {"angle": angle, "phase": phase, "sigma": given["sigma"] + jitter}
    specs = grammar()["gabor"].parameters
    kernel = call("gabor", **{n: given.get(n, spec.default) for n, spec in specs})
    pre = linear([(0.75 / scale, call("conv", kernel, tap("input_1", 0)))], -0.125)
    return call("relu", pre)


@cache
def evidence(noise: float) -> LayerEvidence:
    """A layer of planted gabors, disturbed, and of units without structure, in random order."""
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(1, len(PLANTED) + OTHERS, SIZE)
    network = read(nn.Sequential(conv, nn.ReLU()), 1, SIDE, SIDE)
    scope = network.layers[0].scope
    bank = compile_bank([planted(*p) for p in PLANTED], source_index(scope), grammar())
    rough = 0.3 * rng.standard_normal((OTHERS, SIZE * SIZE))
    weight = np.concatenate([bank.weight, rough])
    size = np.sqrt((weight**2).mean(1, keepdims=True))
    weight = weight + noise * size * rng.standard_normal(weight.shape)
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(weight[order()]).reshape(conv.weight.shape))
        conv.bias.fill_(-0.125)
    images = pictures(60, 1, SIDE, seed=1)
    known = read(nn.Sequential(conv, nn.ReLU()), 1, SIDE, SIDE)
    return next(gather(known, Probes(Inputs((images[:40],)), Inputs((images[40:],))), seed=0))


def order() -> np.ndarray:
    return np.random.default_rng(1).permutation(len(PLANTED) + OTHERS)


@cache
def fronts(noise: float) -> tuple[tuple[Candidate, ...], ...]:
    """As they come from a search of each unit by itself: near, but a step off here and there."""
    known, found = evidence(noise), []
    for channel, unit in enumerate(order().tolist()):
        jitter = 0.125 * (channel % 3 - 1) * bool(noise)
        programs = [planted(*PLANTED[unit], jitter)] if unit < len(PLANTED) else []
        own = UnitEvidence(known, channel, grammar())
        found.append(tuple(judge(own, programs, ["kernel"] * len(programs))))
    return tuple(found)


@cache
def kin(noise: float) -> tuple[Kin, ...]:
    found = evidence(noise), fronts(noise), grammar()
    return kin_of(*found, 0.02, one_by_one(evidence(noise), grammar()))


def one_by_one(known: LayerEvidence, grammar: Grammar) -> EachUnit:
    """All tasks in this process."""
    return lambda task, channels: {c: done(task, UnitEvidence(known, c, grammar)) for c in channels}


def picked(noise: float, *, families: bool = True, multiplier: float = 1e3):
    """A choice at bits for each nat, with as many nats as there is variance unexplained."""
    nats = [np.array([max(c.fvu_fit, c.fvu_select) for c in f]) for f in fronts(noise)]
    queues = tuple(
        {c: [(k, max(k.fvu_fit, k.fvu_select)) for k in own] for c, own in family.items()}
        for family in (kin(noise) if families else ())
    )
    known = Fronts(evidence(noise).layer, fronts(noise), tuple(nats), kin=queues)
    criteria, engines = Criteria(0.02, 1.0, 1.0, 0.0), {"kernel": KernelEngine()}
    return Picker(known, evidence(noise), None, criteria, grammar(), engines).choice(multiplier)


def channels(scale: float | None = None) -> set[int]:
    """Where the planted units are."""
    return {
        place
        for place, unit in enumerate(order().tolist())
        if unit < len(PLANTED) and scale in (None, PLANTED[unit][2])
    }


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_kin_are_found(noise: float) -> None:
    """Each scale is a family of its own: what members share is the same in all of them."""
    found = [set(family) for family in kin(noise)]
    assert sorted(found, key=min) == sorted((channels(s) for s in SCALES), key=min)


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_all_planted_units_are_one_family(noise: float) -> None:
    """At less than half of the bits that the same units take one by one, and no larger error."""
    choice = picked(noise)
    (family,) = choice.families
    assert set(family) == channels()
    together = sum(choice.units[c].bits for c in family)
    separate, scope = picked(noise, families=False), choice.scope
    programs = (separate.units[c].program for c in family)
    alone = sum(program_bits(p, scope, grammar()) for p in programs if p is not None)
    assert together == family_bits(choice.source(), family, grammar())
    assert together < alone / 2
    assert all(choice.units[c].fvu_local <= 0.02 for c in family)
    assert all(choice.units[c].status is Status.PROGRAM for c in family)


@dataclass(frozen=True)
class Squared:
    """A sum of squares over a unit's patches; one unit fails."""

    fails: int = -1

    def __call__(self, unit: UnitEvidence) -> float:
        if unit.channel == self.fails:
            raise ZeroDivisionError("a bug")
        values = unit.layer.pre[:, unit.channel]
        return float(values @ values)


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_find_what_this_process_finds(tmp_path: Path, jobs: int) -> None:
    """A task over units comes back from other processes to the bit, in the order of channels; a
    unit that they fail at is left out, with the reason, and others are not."""
    known, spec = evidence(0.0), GrammarSpec(tags=("core", "kernel"), plugins=False)
    files, failures = evidence_files.write(known, tmp_path / "arrays"), list[UnitFailure]()
    how = known, files, "a key", spec, Workers(jobs), tmp_path, "a test", failures
    here = one_by_one(known, spec.load())(Squared(), [2, 0, 1])
    found = UnitWorkers(*how)(Squared(), [2, 0, 1])
    assert list(found) == [2, 0, 1] and found == here and not failures
    assert UnitWorkers(*how)(Squared(0), [2, 0, 1]) == {2: here[2], 1: here[1]}
    (failure,) = failures
    assert (failure.layer, failure.channel, failure.attempts) == (known.layer.name, 0, 2)
    assert failure.reason.startswith("a test: ZeroDivisionError: a bug")
