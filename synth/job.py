"""A user's input, read and checked before anything is searched."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from grammars.grammar import Grammar, GrammarError
from grammars.primitive import Primitive
from synth.asked import Asked
from synth.assembly import names_of, original_bits
from synth.backends import Workers, check_workers
from synth.basis import directions_of, read_basis
from synth.config import Config, select_layers
from synth.deep.asked import asked_reaches
from synth.deep.evidence import deep_layer
from synth.deep.reach import Reach
from synth.devices import check_device
from synth.directions import Directions
from synth.discrete.circuits import Discrete, level_of
from synth.discrete.declared import check_values, with_alphabets
from synth.engine_checks import asked_engines, usable_engine
from synth.errors import InputError, Problems
from synth.evidence import Probes
from synth.fingerprint import code_digest
from synth.inputs import Probes as ProbeSet
from synth.inputs import load_probes
from synth.keys import content_key
from synth.layers import Layer
from synth.loading import load_module
from synth.network import Network, read_network
from synth.outputs import reading_of, run_batches
from synth.picking import Criteria
from synth.records import Records
from synth.search import GrammarSpec, SearchSettings
from synth.splits import Parts, Split, check_enough, parts, split
from synth.trial import check_fit

if TYPE_CHECKING:
    from oracles.contract import Violation


@dataclass(frozen=True, eq=False)
class Job:
    """A user's input, read and checked: nothing has been searched yet.

    `note` says what was chosen for the user, if anything was. Where all is `known`, nothing is
    searched: fronts are those that the store holds, and the texts of units that were written by
    `hand`. `asked` stands in the place of what the
    configuration accepts.
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
    known: bool = False
    hand: Mapping[str, Sequence[str]] = field(default_factory=dict)
    asked: Asked | None = None

    @property
    def probes(self) -> Probes:
        return Probes(self.parts.fit.inputs, self.parts.select.inputs)

    @property
    def criteria(self) -> Criteria:
        search, accept = self.config.search, self.config.accept
        bars = search.max_fvu, search.max_error, accept.max_kl, accept.min_agreement
        own = Criteria(*bars, short=accept.short, most_bits=self._most_bits, joint=accept.joint)
        return own if self.asked is None else self.asked.criteria(own)

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
        deep = (layer for reach in self.deep for layer in (reach.of, deep_layer(reach)))
        banks = (*self.network.layers, *(d.layer for d in self.directions), *deep)
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
        code, asked = self.network.module.code, None if self.asked is None else asdict(self.asked)
        return content_key(settings, probes, state, layers, code, basis, asked)

    @property
    def description(self) -> dict[str, Any]:
        """JSON-able: what tells a run folder from another."""
        asked = {} if self.asked is None else {"asked": asdict(self.asked)}
        return {"config": str(self.config.path)} | self.config.digest_fields() | asked


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
        problems.attempt(usable_engine, name, config)
    chosen = probes and problems.attempt(split, probes, config, config.run.seed)
    read = _network(config, module, probes, problems)
    network = read and read.on(device)
    layers = network and problems.attempt(_selected, network, config)
    known = network and problems.attempt(directions_of, basis, network.layers)
    deep = None
    if network and layers:
        deep = problems.attempt(asked_reaches, network, layers, config.search.deep)
    if not (read and network and probes and grammar and chosen and layers):
        return None
    searched = [la for la in network.layers if la.name in layers]
    searched += [*(d.layer for d in known or ()), *map(deep_layer, deep or ())]
    problems.attempt(_check_probes, searched, chosen, config)
    names, note = asked_engines(config, grammar, searched, problems)
    discrete = problems.attempt(_discrete, read, probes, grammar, config)
    search, found = config.search, parts(probes, chosen).on(device)
    seed, short = config.run.seed, config.accept.short
    how = names, search.budget, seed, short, search.max_fvu, search.templates
    settings = SearchSettings(spec, *how, max_error=search.max_error, device=device)
    told = {"note": note, "discrete": discrete}
    return Job(config, network, found, grammar, settings, layers, known or (), deep or (), **told)


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


def _workers(config: Config) -> Workers:
    return Workers(**{f.name: getattr(config.run, f.name) for f in fields(Workers)})


def _grammar_spec(config: Config) -> GrammarSpec:
    search = config.search
    files = tuple(str(config.folder / f) for f in search.grammar)
    return GrammarSpec(files, search.tags, search.weights, search.plugins)


def _checked_grammar(spec: GrammarSpec) -> Grammar:
    """The grammar, with the user's primitives held to the contract."""
    try:
        grammar = spec.load()
    except GrammarError as error:
        raise InputError(*error.problems) from None
    if broken := _all_broken(grammar):
        raise InputError(*broken)
    return grammar


@lru_cache(maxsize=8)
def _all_broken(grammar: Grammar) -> tuple[str, ...]:
    """What breaks the contract, found once in a process: a kernel takes seconds."""
    from oracles.contract import check_primitive

    found = ((p, check_primitive(p, grammar)) for p in grammar.user)
    return tuple(_broken(p, violations) for p, violations in found if violations)


def _broken(primitive: Primitive, violations: "Sequence[Violation]") -> str:
    """The first thing that is wrong with a primitive, and where the others are told."""
    first, others = violations[0], len(violations) - 1
    more = f" ({others} more: synth grammar check {primitive.path})" if others else ""
    where = f"primitive {first.primitive!r} in {first.interpreter}"
    return f"{primitive.path.name}: {where}: {first.message}{more}"


def _content(tensor: torch.Tensor | None) -> list[object]:
    """What a key may hold of a tensor of any type."""
    if tensor is None:
        return []
    numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return [str(tensor.dtype), list(tensor.shape), numbers]
