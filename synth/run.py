"""The whole chain on one page: network → probes → fronts → choice → proofs → validation → files."""

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from grammars.grammar import Grammar, GrammarError
from synth.assembly import LayerChoice, names_of, original_bits, source_bits
from synth.backends import Workers, check_workers, connected
from synth.basis import directions_of, read_basis
from synth.choice import Chooser, Point
from synth.config import Config, select_layers
from synth.deep.evidence import deep_layer
from synth.deep.reach import Reach
from synth.deep.search import DeepPrograms, search_deep
from synth.devices import check_device
from synth.direction_search import DirectionPrograms, search_directions
from synth.directions import Directions
from synth.discrete.circuits import Discrete, level_of
from synth.discrete.declared import check_values, with_alphabets
from synth.emission import emit, save_weights
from synth.engine import Engine
from synth.engines import AUTO, automatic, load_engine, missing
from synth.errors import InputError, Problems, listing, nearest
from synth.evidence import Probes, Ranges, gather
from synth.files import write_atomic
from synth.fingerprint import code_digest
from synth.folder import DEEP
from synth.footprint import check_memory
from synth.fronts import Candidate, figures
from synth.inputs import Probes as ProbeSet
from synth.inputs import load_probes
from synth.kernels.colours import axes_of
from synth.keys import content_key
from synth.layers import Layer
from synth.leftovers import working
from synth.loading import load_module
from synth.multiplier import search_points
from synth.naming import readable_names
from synth.network import Network, read_network
from synth.outputs import reading_of, run_batches
from synth.picking import Criteria
from synth.prepared import prepared
from synth.progress import Tell
from synth.proofs import UnitProof, save_certificates, settled
from synth.records import Records
from synth.schedule import EngineTally
from synth.search import GrammarSpec, SearchSettings, UnitFailure
from synth.splits import Parts, Split, check_enough, parts, split
from synth.stopwatch import Stopwatch
from synth.store import FRONT, Store
from synth.threads import numeric_threads
from synth.trial import check_fit
from synth.validation import Validation

Progress = Tell
INPUT = "input"  # what users call the only input, whatever the network does


@dataclass(frozen=True, eq=False)
class Job:
    """A user's input, read and checked: nothing has been searched yet.

    `note` says what was chosen for the user, if anything was.
    """

    config: Config
    network: Network
    parts: Parts
    grammar: Grammar
    settings: SearchSettings
    layers: tuple[str, ...]
    directions: tuple[Directions, ...] = ()
    deep: tuple[Reach, ...] = ()
    note: str = ""
    discrete: Discrete | None = None

    @property
    def probes(self) -> Probes:
        return Probes(self.parts.fit.inputs, self.parts.select.inputs)

    @property
    def criteria(self) -> Criteria:
        search, accept = self.config.search, self.config.accept
        bars = search.max_fvu, search.max_error, accept.max_kl, accept.min_agreement
        return Criteria(*bars, short=accept.short, most_bits=self._most_bits)

    @property
    def _most_bits(self) -> int | None:
        """Bits of the whole network, of which the layers that are searched have their share."""
        share = self.config.accept.bits
        if share == 1.0:
            return None
        searched = [la for la in self.network.layers if la.name in self.layers]
        less = (1 - share) * original_bits(searched)
        return int(original_bits(self.network.layers) - less)

    @property
    def workers(self) -> Workers:
        return _workers(self.config)

    @property
    def records(self) -> Records:
        """Under the names of layers and channels, which no program changes."""
        return self.named({})

    def named(self, given: Mapping[tuple[str, int], str]) -> Records:
        """Records under names of which some are given, by layer and channel."""
        beside = (*(d.layer for d in self.directions), *map(deep_layer, self.deep))
        banks = (*self.network.layers, *beside)
        return Records(names_of(banks, self.grammar, given), self.grammar)

    @property
    def digest(self) -> str:
        """A hash of everything that decides the results of a run folder."""
        three = (self.parts.fit, self.parts.select, self.parts.held_out)
        probes = [[part.inputs.digest(), _content(part.labels)] for part in three]
        state = {name: _content(t) for name, t in self.network.module.state_dict().items()}
        layers = [[la.name, la.weight, la.bias, repr(la.heads)] for la in self.network.layers]
        settings = [self.config.digest_fields(), self.grammar.digest, code_digest()]
        basis = [[d.key, d.matrix, d.names] for d in self.directions]
        return content_key(settings, probes, state, layers, self.network.module.code, basis)


@dataclass(frozen=True, eq=False)
class Searched:
    """What is known of one network's layers in the end, and the choices among their fronts.

    Of the points that were not chosen only the figures are kept. `failures` are the units that
    no worker found a front of: they stay opaque, `engines` what was done for the others.
    `directions` are searched beside the layers, and
    nothing is chosen by them; nor by `deep`, programs over an earlier bank.
    """

    ranges: dict[str, Ranges]
    points: tuple[Point, ...]
    failures: tuple[UnitFailure, ...] = ()
    engines: EngineTally = field(default_factory=EngineTally)
    directions: tuple[DirectionPrograms, ...] = ()
    deep: tuple[DeepPrograms, ...] = ()

    @property
    def point(self) -> Point:
        return self.points[-1]


def load_job(config: Config) -> Job:
    """Read the network, the probes and the grammar of a configuration.

    Raises InputError with every problem that can be found before a search.
    """
    with Problems() as problems:
        job = read_job(config, problems)
    assert job
    return job


def read_job(config: Config, problems: Problems) -> Job | None:
    """The same, with its problems collected; None where they leave nothing to plan a run by."""
    spec = _grammar_spec(config)
    module = problems.attempt(load_module, config)
    probes = problems.attempt(load_probes, config)
    basis = problems.attempt(read_basis, config.basis)
    grammar = problems.attempt(_checked_grammar, spec)
    problems.attempt(check_workers, _workers(config))
    device = problems.attempt(_device, config) or "cpu"
    for name in config.search.engines:
        problems.attempt(_usable, name, config)
    chosen = probes and problems.attempt(split, probes, config, config.run.seed)
    network = _network(config, module, probes, problems)
    layers = network and problems.attempt(_selected, network, config)
    known = network and problems.attempt(directions_of, basis, network.layers)
    deep = None
    if network and layers:
        deep = problems.attempt(_reaches, network, layers, config.search.deep)
    if not (network and probes and grammar and chosen and layers):
        return None
    searched = [la for la in network.layers if la.name in layers]
    searched += [d.layer for d in known or ()]
    problems.attempt(_check_probes, searched, chosen, config)
    names, note = _engines(config, grammar, searched, problems)
    discrete = problems.attempt(_discrete, network, probes, grammar, config)
    search, found = config.search, parts(probes, chosen).on(device)
    seed, short = config.run.seed, config.accept.short
    how = names, search.budget, seed, short, search.max_fvu, search.templates
    settings = SearchSettings(spec, *how, max_error=search.max_error)
    moved = network.on(device)
    reaches = tuple(replace(reach, network=moved) for reach in deep or ())
    told = {"note": note, "discrete": discrete}
    return Job(config, moved, found, grammar, settings, layers, known or (), reaches, **told)


def run(job: Job, *, progress: Progress = lambda *_: None) -> dict[str, object]:
    """Do the whole job into its run folder and return the summary that is written there.

    What the folder's store already holds is not done again. Raises InputError where the machine
    has not the memory that it is expected to take, where the folder belongs to another run or a
    process works there, and `Stopped` on a full disk.
    """
    from synth.summary import summarise

    check_memory(job)
    config, watch = job.config, Stopwatch()
    described = {"config": str(config.path)} | config.digest_fields()
    units = {la.name: la.units for la in job.network.layers if la.name in job.layers}
    threads = numeric_threads(config.run.jobs)
    with working(config.out), connected(job.workers), Store(config.out) as store, threads:
        store.claim_identity(job.digest, described, units=units)
        searched = search(job, job.network, store, watch, progress=progress)
        with watch.stage("directions"):
            directions = tuple(search_directions(job, store, progress=progress))
            searched = replace(searched, directions=directions)
        with watch.stage("deep"):
            deep = tuple(search_deep(job, store, progress=progress))
            searched = replace(searched, deep=deep)
        with watch.stage("proofs"):
            searched, proofs = _proved(job, searched)
        summary = summarise(job, searched, proofs, store, watch, progress=progress)
        with watch.stage("emission"):
            write_results(job, searched, proofs, summary)
        spent = searched.engines.seconds
        write_atomic(config.out / "timing.json", watch.record(config.run.jobs, spent))
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
    """Evidence, fronts and choice for a network that may be a control of the job's own."""
    known = prepared(job, network, store, watch, criteria=criteria, kind=kind, progress=progress)
    with known as found, watch.stage("choice"), _unswept():
        *others, chosen = _choose(job, found.chooser, store, progress)
    points = (*(replace(point, choices=()) for point in others), chosen)  # programs are large
    return Searched(found.ranges, points, tuple(found.failures), found.engines)


def write_results(
    job: Job, searched: Searched, proofs: Sequence[UnitProof], summary: dict[str, object]
) -> None:
    """The files of a run folder, each written whole or not at all."""
    from synth.deep.report import deep_rows
    from synth.direction_report import direction_rows
    from synth.summary import notes_of, program_rows

    out, choices = job.config.out, searched.point.choices
    plain = job.records.names
    records = job.named(readable_names(choices, job.grammar, {*plain, *plain.stems, *job.grammar}))
    names = records.names
    (out / "summary.json").unlink(missing_ok=True)  # it comes back last: a run with it is whole
    text = emit(job.network, choices, job.grammar, names, notes=notes_of(job, summary))
    write_atomic(out / "decompiled.py", text)
    save_weights(job.network, choices, job.grammar, out / "replacement.safetensors")
    beside = searched.directions
    ranges = searched.ranges | {d.choice.layer.name: d.ranges for d in beside}
    claimed = (*choices, *(d.choice for d in beside)), ranges
    proved = (*proofs, *(proof for d in beside for proof in d.proofs))
    save_certificates(out, *claimed, proved, names, job.grammar)
    write_atomic(out / "programs.json", _json(program_rows(job, searched, proofs, records)))
    if beside:
        write_atomic(out / "directions.json", _json(direction_rows(job, searched, proofs, records)))
    if searched.deep:
        write_atomic(out / DEEP, _json(deep_rows(searched.deep, records)))
    write_atomic(out / "summary.json", _json(summary))


def _proved(job: Job, searched: Searched) -> tuple[Searched, list[UnitProof]]:
    """Proofs of the choice, after every refuted program has been taken back."""
    choices, proofs = settled(
        searched.point.choices,
        searched.ranges,
        job.grammar,
        max_error=job.criteria.max_error,
        jobs=job.config.run.jobs,
    )
    point = replace(searched.point, choices=choices, bits=source_bits(choices, job.grammar))
    return replace(searched, points=(*searched.points[:-1], point)), proofs


def load_choices(job: Job, folder: Path) -> tuple[LayerChoice, ...]:
    """The chosen programs of a finished run. Raises InputError where they are not of this job."""
    path = folder / "programs.json"
    by_layer: dict[str, list[dict[str, Any]]] = {}
    try:
        for row in json.loads(path.read_text(encoding="utf-8"))["units"]:
            by_layer.setdefault(row["layer"], []).append(row)
        called = {(r["layer"], r["channel"]): r["name"] for rows in by_layer.values() for r in rows}
        return job.named(called).read_choices(by_layer, job.network.layers)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no programs of this network: {error}") from error


def validate_again(job: Job, folder: Path) -> Validation:
    """What held-out says of the programs of a finished run."""
    from synth.summary import validated

    choices = load_choices(job, folder)
    with numeric_threads(job.config.run.jobs):
        spoken = {c.layer.name for c in choices if not c.is_opaque}
        found = gather(job.network, job.probes, seed=job.config.run.seed, layers=spoken)
        return validated(job, choices, {e.layer.name: e.ranges for e in found})


def _selected(network: Network, config: Config) -> tuple[str, ...]:
    """The layers to search. Raises InputError: an unknown one."""
    return select_layers(config.search.layers, [la.name for la in network.layers])


def _network(
    config: Config, module: torch.nn.Module | None, probes: ProbeSet | None, problems: Problems
) -> Network | None:
    """The network as it is read, with the values that its inputs may have; None where it, or the
    probes, are no good."""
    values, judged = config.network.values, config.network.output
    if probes is None:
        return None
    if values:
        problems.attempt(check_values, probes, values)
    if module is None or problems.attempt(check_fit, module, probes, output=judged) is None:
        return None
    example = probes.inputs.batch(0, 1)
    network = problems.attempt(read_network, module, example, judged=judged)
    return with_alphabets(network, values) if network and values else network


def _reaches(network: Network, layers: Sequence[str], bank: str | None) -> tuple[Reach, ...]:
    """The layers that are to be written over an earlier bank too. Raises InputError where there is
    no such bank, or one of the layers cannot be."""
    if bank is None:
        return ()
    if bank == INPUT and len(network.input_names) == 1:
        (bank,) = network.input_names
    if bank not in network.banks:
        hint = nearest(bank, (INPUT, *network.banks))
        raise InputError(f"search.deep: there is no bank {bank!r}.{hint}")
    asked = [la for la in network.layers if la.name in layers and la.source != bank]
    with Problems() as problems:
        found = [problems.attempt(Reach, network, layer, bank) for layer in asked]
        if not asked:
            problems.add(f"search.deep: every layer that is searched reads {bank!r} anyway.")
    return tuple(reach for reach in found if reach)


def _discrete(
    network: Network, probes: ProbeSet, grammar: Grammar, config: Config
) -> Discrete | None:
    """What `network.values` says. Raises InputError for a network that is no circuit."""
    values, threshold = config.network.values, config.network.threshold
    if not values:
        return None
    outputs = run_batches(network.module, probes.inputs, pick=network.judge)
    level = level_of(reading_of(outputs), threshold, outputs.shape[1])
    return Discrete(network, grammar, values, level)


def _device(config: Config) -> str:
    """Where the network runs. Raises InputError: torch cannot use it."""
    check_device(config.run.device)
    return config.run.device


def _check_probes(layers: Sequence[Layer], chosen: Split, config: Config) -> None:
    """Raises InputError: too few probes for some layers."""
    ratio = config.search.patches_per_weight
    with Problems() as problems:
        for layer in layers:
            places = layer.out_shape[1] * layer.out_shape[2]
            problems.attempt(check_enough, layer.name, layer.fan, places, chosen, ratio)


def _usable(name: str, config: Config) -> type[Engine] | None:
    """An engine; None for the name that stands for several. Raises InputError: unknown, broken, or
    something that it needs is not installed."""
    if name == AUTO:
        return None
    engine = load_engine(name, plugins=config.search.plugins)
    if reason := missing(engine):
        raise InputError(f"search.engines: {name!r} cannot be used here: {reason}.")
    return engine


def _engine_names(
    config: Config, grammar: Grammar, layers: Sequence[Layer]
) -> tuple[tuple[str, ...], str]:
    """The engines that are asked for, each once, and what `auto` stands for among them."""
    names = config.search.engines
    if AUTO not in names:
        return names, ""
    found, note = automatic(lambda engine: not _unable(engine, grammar, layers))
    places = (found if name == AUTO else (name,) for name in names)
    return tuple(dict.fromkeys(name for place in places for name in place)), note


def _engines(
    config: Config, grammar: Grammar, layers: Sequence[Layer], problems: Problems
) -> tuple[tuple[str, ...], str]:
    """The same, with what is wrong with them added to the problems."""
    names, note = _engine_names(config, grammar, layers)
    tried = (Problems().attempt(_usable, name, config) for name in names)
    engines = [engine for engine in tried if engine]
    problems.attempt(_check_able, engines, layers, grammar, config)
    problems.attempt(_check_settings, engines, grammar, config)
    return names, note


def _unable(engine: type[Engine], grammar: Grammar, layers: Sequence[Layer]) -> str | None:
    """Why an engine would find nothing in any of some layers."""
    asked = getattr(engine, "unable", None)
    return asked(grammar, layers) if asked else None


def _check_able(
    engines: Sequence[type[Engine]], layers: Sequence[Layer], grammar: Grammar, config: Config
) -> None:
    """Raises InputError where an engine, or colour, has nothing to do in any of the layers."""
    with Problems() as problems:
        for engine in engines:
            if reason := _unable(engine, grammar, layers):
                problems.add(f"search.engines: {engine.name!r} would find nothing: {reason}.")
        read = sorted({la.in_shape[0] for la in layers})
        if "colour" in config.search.tags and not any(axes_of(grammar, "", n) for n in read):
            channels = listing(map(str, read))
            problems.add(
                "search.tags: 'colour' is of banks of 3 channels, and the layers read banks of "
                f"{channels}: leave the tag out."
            )


def _check_settings(engines: Sequence[type[Engine]], grammar: Grammar, config: Config) -> None:
    """Raises InputError where what an engine is to be made with is no good, or nobody's."""
    templates = config.search.templates
    with Problems() as problems:
        asking = [e for e in engines if "templates" in getattr(e, "settings", ())]
        for engine in asking:
            problems.attempt(engine.check, templates, grammar)  # type: ignore[attr-defined]
        if templates and not asking:
            problems.add(
                "search.templates: no engine reads them: add 'template' to search.engines."
            )


def _choose(job: Job, chooser: Chooser, store: Store, progress: Progress) -> tuple[Point, ...]:
    records, criteria, layers = job.records, chooser.criteria, chooser.network.layers
    searched = [[figures(unit) for unit in f.units] for f in chooser.fronts]
    prices = [list(f.costs) for f in chooser.fronts]
    kin = [[_kin_figures(queues) for queues in f.kin] for f in chooser.fronts]
    bars = [criteria.max_fvu, criteria.max_error, criteria.max_kl]
    inputs = [part.digest() for part in (chooser.probes.fit, chooser.probes.select)]
    weights = [[la.weight, la.bias] for la in layers]
    code = [chooser.network.module.code, code_digest()]
    base = content_key(searched, prices, kin, bars, inputs, weights, code)
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

    return search_points(at, criteria)


def _kin_figures(queues: Mapping[int, Sequence[tuple[Candidate, float]]]) -> list[object]:
    """What stands for the candidates of a family in a key."""
    return [[c, figures([k for k, _ in own]), [n for _, n in own]] for c, own in queues.items()]


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
def _unswept() -> Iterator[None]:
    """Leave what there is to the garbage collector's later runs: fronts are millions of nodes, no
    cycle among them, and it would walk through all of them again and again."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _content(tensor: torch.Tensor | None) -> list[object]:
    """What a key may hold of a tensor of any type."""
    if tensor is None:
        return []
    numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return [str(tensor.dtype), list(tensor.shape), numbers]


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
