"""A run that does not fit into memory is refused before it starts, with what to set."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from planned import conv_job, conv_project
from typed import Home

from grammars.grammar import load_grammar
from grammars.program import tap
from synth.engines.operon import MEMORY_MIB, OperonEngine
from synth.errors import InputError
from synth.footprint import MIB, Footprint, check_memory
from synth.formulas.library import SAMPLES, STORED, Library, library_bytes
from synth.formulas.samples import Samples
from synth.job import Job
from synth.needs import MAPS, OWN
from synth.sizes import weigh

NAMES = "conv1", "conv2", "fc"


@pytest.fixture
def conv(tmp_path: Path) -> Home:
    """A folder with a network to be planned."""
    return conv_project(tmp_path / "conv")


def test_a_run_that_does_not_fit_does_not_start(conv: Home) -> None:
    """It ends before any work with the layer, what takes the memory and what to set."""
    done = conv("run", "conv.toml", "--set", "run.max_memory_mib=1", "--quiet")
    assert done.exit_code == 2
    assert "is expected to take" in done.output and "run.max_memory_mib" in done.output
    assert not (conv.folder / "results").exists()


def limited(job: Job, mib: float) -> Footprint:
    run = replace(job.config.run, max_memory_mib=max(1, int(mib)))
    return Footprint(replace(job, config=replace(job.config, run=run)))


def test_the_advice_is_enough(conv: Home) -> None:
    """Each thing that a problem says to set makes the run fit, and one step more does not."""
    job = conv_job(conv, run__jobs=4)
    peak = Footprint(job).peak.memory
    footprint = limited(job, (peak - 250 * MIB) / MIB)
    assert footprint.problem is not None
    jobs = int(re.findall(r"run\.jobs = (\d+)", footprint.problem)[0])
    assert 1 <= jobs < 4
    for count, fits in ((jobs, True), (jobs + 1, False)):
        other = replace(job.config, run=replace(footprint.config.run, jobs=count))
        assert (Footprint(replace(job, config=other)).problem is None) == fits


def test_fewer_probes_make_maps_fit(conv: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where maps of all probes are too many, the advice is the most probes that fit, if they are
    still enough for every layer."""
    job = conv_job(conv)
    sizes = replace(weigh(job.network, job.parts.fit.inputs), kept=dict.fromkeys(NAMES, 10 * MIB))
    monkeypatch.setattr("synth.footprint.weigh", lambda *_: sizes)
    whole = Footprint(job)
    assert max(whole.peak.parts, key=lambda name: whole.peak.parts[name]) == MAPS
    problem = limited(job, (whole.peak.memory - 200 * MIB) / MIB).problem
    assert problem is not None
    count = int(re.findall(r"give at most (\d+) probes", problem)[0])
    assert 270 < count < 300
    hopeless = limited(job, (whole.peak.memory - 2000 * MIB) / MIB).problem
    assert hopeless is not None and "give at most" not in hopeless


def test_more_than_the_machine_has_is_told(conv: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit of one's own, what is free decides; a limit stands above it."""
    job = conv_job(conv)
    check_memory(job)
    monkeypatch.setattr("synth.footprint.available", lambda: MIB)
    with pytest.raises(InputError, match=r"are there: .*run\.max_memory_mib"):
        check_memory(job)
    assert limited(job, 100_000).problem is None
    monkeypatch.setattr("synth.footprint.available", lambda: None)
    check_memory(job)


def test_what_engines_hold_of_their_own_is_counted(
    conv: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker may hold the library of the enumeration, and a regression its process up to its
    limit: the dearest of those asked for is counted for each, told, and the advice heeds it."""
    monkeypatch.setattr(OperonEngine, "missing", staticmethod(lambda: None))
    plain = Footprint(conv_job(conv, run__jobs=3)).peak
    assert OWN not in plain.parts or not plain.parts[OWN]
    own = {"enumeration": library_bytes(), "operon": MEMORY_MIB * MIB}
    for name, size in own.items():
        job = conv_job(conv, run__jobs=3, search__engines=["linear", name])
        dear = Footprint(job).peak
        assert 3 * size <= dear.parts[OWN] <= 3 * size + 3 * 100 * MIB
        assert dear.memory >= plain.memory - 60 * MIB + 3 * size
    problem = limited(job, dear.memory / MIB - 200).problem
    assert problem is not None and OWN in problem and "set run.jobs = 2" in problem


def test_a_library_is_no_larger_than_is_counted() -> None:
    """The rows that it stores take what is expected of them."""
    taps = tuple(tap("x", i) for i in range(2))
    inputs = torch.rand(2, SAMPLES, dtype=torch.float64)
    grammar = load_grammar(tags=("core", "formula"), installed=False)
    stored = Library(Samples(inputs, inputs[0] * inputs[1], taps, grammar), 2000).stored
    row = sum(part.nbytes for part in stored.fields) / len(stored)
    assert 0.5 * library_bytes() < STORED * row < library_bytes()
