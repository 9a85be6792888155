"""What a plan counts is what the code holds and takes."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small import (
    CORE,
    RELU,
    dense_evidence,
    dense_layer,
    evidence_of,
    random_probes,
    read,
    seeded,
    unit_evidence,
)
from torch import Tensor, nn

from synth import evidence as gathering
from synth import survey
from synth.batches import Inputs
from synth.durations import Durations
from synth.engines import linear
from synth.engines.linear import LinearEngine
from synth.evidence import LEAST, Probes
from synth.footprint import MIB
from synth.layers import Geometry, Layer
from synth.needs import BATCH, Load, Memory, Place, moments_bytes, sampled
from synth.network import Network
from synth.schedule import search_unit
from synth.search_costs import FEW, NARROW, TELLING, Manner, candidates, manner_of, unit_seconds
from synth.sizes import Sizes, weigh
from synth.speed import Speed, measure
from synth.threads import numeric_threads


def layer_of(fan: int = 16, units: int = 4) -> Layer:
    shapes = (fan, 1, 1), (units, 1, 1)
    weight = np.random.default_rng(0).standard_normal((units, fan))
    return Layer("a", "x", *shapes, Geometry((1, 1)), weight, np.zeros(units), (RELU,) * units)


class Skips(nn.Module):
    """A sum that waits for a layer, and channels that are views of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x).relu()
        left, right = (first + self.second(first)).chunk(2, 1)
        return (self.third(left) + right.mean(1, keepdim=True)).mean((2, 3))


def test_what_is_kept_is_weighed() -> None:
    """Of each sample: nothing before the first layer, its maps before the second, and one tensor
    of two halves before the third."""
    network = read(Skips(), (1, 5, 6))
    sizes = weigh(network, Inputs([torch.rand(3, 1, 5, 6)]))
    assert list(sizes.kept.values()) == [0, 4 * 4 * 30, 4 * 4 * 30]
    assert sizes.largest == 4 * 4 * 30 and sizes.every > 4 * sizes.largest
    assert sizes.outputs == 3


@pytest.fixture(scope="module")
def grouped() -> tuple[Network, Probes, Memory, Load]:
    """A network with a grouped layer, with its probes and its counts."""
    parts = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten()
    network = read(seeded(*parts, nn.Linear(64, 3)), (2, 8, 8))
    probes = random_probes((2, 8, 8), fit=300)
    places = tuple(Place(layer, layer.name, True) for layer in network.layers)
    memory = Memory(places, weigh(network, probes.fit), 2000)
    return network, probes, memory, Load(300, 120, 0)


def test_counts_are_those_of_the_evidence(grouped: tuple[Network, Probes, Memory, Load]) -> None:
    """Moments to the byte, sampled rows but for a few, and candidates of narrow units."""
    network, probes, memory, load = grouped
    for place, evidence in zip(memory.places, evidence_of(network, probes).values(), strict=True):
        moments = evidence.moments
        assert moments_bytes(place.layer) == moments.gram.nbytes + moments.cross.nbytes
        rows = sampled(place, load)
        assert rows.select == len(evidence.select)
        assert rows.fit == pytest.approx(len(evidence.fit), rel=0.05)
        proposed = LinearEngine().propose(unit_evidence(evidence), budget=2000, seed=0)
        assert candidates(place.layer, 2000) == pytest.approx(len(list(proposed)), rel=0.3)


@pytest.mark.parametrize("jobs", [1, 2])
def test_select_is_counted_where_it_is_read_beside_fit(
    grouped: tuple[Network, Probes, Memory, Load], monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """Both are read at once where there are threads for them: the plan then counts the patches of
    both, and else of fit alone, whose survey is the larger."""
    network, probes, memory, load = grouped
    at_once, met = threading.Barrier(2), list[str]()

    def meeting(function: Callable[..., Any]) -> Callable[..., Any]:
        def met_first(*arguments: object) -> Any:
            with suppress(threading.BrokenBarrierError):
                at_once.wait(timeout=30 if jobs > 1 else 0.01)
                met.append(function.__name__)
            return function(*arguments)

        return met_first

    for function in (gathering._surveyed, gathering._seen):
        monkeypatch.setattr(gathering, function.__name__, meeting(function))
    with numeric_threads(jobs):
        next(gathering.gather(network, probes, seed=0))
    assert sorted(met) == (["_seen", "_surveyed"] if jobs > 1 else [])
    one, other = (
        next(n for n in memory.needs(given) if n.step == "moments of patches").parts[BATCH]
        for given in (load, replace(load, jobs=jobs))
    )
    share = load.select / load.fit  # all patches of both are one chunk
    assert other == pytest.approx((1 + share * bool(met)) * one)


def test_extremes_of_wide_layers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bytes bound the extreme rows, the plan counts no less than are kept, and not many more:
    each unit keeps as many as the others."""
    rows = list(np.random.default_rng(0).standard_normal((4, 16)))
    layer, load = dense_layer(rows, [0.0] * 4, [RELU] * 4), Load(20_000, 300, 0)
    monkeypatch.setattr(survey, "EXTREME_BYTES", 60 * survey.row_bytes(layer))
    monkeypatch.setattr("synth.evidence.SAMPLE", LEAST)
    kept = len(dense_evidence(layer, random_probes((16,), fit=load.fit, select=load.select)).fit)
    counted = sampled(Place(layer, layer.name, True), load).fit
    assert kept <= counted <= kept + 2 * layer.units + 0.1 * 60 and counted < LEAST + 60


def test_manners_are_those_of_the_engine() -> None:
    """The bounds between the ways to search are the engine's own, and each is met."""
    assert (NARROW, FEW, TELLING) == (linear.NARROW, linear.EXACT, linear.TELLING)
    layers = layer_of(128, 600), layer_of(300, 10), layer_of(300, 60)
    expected = [Manner.EXACT, Manner.EXACT, Manner.WIDE]
    assert [manner_of(layer) for layer in layers] == expected


def test_a_search_takes_about_the_time_that_is_expected(
    grouped: tuple[Network, Probes, Memory, Load],
) -> None:
    """A unit of every layer takes the processor's time that is foretold, within a factor of 3."""
    network, probes, memory, load = grouped
    found = list(evidence_of(network, probes).values())
    speed = measure(CORE)
    start = time.process_time()
    for evidence in found:
        search_unit(unit_evidence(evidence), [LinearEngine()], budget=2000, seed=0)
    taken = time.process_time() - start
    rows = [sampled(place, load) for place in memory.places]
    pairs = zip(network.layers, rows, strict=True)
    expected = sum(unit_seconds(layer, kept, 2000, speed) for layer, kept in pairs)
    assert taken / 3 < expected < taken * 3


def test_costs_are_linear_in_units_and_probes() -> None:
    """Ten times the units, or the probes, take at most ten times the time and memory."""
    speed = Speed(1e11, 5e10, 1.0)

    def cost(units: int, probes: int) -> tuple[float, float]:
        sizes = Sizes({"a": 4000}, 4000, 10_000, 256, 10)
        memory = Memory((Place(layer_of(units=units), "a", True),), sizes, 2000)
        load = Load(probes, probes, probes)
        stages = Durations(memory, speed, 2000).stages(load, shuffled=True)
        return sum(stages.values()), max(need.total for need in memory.needs(load))

    small, units, probes = cost(20, 3000), cost(200, 3000), cost(20, 30_000)
    for larger in (units, probes):
        assert all(1 <= b / a <= 10.5 for a, b in zip(small, larger, strict=True))


def test_joint_refinement_is_planned() -> None:
    """It adds to the choice alone, in time and in memory."""
    sizes, load = Sizes({"a": 4000}, 4000, 10_000, 256, 10), Load(3000, 3000, 3000)
    plain = Memory((Place(layer_of(), "a", True),), sizes, 2000)
    joint = replace(plain, joint=True)
    speed = Speed(1e11, 5e10, 1.0)
    stages = [Durations(m, speed, 2000).stages(load, shuffled=False) for m in (plain, joint)]
    needs = [[n.total for n in m.needs(load)] for m in (plain, joint)]
    changed = [name for name, seconds in stages[0].items() if stages[1][name] > seconds]
    assert changed == ["choice"] and stages[0].keys() == stages[1].keys()
    steps = [n.step for n in plain.needs(load)]
    more = {s for s, a, b in zip(steps, *needs, strict=True) if b > a}
    assert more == {"choice of programs"}


def test_workers_share_time_and_add_memory() -> None:
    """Two workers halve the fronts at most, and each process holds its own patches."""
    memory = Memory((Place(layer_of(), "a", True),), Sizes({"a": 400}, 400, 400, 256, 10), 2000)
    one, two = Load(9000, 900, 900), Load(9000, 900, 900, jobs=2, here=2, processes=True)
    seconds = [
        Durations(memory, Speed(1e11, 5e10, 1.0), 2000).layer(memory.places[0], load)["fronts"]
        for load in (one, two)
    ]
    assert seconds[1] <= seconds[0]
    peaks = [max(need.total for need in memory.needs(load)) for load in (one, two)]
    assert peaks[1] > peaks[0] + 2 * 100 * MIB
    elsewhere = replace(two, here=0)
    assert max(need.total for need in memory.needs(elsewhere)) < peaks[1]
