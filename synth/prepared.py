"""What a choice is made from: the evidence, fronts and prices of all layers of a network."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synth import evidence_files
from synth.aside import aside
from synth.by_hand.measuring import Hand, with_hand, without_hand
from synth.choice import Chooser
from synth.effort import Effort
from synth.evidence import LayerEvidence, Ranges, gather
from synth.families.kin import Kin
from synth.fronts import Candidate
from synth.layers import Layer
from synth.leftovers import FOLDER
from synth.network import Network
from synth.picking import Criteria, Fronts, able
from synth.price import costs, gradients, priced_probes
from synth.progress import Tell
from synth.schedule import EngineTally
from synth.search import UnitFailure
from synth.stopwatch import Stopwatch
from synth.store import FRONT, Store

if TYPE_CHECKING:
    from synth.job import Job


Units = tuple[tuple[Candidate, ...], ...]
Found = tuple[Units, Sequence[Kin], Future[list[np.ndarray]]]
"""The candidates of a layer's units, of its families, and what all of them cost."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a choice is made from: a chooser over all fronts, and what is known beside them."""

    chooser: Chooser
    ranges: dict[str, Ranges]
    failures: list[UnitFailure]
    engines: EngineTally


@contextmanager
def prepared(
    job: "Job",
    network: Network,
    store: Store,
    watch: Stopwatch,
    *,
    criteria: Criteria | None = None,
    kind: str = FRONT,
    progress: Tell = lambda *_: None,
) -> Iterator[Prepared]:
    """Evidence and fronts of a network that may be a control of the job's own.

    While workers search a layer, the one before is priced here, and the evidence of the next one is
    gathered. All evidence waits in files, which are removed in the end, and fronts in the store,
    under `kind`. Layers that no run into the folder was to search have neither.
    """
    folder = store.path.parent / FOLDER / kind.replace(" ", "_")
    places = {la.name: folder / str(i) for i, la in enumerate(network.layers)}
    with watch.stage("prices"):
        probes = priced_probes(network, job.probes.fit)
        priced = gradients(network, probes, seed=job.config.run.seed)
    effort, given = Effort(job, store, kind, progress), criteria or job.criteria
    asked = {*job.layers} | store.layers()
    ranges, found = {}, dict[str, Found]()
    with aside(job.workers) as beside:
        all_ = gather(network, job.probes, seed=job.config.run.seed, layers=asked)
        for evidence in watch.each("evidence", beside.ahead(all_)):
            layer = evidence.layer
            evidence_files.write(evidence, places[layer.name])
            ranges[layer.name] = evidence.ranges
            with watch.stage("fronts"):
                front = effort.fronts(evidence, places[layer.name])
                tried = with_hand(job, evidence, front) if kind == FRONT else front
                units = able(tried, evidence.ranges, given)
            with watch.stage("families"):
                related = effort.kin(evidence, places[layer.name], front, given.max_fvu)
                kin = [_able_kin(family, evidence, given) for family in related]
                if kind == FRONT:
                    kin = [without_hand(job, units, family) for family in kin]
            with watch.stage("prices"):
                every = _with_kin(units, kin)
                prices = beside.start(costs, layer, every, priced.pop(layer.name), job.grammar)
            found[layer.name] = units, kin, prices
        with watch.stage("prices"):
            bound = _bound(job, network)
            fronts = [
                _priced(la, *found.get(la.name, _nothing(la)), bound=la.name in bound)
                for la in network.layers
            ]
            if not job.config.search.families:
                fronts = [replace(known, joins=False) for known in fronts]

    def known(layer: Layer) -> LayerEvidence:
        return evidence_files.read(places[layer.name], layer)

    engines = {engine.name: engine for engine in (*job.settings.load(), Hand())}
    chooser = Chooser(network, tuple(fronts), known, job.probes, given, job.grammar, engines)
    yield Prepared(chooser, ranges, effort.failures, effort.engines)
    for place in places.values():
        evidence_files.remove(place)


def _bound(job: "Job", network: Network) -> frozenset[str]:
    """The layers where prices do not tell all: another output depends on them, or a unit that
    jumps; and every layer where inputs are of few values, as outputs may be zeros and ones, whose
    logarithms have no slope."""
    if job.discrete is not None:
        return frozenset(la.name for la in network.layers)
    return network.beside_judged | network.before_jumps


def _nothing(layer: Layer) -> Found:
    """What is found of a layer that nobody asked for."""
    prices: Future[list[np.ndarray]] = Future()
    prices.set_result([np.empty(0)] * layer.units)
    return ((),) * layer.units, [], prices


def _able_kin(kin: Kin, evidence: LayerEvidence, criteria: Criteria) -> Kin:
    """Those candidates of a family that hold by themselves."""
    epsilon = criteria.epsilon(evidence.ranges)
    return {c: tuple(k for k in own if criteria.hold(k, epsilon[c])) for c, own in kin.items()}


def _with_kin(units: Units, kin: Sequence[Kin]) -> Units:
    """The candidates of each unit, and behind them those of its families."""
    return tuple(
        (*own, *(candidate for family in kin for candidate in family.get(channel, ())))
        for channel, own in enumerate(units)
    )


def _priced(
    layer: Layer,
    units: Units,
    kin: Sequence[Kin],
    priced: Future[list[np.ndarray]],
    *,
    bound: bool,
) -> Fronts:
    """The fronts of a layer and its families with the prices of `_with_kin`."""
    prices = priced.result()
    costs = tuple(all_[: len(unit)] for all_, unit in zip(prices, units, strict=True))
    queues, places = [], [len(unit) for unit in units]
    for family in kin:
        own = {}
        for channel, candidates in family.items():
            end = places[channel] + len(candidates)
            nats = prices[channel][places[channel] : end].tolist()
            own[channel], places[channel] = [*zip(candidates, nats, strict=True)], end
        queues.append(own)
    return Fronts(layer, units, costs, bound, tuple(queues))
