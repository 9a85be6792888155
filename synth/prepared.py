"""What a choice is made from: the evidence, fronts and prices of all layers of a network."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from synth import evidence_files
from synth.backends import Workers
from synth.choice import Chooser
from synth.effort import Effort
from synth.evidence import LayerEvidence, Ranges, gather
from synth.layers import Layer
from synth.leftovers import FOLDER
from synth.network import Network
from synth.picking import Criteria, Fronts
from synth.price import costs, gradients, priced_probes
from synth.progress import Tell
from synth.search import UnitFailure
from synth.stopwatch import Stopwatch
from synth.store import FRONT, Store

if TYPE_CHECKING:
    from synth.run import Job


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a choice is made from: a chooser over all fronts, and what is known beside them."""

    chooser: Chooser
    ranges: dict[str, Ranges]
    failures: list[UnitFailure]


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

    One layer's evidence is held at a time; all wait in files, which are removed in the end. Fronts
    are kept in the store under `kind`.
    """
    folder = store.path.parent / FOLDER / kind.replace(" ", "_")
    places = {la.name: folder / str(i) for i, la in enumerate(network.layers)}
    with watch.stage("prices"):
        probes = priced_probes(network, job.probes.fit)
        priced = gradients(network, probes, seed=job.config.run.seed)
    effort = Effort(job, store, kind, progress)
    ranges, found = {}, []
    with _beside(job.workers) as price:
        all_ = gather(network, job.probes, seed=job.config.run.seed)
        for evidence in watch.each("evidence", all_):
            layer = evidence.layer
            evidence_files.write(evidence, places[layer.name])
            ranges[layer.name] = evidence.ranges
            with watch.stage("fronts"):
                units = effort.fronts(evidence, places[layer.name])
            with watch.stage("prices"):
                prices = price(costs, layer, units, priced.pop(layer.name), job.grammar)
            found.append((layer, units, prices))
        with watch.stage("prices"):
            fronts = [Fronts(la, units, tuple(prices.result())) for la, units, prices in found]

    def known(layer: Layer) -> LayerEvidence:
        return evidence_files.read(places[layer.name], layer)

    engines = {engine.name: engine() for engine in job.settings.load()}
    given = criteria or job.criteria
    chooser = Chooser(network, tuple(fronts), known, job.probes, given, job.grammar, engines)
    yield Prepared(chooser, ranges, effort.failures)
    for place in places.values():
        evidence_files.remove(place)


@contextmanager
def _beside(workers: Workers) -> Iterator[Callable[..., Future[Any]]]:
    """Starts a function in this process while workers search the next layer; where they are this
    process, it is done at once."""
    thread = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))

    def start(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future = thread.submit(function, *arguments)
        if workers.here:
            future.result()
        return future

    try:
        yield start
    finally:
        thread.shutdown(cancel_futures=True)
