"""Fronts are searched once, kept under keys of all that decides them, and alike for any workers."""

import json
from dataclasses import replace
from pathlib import Path
from socket import gethostname

import numpy as np
import pytest
from small import CORE, RELU, dense_evidence, dense_layer, random_probes, unit_evidence

import synth.search as module
from synth import evidence_files
from synth.assembly import names_of
from synth.attempts import Answer
from synth.backends import Workers
from synth.engine import UnitEvidence
from synth.engines.linear import LinearEngine
from synth.errors import InputError
from synth.evidence import LayerEvidence
from synth.fingerprint import code_digest
from synth.layers import Head
from synth.records import Records
from synth.schedule import SearchedUnit, search_unit
from synth.search import (
    Found,
    GrammarSpec,
    Search,
    SearchSettings,
    UnitFailure,
    evidence_key,
    search_layer,
)
from synth.store import Store
from synth.workers import each

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


def test_what_is_made_ahead_reaches_its_unit(evidence, records, tmp_path, monkeypatch):
    """Each unit has its own rows, and the file does not outlive the search."""
    told, made = {}, {"channels": np.arange(UNITS), "squares": np.arange(UNITS) ** 2}

    def search(unit: UnitEvidence, *_, **__) -> SearchedUnit:
        told[unit.channel] = int(unit.ahead["squares"])
        return SearchedUnit()

    monkeypatch.setattr(module, "made_ahead", lambda *_, **__: made)
    monkeypatch.setattr(module, "search_unit", search)
    with Store(tmp_path) as store:
        list(search_layer(evidence, SETTINGS, store, records))
    assert told == {channel: channel**2 for channel in range(UNITS)}
    assert not (tmp_path / "evidence").exists()


def test_fronts_are_those_of_single_units(evidence, records, tmp_path):
    """Every unit's front is what `search_unit` finds for it by itself."""
    with Store(tmp_path) as store:
        found = dict(search_layer(evidence, SETTINGS, store, records))
    assert sorted(found) == list(range(UNITS))
    for channel, unit in found.items():
        alone = search_unit(unit_evidence(evidence, channel), [LinearEngine()], budget=60, seed=0)
        assert unit.front == alone.front


def test_workers_change_nothing(evidence, records, tmp_path):
    """Processes, threads and files of evidence give the stored bytes of one process, and go."""
    stored = []
    files = evidence_files.write(evidence, tmp_path / "files")
    for backend, jobs, given in (
        ("loky", 1, None),
        ("loky", 2, None),
        ("loky", 2, files),
        ("threading", 2, None),
    ):
        with Store(tmp_path / str(len(stored))) as store:
            workers = Workers(jobs, backend)
            list(search_layer(evidence, SETTINGS, store, records, workers=workers, files=given))
            stored.append(store.items("front"))
            assert [p.name for p in store.path.parent.glob("evidence*")] == []
    assert all(items == stored[0] for items in stored) and len(stored[0]) == UNITS


def test_known_fronts_are_read(evidence, records, tmp_path, monkeypatch):
    """After an interruption only the missing units are searched; then none are."""
    searched: list[int] = []
    plain = module._search_unit

    def search(evidence, how, channel):
        searched.append(channel)
        return plain(evidence, how, channel)

    monkeypatch.setattr(module, "_search_unit", search)
    told: list[int] = []
    with Store(tmp_path) as store:
        found = dict(zip(range(2), search_layer(evidence, SETTINGS, store, records), strict=False))
        assert len(found) == 2 and 2 <= len(searched) < UNITS
        before = len(searched)
        whole = dict(search_layer(evidence, SETTINGS, store, records, searched=told.append))
        assert sorted(searched) == [*range(UNITS)]
        assert sum(told) == UNITS - before
        assert dict(search_layer(evidence, SETTINGS, store, records)) == whole
        assert len(searched) == UNITS


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_failure_is_told_and_tried_again(evidence, records, tmp_path, monkeypatch, backend):
    """A unit whose engine fails has an empty front and a record; the next run finds it."""
    plain = LinearEngine.propose

    def broken(engine: LinearEngine, unit: UnitEvidence, *, budget: int, seed: int):
        if unit.channel == 2:
            raise ZeroDivisionError("a bug")
        return plain(engine, unit, budget=budget, seed=seed)

    monkeypatch.setattr(LinearEngine, "propose", broken)
    failures: list[UnitFailure] = []
    workers = Workers(backend=backend, retries=2)
    with Store(tmp_path) as store:
        found = dict(
            search_layer(evidence, SETTINGS, store, records, workers=workers, failures=failures)
        )
        assert found[2].front == () and all(found[c].front for c in range(UNITS) if c != 2)
        (failure,) = failures
        assert (failure.layer, failure.channel, failure.attempts) == ("fc1", 2, 3)
        assert "ZeroDivisionError: a bug" in failure.reason and "test_search.py" in failure.reason
        (kept,) = store.items("failure")
        assert kept.name == "fc1[2]" and json.loads(kept.payload)["reason"] == failure.reason
        assert store.count("front") == UNITS - 1
        monkeypatch.undo()
        assert dict(search_layer(evidence, SETTINGS, store, records))[2].front
        assert store.items("failure") == [] and store.count("front") == UNITS


def test_a_foreign_engine_gets_a_process(evidence, records, tmp_path, monkeypatch):
    """An engine that does not come with the package is kept out of this process, with one job."""
    monkeypatch.setattr(module, "is_own", lambda name: name == "linear")
    monkeypatch.setattr(module, "load_engine", lambda name, plugins: LinearEngine)
    settings, asked = replace(SETTINGS, engines=("linear", "theirs")), []

    def each(function, units, workers, notes):
        asked.append(notes is not None and Path(function.evidence).is_dir())
        yield [Answer(unit, Found(SearchedUnit(), records.front(()))) for unit in units]

    monkeypatch.setattr(module, "each", each)
    with Store(tmp_path) as store:
        assert len(list(search_layer(evidence, settings, store, records))) == UNITS
        assert asked == [True]
        list(search_layer(evidence, SETTINGS, store, records))
        assert asked == [True, False]


def test_a_worker_of_another_version_is_told(evidence, records, tmp_path):
    """A worker whose code is not that of the run ends it with its machine's name, not a unit."""
    files = evidence_files.write(evidence, tmp_path / "files")
    search = Search(SETTINGS, records.names)
    function = module._SearchUnit(str(files), "key", search, code="of another version")
    with pytest.raises(InputError, match=f"{gethostname()} has another version"):
        list(each(function, [0, 1], Workers(), None))
    assert replace(function, code=code_digest())(0)


def moved(array: np.ndarray) -> np.ndarray:
    other = array.astype(array.dtype, copy=True)
    other.flat[-1] += 1
    return other


def test_a_key_is_of_all_that_decides(evidence):
    """Weights, heads, patches, moments, envelope and settings each make another key."""
    layer, ranges, moments = evidence.layer, evidence.ranges, evidence.moments
    layers = [
        replace(layer, weight=moved(layer.weight)),
        replace(layer, bias=moved(layer.bias)),
        replace(layer, heads=(Head("tanh"), *layer.heads[1:])),
        replace(layer, name="fc2"),
    ]
    all_ranges = [replace(ranges, layer=other) for other in layers] + [
        replace(ranges, **{name: moved(getattr(ranges, name))})
        for name in ("lower", "upper", "variance", "span")
    ]
    others = [replace(evidence, ranges=other) for other in all_ranges] + [
        replace(evidence, patches=moved(evidence.patches)),
        replace(evidence, pre=moved(evidence.pre)),
        replace(evidence, sample=replace(evidence.sample, role=moved(evidence.sample.role))),
        replace(evidence, moments=replace(moments, gram=moved(moments.gram))),
        replace(evidence, moments=replace(moments, cross=moved(moments.cross))),
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
