"""Fronts of many units: read from the store where they are known, searched in workers elsewhere.

Every unit is searched by itself with one thread and has a key of its content, so the fronts do not
depend on the workers, and a killed run goes on where it was. A unit whose search fails has an empty
front and a record of why, which does not count as known: the same command tries it again.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from grammars.grammar import Grammar, load_grammar
from grammars.names import Names
from synth import evidence_files
from synth.ahead import made_ahead, rows_of, save
from synth.attempts import Answer
from synth.backends import CLUSTERS, Workers
from synth.disk import telling_full
from synth.engine import Engine, UnitEvidence
from synth.engines import is_own, load_engine
from synth.errors import InputError
from synth.evidence import LayerEvidence
from synth.fingerprint import code_digest
from synth.keys import content_key
from synth.leftovers import FOLDER, NOTES
from synth.records import Records
from synth.schedule import EngineCost, SearchedUnit, search_unit
from synth.store import COSTS, FAILURES, FRONT, Store
from synth.workers import each

LIMITS = ("budget", "seed", "short", "max_fvu", "max_error")  # of the search of every unit


@dataclass(frozen=True)
class GrammarSpec:
    """What a worker needs to load the same grammar: functions of user files cannot be sent."""

    files: tuple[str, ...] = ()
    tags: tuple[str, ...] = ("core",)
    weights: tuple[tuple[str, float], ...] = ()
    plugins: bool = True

    def load(self) -> Grammar:
        return _loaded(self)


@dataclass(frozen=True)
class SearchSettings:
    """What decides a search's result, beside the evidence."""

    grammar: GrammarSpec = field(default_factory=GrammarSpec)
    engines: tuple[str, ...] = ("linear",)
    budget: int = 2000
    seed: int = 0
    short: bool = False
    max_fvu: float = 0.05
    templates: tuple[str, ...] = ()
    max_error: float = 0.25
    device: str = "cpu"

    def load(self) -> list[Engine]:
        """The engines, with those settings that each asks for by name. Raises InputError for one
        that cannot be had."""
        return [self._made(engine) for engine in self._classes]

    def load_ahead(self) -> list[Any]:
        """Those engines alone that make something of all units of a layer at once."""
        return [self._made(engine) for engine in self._classes if hasattr(engine, "ahead")]

    @property
    def key(self) -> list[Any]:
        """What a result depends on: of what only some engines ask for, what these ask for."""
        classes = self._classes
        asked = {name for engine in classes for name in _settings_of(engine)}
        given = [list(self.engines), *(getattr(self, name) for name in LIMITS)]
        return given + [[name, _content(getattr(self, name))] for name in sorted(asked)]

    def _made(self, engine: type[Engine]) -> Engine:
        return engine(**{name: getattr(self, name) for name in _settings_of(engine)})

    @property
    def _classes(self) -> list[type[Engine]]:
        return [load_engine(name, plugins=self.grammar.plugins) for name in self.engines]


def _settings_of(engine: type[Engine]) -> tuple[str, ...]:
    return getattr(engine, "settings", ())


@dataclass(frozen=True)
class UnitFailure:
    """A unit that no attempt found a front of, or something else, with the reason of the last."""

    layer: str
    channel: int
    reason: str
    attempts: int


def search_layer(
    evidence: LayerEvidence,
    settings: SearchSettings,
    store: Store,
    records: Records,
    *,
    workers: Workers | None = None,
    kind: str = FRONT,
    failures: list[UnitFailure] | None = None,
    searched: Callable[[int], None] = lambda _: None,
    files: Path | None = None,
    only_known: bool = False,
) -> Iterator[tuple[int, SearchedUnit]]:
    """(channel, what was found) of every unit of a layer, known ones first, stored as they come.

    A unit that `workers` fail at has an empty front and is added to `failures`. `searched` is told
    how many units more were searched. `files` is where `evidence_files.write` has written the
    evidence, if it has; else it is written for the workers meanwhile, into the folder of the store.
    With `only_known` nothing is searched, a unit that failed before is left so, and InputError is
    raised for one that was never searched.
    """
    base, layer = evidence_key(evidence, settings), evidence.layer
    keys = [content_key(base, channel) for channel in range(layer.units)]
    missing = []
    for channel, key in enumerate(keys):
        known = store.get(kind, key)
        if known is None:
            missing.append(channel)
        else:
            yield channel, SearchedUnit(records.read_front(known), _costs(store, kind, key))
    if only_known:
        failed = [_failed_before(layer.name, c, keys[c], store, kind) for c in missing]
        yield from ((f.channel, SearchedUnit()) for f in failed)
        if failures is not None:
            failures += failed
    if only_known or not missing:
        return
    folder = store.path.parent
    names = records.names.part((layer.source, layer.name))
    with (
        _begun(evidence, Search(settings, names), missing, folder) as search,
        closing(
            _searched(evidence, base, search, missing, workers or Workers(), folder, files)
        ) as parts,
    ):
        for answers in parts:
            failed = _keep(answers, evidence, keys, store, kind)
            if failures is not None:
                failures += failed
            searched(len(answers))
            yield from ((a.unit, a.value.unit if a.value else SearchedUnit()) for a in answers)


def evidence_key(evidence: LayerEvidence, settings: SearchSettings) -> str:
    """A key of everything that the fronts of a layer depend on."""
    given = [*settings.key, settings.grammar.load().digest]
    return content_key(code_digest(), _content(evidence), given)


def _content(value: Any) -> Any:
    """What a key may hold of a dataclass, field by field."""
    if is_dataclass(value):
        return [[f.name, _content(getattr(value, f.name))] for f in fields(value)]
    return [_content(inner) for inner in value] if isinstance(value, tuple) else value


def _keep(
    answers: Sequence[Answer],
    evidence: LayerEvidence,
    keys: Sequence[str],
    store: Store,
    kind: str,
) -> list[UnitFailure]:
    """Commit what was found, and why the rest was not, in one batch; the failures."""
    layer, failed = evidence.layer.name, []
    with store.batch():
        for answer in answers:
            key, name = keys[answer.unit], f"{layer}[{answer.unit}]"
            if answer.reason is None:
                store.put(kind, key, answer.value.payload, name)
                costs = [asdict(cost) for cost in answer.value.unit.costs]
                store.put(COSTS[kind], key, json.dumps(costs), name)
                store.remove(FAILURES[kind], key)
            else:
                failed.append(UnitFailure(layer, answer.unit, answer.reason, answer.tries))
                store.put(FAILURES[kind], key, json.dumps(asdict(failed[-1])), name)
    return failed


def _failed_before(layer: str, channel: int, key: str, store: Store, kind: str) -> UnitFailure:
    """Why a unit has no front. Raises InputError: nobody has tried."""
    known = store.get(FAILURES[kind], key)
    if known is None:
        raise InputError(
            f"{store.path.parent} has no {kind} of {layer}[{channel}] that was found from what is "
            "measured here, and nothing is searched: give the command of the run again on this "
            "machine, and then this one."
        )
    return UnitFailure(**json.loads(known))


def _costs(store: Store, kind: str, key: str) -> tuple[EngineCost, ...]:
    """What the engines did for a unit that was searched before."""
    return tuple(EngineCost(**row) for row in json.loads(store.get(COSTS[kind], key) or b"[]"))


def _searched(
    evidence: LayerEvidence,
    key: str,
    search: "Search",
    channels: Sequence[int],
    workers: Workers,
    folder: Path,
    files: Path | None,
) -> Generator[list[Answer], None, None]:
    if workers.here and (workers.backend == "threading" or _ours(search.settings)):
        with threadpool_limits(limits=1):
            yield from each(partial(_search_unit, evidence, search), channels, workers, None)
        return
    with scratch(folder / FOLDER) as place:
        written = files or evidence_files.write(evidence, place / "arrays")
        notes = place / NOTES
        notes.mkdir()
        code = code_digest() if workers.backend in CLUSTERS else None
        function = _SearchUnit(str(written), key, search, code)
        yield from each(function, channels, workers, notes)


@contextmanager
def _begun(
    evidence: LayerEvidence, search: "Search", channels: Sequence[int], folder: Path
) -> Iterator["Search"]:
    """The search with what engines make of the units at once, in a file."""
    settings = search.settings
    made = settings.load_ahead(), evidence, channels, settings.grammar.load()
    if not (arrays := made_ahead(*made, seed=settings.seed)):
        yield search
        return
    with scratch(folder / FOLDER) as place:
        yield replace(search, ahead=str(save(arrays, place)))


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder inside `folder`; nothing of both is left."""
    with telling_full(folder):
        folder.mkdir(exist_ok=True)
        with TemporaryDirectory(prefix="layer-", dir=folder, ignore_cleanup_errors=True) as name:
            yield Path(name)
    with suppress(OSError):  # not empty: another layer is there
        folder.rmdir()


def _ours(settings: SearchSettings) -> bool:
    """Whether all engines come with the package: others are not trusted with this process."""
    return all(map(is_own, settings.engines))


@dataclass(frozen=True, eq=False)
class Search:
    """How units of a layer are searched, and the names of what their programs read; `ahead` is the
    file of what engines have made of all units at once, if they have."""

    settings: SearchSettings
    names: Names
    ahead: str = ""


@dataclass(frozen=True, eq=False)
class Found:
    """What was found of a unit, and its front as it is stored: texts are long, and made there."""

    unit: SearchedUnit
    payload: bytes


@dataclass(frozen=True)
class _SearchUnit:
    """The search of a unit as it is sent: `evidence` is the folder that holds its layer's.

    `key` is of the content: a worker lives longer than a run, and may know the folder with another.
    `code` is the digest of this code, for a worker that may have another.
    """

    evidence: str
    key: str
    search: Search
    code: str | None = None

    def __call__(self, channel: int) -> Found:
        if self.code not in (None, code_digest()):
            raise InputError(
                f"a worker on {gethostname()} has another version of neuron-synth or of a library "
                "that it uses: install there what is installed here."
            )
        return _search_unit(mapped(self.evidence, self.key), self.search, channel)


def _search_unit(evidence: LayerEvidence, search: Search, channel: int) -> Found:
    settings = search.settings
    grammar = settings.grammar.load()
    engines = settings.load()
    ahead = rows_of(search.ahead, channel) if search.ahead else {}
    unit = UnitEvidence(evidence, channel, grammar, ahead=ahead)
    torch.set_num_threads(1)
    with threadpool_limits(limits=1), np.errstate(all="ignore"):
        limits = {n: getattr(settings, n) for n in LIMITS}
        found = search_unit(unit, engines, **limits)
    return Found(found, Records(search.names, grammar).front(found.front))


@lru_cache(maxsize=1)
def mapped(folder: str, key: str) -> LayerEvidence:
    return evidence_files.read(Path(folder))


@lru_cache(maxsize=8)
def _loaded(spec: GrammarSpec) -> Grammar:
    files: list[Path] = [Path(f) for f in spec.files]
    weights: Mapping[str, float] = dict(spec.weights)
    return load_grammar(files=files, tags=spec.tags, weights=weights, installed=spec.plugins)
