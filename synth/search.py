"""Fronts of many units: read from the store where they are known, searched in workers elsewhere.

Every unit is one task with one thread and a key of its content, so the fronts do not depend on the
number of jobs, and a killed run goes on where it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from grammars.grammar import Grammar, load_grammar
from synth.engine import UnitEvidence
from synth.engines import ENGINES
from synth.evidence import LayerEvidence
from synth.fingerprint import code_digest
from synth.fronts import Candidate, search_unit
from synth.keys import content_key
from synth.records import Records
from synth.store import FRONT, Store

TASKS = 4  # units in one task: few enough to lose little, enough to share a layer's arrays


@dataclass(frozen=True)
class GrammarSpec:
    """What a worker needs to load the same grammar: functions of user files cannot be sent."""

    files: tuple[str, ...] = ()
    tags: tuple[str, ...] = ("core",)
    weights: tuple[tuple[str, float], ...] = ()

    def load(self) -> Grammar:
        return _loaded(self)


@dataclass(frozen=True)
class SearchSettings:
    """What decides a search's result, beside the evidence."""

    grammar: GrammarSpec = field(default_factory=GrammarSpec)
    engines: tuple[str, ...] = ("linear",)
    budget: int = 2000
    seed: int = 0


def search_layer(
    evidence: LayerEvidence,
    settings: SearchSettings,
    store: Store,
    records: Records,
    *,
    jobs: int = 1,
    kind: str = FRONT,
) -> Iterator[tuple[int, tuple[Candidate, ...]]]:
    """(channel, front) of every unit of a layer, known ones first, stored as they come."""
    base = evidence_key(evidence, settings)
    keys = [content_key(base, channel) for channel in range(evidence.layer.units)]
    missing = []
    for channel, key in enumerate(keys):
        known = store.get(kind, key)
        if known is None:
            missing.append(channel)
        else:
            yield channel, records.read_front(known)
    for found in _searched(evidence, settings, missing, jobs):
        with store.batch():
            for channel, candidates in found:
                name = f"{evidence.layer.name}[{channel}]"
                store.put(kind, keys[channel], records.front(candidates), name)
        yield from found


def evidence_key(evidence: LayerEvidence, settings: SearchSettings) -> str:
    """A key of everything that the fronts of a layer depend on."""
    layer, grammar = evidence.layer, settings.grammar.load()
    heads = [[h.op, [list(p) for p in h.params]] for h in layer.heads]
    arrays = [layer.weight, layer.bias, evidence.patches, evidence.role, evidence.pre]
    moments = [evidence.moments.gram, evidence.moments.cross, evidence.lower, evidence.upper]
    moments += [evidence.variance, evidence.span]
    given = [list(settings.engines), settings.budget, settings.seed, grammar.digest]
    columns = list(evidence.scope.columns)
    return content_key(code_digest(), layer.name, heads, arrays, moments, given, columns)


def _searched(
    evidence: LayerEvidence, settings: SearchSettings, channels: Sequence[int], jobs: int
) -> Iterator[list[tuple[int, tuple[Candidate, ...]]]]:
    tasks = [channels[i : i + TASKS] for i in range(0, len(channels), TASKS)]
    if jobs == 1 or len(tasks) < 2:
        yield from (_task(evidence, settings, task) for task in tasks)
        return
    pool = Parallel(n_jobs=jobs, return_as="generator", inner_max_num_threads=1, backend="loky")
    results: Any = pool(delayed(_task)(evidence, settings, task) for task in tasks)
    yield from results


def _task(
    evidence: LayerEvidence, settings: SearchSettings, channels: Sequence[int]
) -> list[tuple[int, tuple[Candidate, ...]]]:
    grammar = settings.grammar.load()
    engines = [ENGINES[name]() for name in settings.engines]
    torch.set_num_threads(1)
    with threadpool_limits(limits=1), np.errstate(all="ignore"):
        return [
            (
                channel,
                search_unit(
                    UnitEvidence(evidence, channel, grammar),
                    engines,
                    budget=settings.budget,
                    seed=settings.seed,
                ),
            )
            for channel in channels
        ]


@lru_cache(maxsize=8)
def _loaded(spec: GrammarSpec) -> Grammar:
    files: list[Path] = [Path(f) for f in spec.files]
    weights: Mapping[str, float] = dict(spec.weights)
    return load_grammar(files=files, tags=spec.tags, weights=weights)
