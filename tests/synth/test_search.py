"""Fronts are searched once, kept under keys of all that decides them, and alike for any jobs."""

from dataclasses import replace

import numpy as np
import pytest
from small import CORE, RELU, dense_evidence, dense_layer, random_probes, unit_evidence

import synth.search as module
from synth.assembly import names_of
from synth.engines.linear import LinearEngine
from synth.evidence import LayerEvidence, Moments
from synth.fronts import search_unit
from synth.layers import Head
from synth.records import Records
from synth.search import GrammarSpec, SearchSettings, evidence_key, search_layer
from synth.store import Store

UNITS = 6
SETTINGS = SearchSettings(budget=60)


@pytest.fixture(scope="module")
def evidence() -> LayerEvidence:
    weights = np.random.default_rng(0).standard_normal((UNITS, 4))
    layer = dense_layer(list(weights), [0.1] * UNITS, [RELU] * UNITS)
    return dense_evidence(layer, random_probes((4,), fit=80, select=30))


@pytest.fixture(scope="module")
def records(evidence: LayerEvidence) -> Records:
    return Records(names_of([evidence.layer], CORE), CORE)


def test_fronts_are_those_of_single_units(evidence, records, tmp_path):
    """Every unit's front is what `search_unit` finds for it by itself."""
    with Store(tmp_path) as store:
        found = dict(search_layer(evidence, SETTINGS, store, records))
    assert sorted(found) == list(range(UNITS))
    for channel, front in found.items():
        alone = search_unit(unit_evidence(evidence, channel), [LinearEngine()], budget=60, seed=0)
        assert front == alone


def test_two_jobs_find_the_same(evidence, records, tmp_path):
    """Worker processes give the fronts, in order, and the stored bytes of one process."""
    stored = []
    for jobs in (1, 2):
        with Store(tmp_path / str(jobs)) as store:
            list(search_layer(evidence, SETTINGS, store, records, jobs=jobs))
            stored.append(store.items("front"))
    assert stored[0] == stored[1] and len(stored[0]) == UNITS


def test_known_fronts_are_read(evidence, records, tmp_path, monkeypatch):
    """After an interruption only the missing units are searched; then none are."""
    searched: list[int] = []
    plain = module._task

    def task(evidence, settings, channels):
        searched.extend(channels)
        return plain(evidence, settings, channels)

    monkeypatch.setattr(module, "_task", task)
    with Store(tmp_path) as store:
        found = dict(zip(range(2), search_layer(evidence, SETTINGS, store, records), strict=False))
        assert len(found) == 2 and searched == [0, 1, 2, 3]  # a task was kept whole
        whole = dict(search_layer(evidence, SETTINGS, store, records))
        assert searched == [*range(UNITS)]
        assert dict(search_layer(evidence, SETTINGS, store, records)) == whole
        assert searched == [*range(UNITS)]


def moved(array: np.ndarray) -> np.ndarray:
    other = array.astype(array.dtype, copy=True)
    other.flat[-1] += 1
    return other


def test_a_key_is_of_all_that_decides(evidence):
    """Weights, heads, patches, moments, envelope and settings each make another key."""
    layer = evidence.layer
    others = [
        replace(evidence, layer=replace(layer, weight=moved(layer.weight))),
        replace(evidence, layer=replace(layer, bias=moved(layer.bias))),
        replace(evidence, layer=replace(layer, heads=(Head("tanh"), *layer.heads[1:]))),
        replace(evidence, layer=replace(layer, name="fc2")),
        replace(evidence, patches=moved(evidence.patches)),
        replace(evidence, role=moved(evidence.role)),
        replace(evidence, lower=moved(evidence.lower)),
        replace(evidence, upper=moved(evidence.upper)),
        replace(evidence, moments=Moments(moved(evidence.moments.gram), evidence.moments.cross)),
        replace(evidence, variance=moved(evidence.variance)),
        replace(evidence, span=moved(evidence.span)),
    ]
    weights = GrammarSpec(weights=(("relu", 3.0),))
    choices = [
        replace(SETTINGS, seed=1),
        replace(SETTINGS, budget=61),
        replace(SETTINGS, engines=("linear", "linear")),
        replace(SETTINGS, grammar=weights),
    ]
    keys = [evidence_key(other, SETTINGS) for other in others]
    keys += [evidence_key(evidence, other) for other in choices]
    assert len({*keys, evidence_key(evidence, SETTINGS)}) == len(keys) + 1


def test_a_key_is_of_nothing_else(evidence):
    """The same numbers in other arrays have the same key."""
    again = replace(evidence, patches=np.asfortranarray(evidence.patches))
    assert evidence_key(again, SETTINGS) == evidence_key(evidence, SETTINGS)


def test_user_files_are_loaded_by_workers(tmp_path):
    """A grammar of a user's file is loaded from its path, once, with its weights."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from grammars.primitive import Field, primitive\n\n\n@primitive()\n"
        'def twice(k, x: Field) -> Field:\n    """2 x, elementwise."""\n    return k.add(x, x)\n'
    )
    spec = GrammarSpec(files=(str(path),), weights=(("twice", 2.0),))
    grammar = spec.load()
    assert grammar["twice"].weight == 2.0 and spec.load() is grammar
