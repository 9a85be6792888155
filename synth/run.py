"""The whole chain on one page: network → probes → fronts → choice → proofs → validation → files."""

import json
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from grammars.grammar import Grammar, GrammarError
from synth import evidence_files
from synth.assembly import LayerChoice, names_of, source_bits
from synth.backends import Workers, check_workers, connected
from synth.choice import Chooser, Point, search_multiplier
from synth.config import Config, select_layers
from synth.effort import Effort
from synth.emission import emit, save_weights
from synth.engines import load_engine
from synth.errors import InputError, Problems
from synth.evidence import LayerEvidence, Probes, Ranges, gather
from synth.files import write_atomic
from synth.fingerprint import code_digest
from synth.fronts import Candidate
from synth.inputs import load_probes
from synth.keys import content_key
from synth.layers import Layer
from synth.leftovers import FOLDER, working
from synth.loading import load_module
from synth.network import Network, read_network
from synth.picking import Criteria, Fronts
from synth.price import costs, gradients, priced_probes
from synth.progress import Tell
from synth.proofs import UnitProof, prove_choices, save_certificates, without_refuted
from synth.records import Records
from synth.search import GrammarSpec, SearchSettings, UnitFailure
from synth.splits import Parts, Split, check_enough, parts, split
from synth.store import FRONT, Store
from synth.trial import check_fit
from synth.validation import Validation

T = TypeVar("T")

Progress = Tell


@dataclass(frozen=True, eq=False)
class Job:
    """A user's input, read and checked: nothing has been searched yet."""

    config: Config
    network: Network
    parts: Parts
    grammar: Grammar
    settings: SearchSettings
    layers: tuple[str, ...]

    @property
    def probes(self) -> Probes:
        return Probes(self.parts.fit.inputs, self.parts.select.inputs)

    @property
    def criteria(self) -> Criteria:
        search, accept = self.config.search, self.config.accept
        return Criteria(search.max_fvu, search.max_error, accept.max_kl, accept.min_agreement)

    @property
    def workers(self) -> Workers:
        return _workers(self.config)

    @property
    def records(self) -> Records:
        return Records(names_of(self.network.layers, self.grammar), self.grammar)

    @property
    def digest(self) -> str:
        """A hash of everything that decides the results of a run folder."""
        three = (self.parts.fit, self.parts.select, self.parts.held_out)
        probes = [[part.inputs.digest(), _content(part.labels)] for part in three]
        state = {name: _content(t) for name, t in self.network.module.state_dict().items()}
        layers = [[la.name, la.weight, la.bias, repr(la.heads)] for la in self.network.layers]
        settings = [self.config.digest_fields(), self.grammar.digest, code_digest()]
        return content_key(settings, probes, state, layers, self.network.module.code)


@dataclass(frozen=True, eq=False)
class Searched:
    """What is known of one network's layers in the end, and the choices among their fronts.

    `failures` are the units that no worker found a front of: they stay opaque.
    """

    ranges: dict[str, Ranges]
    points: tuple[Point, ...]
    failures: tuple[UnitFailure, ...] = ()

    @property
    def point(self) -> Point:
        return self.points[-1]


@dataclass
class Stopwatch:
    """Seconds by stage: kept apart from results, which do not depend on the machine."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The items, with the time that it takes to get them counted as a stage."""
        while True:
            with self.stage(name):
                item = next(items, None)
            if item is None:
                return
            yield item

    def record(self, jobs: int) -> str:
        """`timing.json`: seconds, peak memory of the largest process and versions."""
        whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        peak = max(resource.getrusage(w).ru_maxrss for w in whose) / 1024
        versions = {n: version(n) for n in ("neuron-synth", "torch", "numpy", "z3-solver")}
        rounded = {k: round(v, 3) for k, v in self.seconds.items()}
        return _json({"seconds": rounded, "peak_mib": peak, "jobs": jobs, "versions": versions})


def load_job(config: Config) -> Job:
    """Read the network, the probes and the grammar of a configuration.

    Raises InputError with every problem that can be found before a search.
    """
    spec = _grammar_spec(config)
    with Problems() as problems:
        module = problems.attempt(load_module, config)
        probes = problems.attempt(load_probes, config)
        grammar = problems.attempt(_checked_grammar, spec)
        problems.attempt(check_workers, _workers(config))
        for name in config.search.engines:
            problems.attempt(load_engine, name, plugins=config.search.plugins)
        chosen = probes and problems.attempt(split, probes, config, config.run.seed)
        network, fits = None, False
        if module is not None and probes is not None:
            judged = getattr(config.network, "output", None)
            fits = problems.attempt(check_fit, module, probes, output=judged) is not None
        if fits and module is not None and probes is not None:
            example = probes.inputs.batch(0, 1)
            network = problems.attempt(read_network, module, example, judged=judged)
        layers = network and problems.attempt(_selected, network, chosen, config)
    assert network and probes and grammar and chosen and layers
    search = config.search
    settings = SearchSettings(spec, search.engines, search.budget, config.run.seed)
    return Job(config, network, parts(probes, chosen), grammar, settings, layers)


def run(job: Job, *, progress: Progress = lambda *_: None) -> dict[str, object]:
    """Do the whole job into its run folder and return the summary that is written there.

    What the folder's store already holds is not done again. Raises InputError where the folder
    belongs to another run or a process works there, and `Stopped` on a full disk.
    """
    from synth.summary import summarise

    config, watch = job.config, Stopwatch()
    described = {"config": str(config.path)} | config.digest_fields()
    units = {la.name: la.units for la in job.network.layers if la.name in job.layers}
    with working(config.out), connected(job.workers), Store(config.out) as store, _one_thread():
        store.claim_identity(job.digest, described, units=units)
        searched = search(job, job.network, store, watch, progress=progress)
        with watch.stage("proofs"):
            searched, proofs = _proved(job, searched)
        summary = summarise(job, searched, proofs, store, watch, progress=progress)
        with watch.stage("emission"):
            write_results(job, searched, proofs, summary)
        write_atomic(config.out / "timing.json", watch.record(config.run.jobs))
    return summary


def search(
    job: Job,
    network: Network,
    store: Store,
    watch: Stopwatch,
    *,
    criteria: Criteria | None = None,
    kind: str = FRONT,
    progress: Progress = lambda *_: None,
) -> Searched:
    """Evidence, fronts and choice for a network that may be a control of the job's own.

    One layer's evidence is held at a time; all wait in files for the choice. Fronts are kept in the
    store under `kind`.
    """
    folder = store.path.parent / FOLDER / kind.replace(" ", "_")
    places = {la.name: folder / str(i) for i, la in enumerate(network.layers)}
    with watch.stage("prices"):
        priced = priced_probes(network, job.probes.fit)
        slopes = gradients(network, priced, seed=job.config.run.seed)
    effort = Effort(job, store, kind, progress)
    ranges, fronts = {}, []
    for evidence in watch.each("evidence", gather(network, job.probes, seed=job.config.run.seed)):
        layer = evidence.layer
        evidence_files.write(evidence, places[layer.name])
        ranges[layer.name] = evidence.ranges
        with watch.stage("fronts"):
            units = effort.fronts(evidence, places[layer.name])
        with watch.stage("prices"):
            prices = costs(network, layer, units, slopes[layer.name], priced, job.grammar)
        fronts.append(Fronts(layer, units, tuple(prices)))

    def known(layer: Layer) -> LayerEvidence:
        return evidence_files.read(places[layer.name], layer)

    with watch.stage("choice"):
        engines = {engine.name: engine() for engine in job.settings.load()}
        given = criteria or job.criteria
        chooser = Chooser(network, tuple(fronts), known, job.probes, given, job.grammar, engines)
        points = _choose(job, chooser, store, progress)
    for place in places.values():
        evidence_files.remove(place)
    return Searched(ranges, points, tuple(effort.failures))


def write_results(
    job: Job, searched: Searched, proofs: Sequence[UnitProof], summary: dict[str, object]
) -> None:
    """The files of a run folder, each written whole or not at all."""
    from synth.summary import notes_of, program_rows

    out, names = job.config.out, names_of(job.network.layers, job.grammar)
    choices = searched.point.choices
    (out / "summary.json").unlink(missing_ok=True)  # it comes back last: a run with it is whole
    text = emit(job.network, choices, job.grammar, names, notes=notes_of(job, summary))
    write_atomic(out / "decompiled.py", text)
    save_weights(job.network, choices, job.grammar, out / "replacement.safetensors")
    save_certificates(out, choices, searched.ranges, proofs, names, job.grammar)
    write_atomic(out / "programs.json", _json(program_rows(job, searched, proofs)))
    write_atomic(out / "summary.json", _json(summary))


def _proved(job: Job, searched: Searched) -> tuple[Searched, list[UnitProof]]:
    """Proofs of the choice, after every refuted program has been taken back."""
    choices = searched.point.choices
    while True:
        proofs = prove_choices(
            choices, searched.ranges, job.grammar, max_error=job.criteria.max_error
        )
        kept = tuple(without_refuted(choices, proofs))
        if all(a.units == b.units for a, b in zip(kept, choices, strict=True)):
            break
        choices = kept
    point = replace(searched.point, choices=choices, bits=source_bits(choices, job.grammar))
    return replace(searched, points=(*searched.points[:-1], point)), proofs


def load_choices(job: Job, folder: Path) -> tuple[LayerChoice, ...]:
    """The chosen programs of a finished run. Raises InputError where they are not of this job."""
    path = folder / "programs.json"
    by_layer: dict[str, list[dict[str, object]]] = {}
    try:
        for row in json.loads(path.read_text(encoding="utf-8"))["units"]:
            by_layer.setdefault(row["layer"], []).append(row)
        return job.records.read_choices(by_layer, job.network.layers)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no programs of this network: {error}") from error


def validate_again(job: Job, folder: Path) -> Validation:
    """What held-out says of the programs of a finished run."""
    from synth.summary import validated

    choices = load_choices(job, folder)
    with _one_thread():
        found = gather(job.network, job.probes, seed=job.config.run.seed)
        return validated(job, choices, {e.layer.name: e.ranges for e in found})


def _selected(network: Network, chosen: Split | None, config: Config) -> tuple[str, ...]:
    """The layers to search. Raises InputError: an unknown one, or too few probes for one."""
    layers = select_layers(config.search.layers, [la.name for la in network.layers])
    if chosen is None:
        return layers
    with Problems() as problems:
        for layer in (la for la in network.layers if la.name in layers):
            places = layer.out_shape[1] * layer.out_shape[2]
            problems.attempt(check_enough, layer.name, layer.fan, places, chosen)
    return layers


def _choose(job: Job, chooser: Chooser, store: Store, progress: Progress) -> tuple[Point, ...]:
    records, criteria, layers = job.records, chooser.criteria, chooser.network.layers
    searched = [[_figures(unit) for unit in f.units] for f in chooser.fronts]
    prices = [list(f.costs) for f in chooser.fronts]
    bars = [criteria.max_fvu, criteria.max_error, criteria.max_kl]
    inputs = [part.digest() for part in (chooser.probes.fit, chooser.probes.select)]
    weights = [[la.weight, la.bias] for la in layers]
    code = [chooser.network.module.code, code_digest()]
    base = content_key(searched, prices, bars, inputs, weights, code)
    done: list[float] = []

    def at(multiplier: float) -> Point:
        progress("choice", len(done), 0)
        done.append(multiplier)
        key = content_key(base, multiplier)
        known = store.get("choice", key)
        if known is not None:
            return records.read_point(known, layers)
        point = chooser.at(multiplier)
        store.put("choice", key, records.point(point), f"{multiplier:.4g} bits per nat")
        return point

    return search_multiplier(at, criteria)


def _figures(front: Sequence[Candidate]) -> np.ndarray:
    """The numbers (C, 5) of a front, which stand for its programs in a key: texts are long."""
    rows = [(c.bits, c.fvu_fit, c.fvu_select, c.worst, c.bound) for c in front]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def _workers(config: Config) -> Workers:
    return Workers(**{f.name: getattr(config.run, f.name) for f in fields(Workers)})


def _grammar_spec(config: Config) -> GrammarSpec:
    search = config.search
    files = tuple(str(config.folder / f) for f in search.grammar)
    return GrammarSpec(files, search.tags, search.weights, search.plugins)


def _checked_grammar(spec: GrammarSpec) -> Grammar:
    """The grammar, with the user's primitives held to the contract."""
    from oracles.contract import check_primitive

    try:
        grammar = spec.load()
    except GrammarError as error:
        raise InputError(*error.problems) from None
    broken = [v for p in grammar.user for v in check_primitive(p, grammar)]
    if broken:
        raise InputError(
            *(f"primitive {v.primitive!r} in {v.interpreter}: {v.message}" for v in broken)
        )
    return grammar


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread a numeric task: sums have one order, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


def _content(tensor: torch.Tensor | None) -> list[object]:
    """What a key may hold of a tensor of any type."""
    if tensor is None:
        return []
    numbers = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return [str(tensor.dtype), list(tensor.shape), numbers]


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
