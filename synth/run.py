"""The whole chain on one page: network → probes → fronts → choice → proofs → validation → files."""

import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from grammars.grammar import Grammar, GrammarError
from synth.assembly import LayerChoice, names_of, source_bits
from synth.choice import Chooser, Criteria, Fronts, Point, search_multiplier
from synth.config import Config, select_layers
from synth.emission import emit, save_weights
from synth.engines import ENGINES
from synth.errors import InputError, Problems
from synth.evidence import LayerEvidence, Probes, gather
from synth.files import write_atomic
from synth.fingerprint import code_digest
from synth.fronts import Candidate
from synth.inputs import load_probes
from synth.keys import content_key
from synth.layers import Layer
from synth.loading import check_fit, load_module
from synth.network import Network, read_network
from synth.price import costs, gradients, priced_probes
from synth.proofs import UnitProof, prove_choices, save_certificates, without_refuted
from synth.records import Records
from synth.search import GrammarSpec, SearchSettings, evidence_key, search_layer
from synth.splits import Parts, Split, check_enough, parts, split
from synth.store import FRONT, Store
from synth.validation import Validation

Progress = Callable[[str, int, int], None]
"""(what is being done, how much of it is done, how much there is)."""


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
    def records(self) -> Records:
        return Records(names_of(self.network.layers, self.grammar), self.grammar)

    @property
    def digest(self) -> str:
        """A hash of everything that decides the results of a run folder."""
        three = (self.parts.fit, self.parts.select, self.parts.held_out)
        probes = [_content(t) for part in three for t in (part.inputs, part.labels)]
        state = {name: _content(t) for name, t in self.network.module.state_dict().items()}
        layers = [[la.name, la.weight, la.bias, repr(la.heads)] for la in self.network.layers]
        settings = [self.config.digest_fields(), self.grammar.digest, code_digest()]
        return content_key(settings, probes, state, layers, self.network.module.code)


@dataclass(frozen=True, eq=False)
class Searched:
    """One network's fronts and the choice among them."""

    evidence: dict[str, LayerEvidence]
    fronts: tuple[Fronts, ...]
    points: tuple[Point, ...]

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
        unknown = [n for n in config.search.engines if n not in ENGINES]
        for name in unknown:
            problems.add(f"search.engines: unknown engine {name!r}; known are {sorted(ENGINES)}")
        chosen = probes and problems.attempt(split, probes, config, config.run.seed)
        network, fits = None, False
        if module is not None and probes is not None:
            fits = problems.attempt(check_fit, module, probes) is not None
        if fits and module is not None and probes is not None:
            network = problems.attempt(read_network, module, probes.inputs[:1])
        layers = network and problems.attempt(_selected, network, chosen, config)
    assert network and probes and grammar and chosen and layers
    search = config.search
    settings = SearchSettings(spec, search.engines, search.budget, config.run.seed)
    return Job(config, network, parts(probes, chosen), grammar, settings, layers)


def run(job: Job, *, progress: Progress = lambda *_: None) -> dict[str, object]:
    """Do the whole job into its run folder and return the summary that is written there.

    What the folder's store already holds is not done again. Raises InputError where the folder
    belongs to another run.
    """
    from synth.summary import summarise

    config, watch = job.config, Stopwatch()
    with Store(config.out) as store, _one_thread():
        store.claim_identity(job.digest, {"config": str(config.path)} | config.digest_fields())
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

    Fronts are kept in the store under `kind`.
    """
    probes, records, seed = job.probes, job.records, job.config.run.seed
    with watch.stage("evidence"):
        evidence = {la.name: gather(network, la, probes, seed=seed) for la in network.layers}
    with watch.stage("fronts"):
        found = {
            la.name: _fronts(job, evidence[la.name], store, records, kind, progress)
            for la in network.layers
        }
    with watch.stage("prices"):
        priced = priced_probes(probes.fit)
        slopes = gradients(network, priced, seed=seed)
        fronts = tuple(
            Fronts(
                evidence[n],
                units,
                tuple(costs(network, evidence[n], units, slopes[n], priced, job.grammar)),
            )
            for n, units in found.items()
        )
    with watch.stage("choice"):
        points = _choose(job, network, fronts, store, criteria or job.criteria, progress)
    return Searched(evidence, fronts, points)


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
    save_certificates(out, choices, searched.evidence, proofs, names, job.grammar)
    write_atomic(out / "programs.json", _json(program_rows(job, searched, proofs)))
    write_atomic(out / "summary.json", _json(summary))


def _proved(job: Job, searched: Searched) -> tuple[Searched, list[UnitProof]]:
    """Proofs of the choice, after every refuted program has been taken back."""
    choices = searched.point.choices
    while True:
        proofs = prove_choices(
            choices, searched.evidence, job.grammar, max_error=job.criteria.max_error
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
        evidence = {
            la.name: gather(job.network, la, job.probes, seed=job.config.run.seed)
            for la in job.network.layers
        }
        return validated(job, choices, Searched(evidence, (), ()))


def _selected(network: Network, chosen: Split | None, config: Config) -> tuple[str, ...]:
    """The layers to search. Raises InputError: an unknown one, or too few probes for one."""
    layers = select_layers(config.search.layers, [la.name for la in network.layers])
    if chosen is None:
        return layers
    with Problems() as problems:
        for layer in (la for la in network.layers if la.name in layers):
            places = layer.out_shape[1] * layer.out_shape[2]
            problems.attempt(check_enough, layer.name, layer.weight.shape[1], places, chosen)
    return layers


def _fronts(
    job: Job,
    evidence: LayerEvidence,
    store: Store,
    records: Records,
    kind: str,
    progress: Progress,
) -> tuple[tuple[Candidate, ...], ...]:
    """The fronts of one layer; empty ones for a layer that no run into this folder asked for."""
    layer: Layer = evidence.layer
    if layer.name not in job.layers and not _known(job, evidence, store, kind):
        return ((),) * layer.units
    found: dict[int, tuple[Candidate, ...]] = {}
    progress(layer.name, 0, layer.units)
    jobs = job.config.run.jobs
    units = search_layer(evidence, job.settings, store, records, jobs=jobs, kind=kind)
    for channel, candidates in units:
        found[channel] = candidates
        progress(layer.name, len(found), layer.units)
    return tuple(found[c] for c in range(layer.units))


def _known(job: Job, evidence: LayerEvidence, store: Store, kind: str) -> bool:
    base = evidence_key(evidence, job.settings)
    keys = (content_key(base, c) for c in range(evidence.layer.units))
    return all(store.get(kind, key) is not None for key in keys)


def _choose(
    job: Job,
    network: Network,
    fronts: tuple[Fronts, ...],
    store: Store,
    criteria: Criteria,
    progress: Progress,
) -> tuple[Point, ...]:
    engines = {name: ENGINES[name]() for name in job.settings.engines}
    chooser = Chooser(network, fronts, job.probes, criteria, job.grammar, engines)
    records = job.records
    searched = [[records.front(unit) for unit in f.units] for f in fronts]
    keys = [evidence_key(f.evidence, job.settings) for f in fronts]
    bars = [criteria.max_fvu, criteria.max_error, criteria.max_kl]
    base = content_key(keys, searched, bars, network.module.code)
    done: list[float] = []

    def at(multiplier: float) -> Point:
        progress("choice", len(done), 0)
        done.append(multiplier)
        key = content_key(base, multiplier)
        known = store.get("choice", key)
        if known is not None:
            return records.read_point(known, network.layers)
        point = chooser.at(multiplier)
        store.put("choice", key, records.point(point), f"{multiplier:.4g} bits per nat")
        return point

    return search_multiplier(at, criteria)


def _grammar_spec(config: Config) -> GrammarSpec:
    search = config.search
    files = tuple(str(config.folder / f) for f in search.grammar)
    return GrammarSpec(files, search.tags, search.weights)


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
