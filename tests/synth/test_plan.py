"""The plan: what a run would do and take, said before it, and refused where it does not fit."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import (
    CORE,
    RELU,
    dense_evidence,
    dense_layer,
    evidence_of,
    random_probes,
    read,
    seeded,
    unit_evidence,
)
from torch import Tensor, nn
from typed import Home, changed, project

from grammars.grammar import load_grammar
from grammars.program import tap
from synth import survey
from synth.batches import Inputs
from synth.config import load_config
from synth.durations import Durations
from synth.engines import linear
from synth.engines.linear import LinearEngine
from synth.engines.operon import MEMORY_MIB, OperonEngine
from synth.errors import InputError
from synth.evidence import LEAST, Probes
from synth.footprint import MIB, Footprint, check_memory, memory_text
from synth.formulas.library import SAMPLES, STORED, Library, library_bytes
from synth.formulas.samples import Samples
from synth.job import Job, load_job
from synth.layers import Geometry, Layer
from synth.machine import available, held
from synth.needs import MAPS, OWN, Load, Memory, Place, moments_bytes, sampled
from synth.network import Network
from synth.plan_display import time_text, window_text
from synth.schedule import search_unit
from synth.search_costs import FEW, NARROW, TELLING, Manner, candidates, manner_of, unit_seconds
from synth.sizes import Sizes, weigh
from synth.speed import Speed, measure

CONVOLUTIONS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norm = nn.LayerNorm(64)
        self.fc = nn.Linear(64, 3)

    def forward(self, x):
        first = self.conv1(x).relu()
        return self.fc(self.norm((first + self.conv2(first).relu()).flatten(1)))


def network():
    torch.manual_seed(0)
    return Net()


def probes():
    return torch.rand(300, 2, 8, 8, generator=torch.Generator().manual_seed(5))


def few():
    return probes()[:40]
"""
NAMES = "conv1", "conv2", "fc"
SETTINGS = """
[network]
factory = "conv.py:network"
[probes]
inputs = "conv.py:probes"
"""


@pytest.fixture
def conv(tmp_path: Path) -> Home:
    """A folder with a network of a grouped convolution, a sum of two banks and an opaque node."""
    home = project(tmp_path / "conv")
    (home.folder / "conv.py").write_text(CONVOLUTIONS)
    (home.folder / "conv.toml").write_text(SETTINGS)
    return home


def job_of(home: Home, **overrides: object) -> Job:
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_job(load_config(home.folder / "conv.toml", given))


def files(folder: Path) -> dict[str, int]:
    found = (p for p in folder.rglob("*") if "__pycache__" not in p.parts)
    return {str(p): p.stat().st_mtime_ns for p in found}


# what a user sees


def test_a_plan_says_what_would_be_done_and_writes_nothing(conv: Home) -> None:
    """Layers, units, geometry, opaque nodes with their reasons, patches, memory and time."""
    before = files(conv.folder)
    done = conv("run", "conv.toml", "--dry", columns=90)
    assert done.exit_code == 0, done.output
    assert files(conv.folder) == before
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= 90
    text = done.output
    assert "11 units with 336 weights in 3 layers" in text
    assert "147 fit, 63 select, 90 held out" in text
    assert re.search(r"conv1 +x +4 +2×8×8 → 4×4×4 +3×3, stride 2, pad 1", text)
    assert re.search(r"conv2 +\S+ +4 +4×4×4 → 4×4×4 +3×3, pad 1, 2 groups", text)
    assert re.search(r"conv1 +18 +64 +2,352 +\d+ MiB +\S.* s", text)
    assert re.search(r"layer_norm +layer_norm +norm +\S+", text)
    assert re.search(r"time +\S+ s to \S+", text)


def test_a_plan_is_json_for_machines(conv: Home) -> None:
    """--json has every figure as a number, and a layer that is not searched says so."""
    done = conv("run", "conv.toml", "--dry", "--json", "--layer", "conv*", "--jobs", "3")
    plan = json.loads(done.output)
    assert [la["name"] for la in plan["layers"]] == ["conv1", "conv2", "fc"]
    assert [la["searched"] for la in plan["layers"]] == [True, True, False]
    first = plan["layers"][0]
    assert first["geometry"]["stride"] == [2, 2] and first["out_shape"] == [4, 4, 4]
    assert (first["weights"], first["patches_needed"], first["patches"]) == (18, 64, 147 * 16)
    assert (plan["jobs"], plan["problems"]) == (3, [])
    assert 0 < plan["seconds"][0] < sum(plan["stages"].values()) < plan["seconds"][1]
    assert plan["memory"]["base"] < plan["memory"]["memory"] < plan["memory"]["limit"]
    assert plan["opaque"][0]["module_path"] == "norm" and plan["opaque"][0]["reason"]
    alone = conv("run", "conv.toml", "--json")
    assert alone.exit_code == 2 and "--dry" in alone.output


def test_a_plan_lists_its_problems_together(conv: Home) -> None:
    """Too few patches, memory and an unknown engine are told at once, below the plan."""
    settings = "run.max_memory_mib=1", "search.engines=['lienar']", 'probes.inputs="conv.py:few"'
    done = conv("run", "conv.toml", "--dry", *(w for s in settings for w in ("--set", s)))
    assert done.exit_code == 2
    assert "patches needed" in done.output
    for words in ("lienar", "layer fc: 40 probes leave 20 patches", "run.max_memory_mib is 1"):
        assert words in done.output
    assert not (conv.folder / "results").exists()


def test_without_a_network_there_are_only_problems(tmp_path: Path) -> None:
    """What cannot be read has no plan: the problems alone, and exit code 2."""
    home = project(tmp_path / "bad", changed("net.py:network", "net.py:raises"))
    done = home("run", "net.toml", "--dry")
    assert done.exit_code == 2 and "no network today" in done.output
    assert "patches needed" not in done.output


def test_a_run_that_does_not_fit_does_not_start(conv: Home) -> None:
    """It ends before any work with the layer, what takes the memory and what to set."""
    done = conv("run", "conv.toml", "--set", "run.max_memory_mib=1", "--quiet")
    assert done.exit_code == 2
    assert "is expected to take" in done.output and "run.max_memory_mib" in done.output
    assert not (conv.folder / "results").exists()


def test_texts_are_short() -> None:
    """Geometry leaves out what is as usual; estimates have few digits."""
    assert window_text(Geometry((1, 1))) == "1×1"
    odd = Geometry((3, 5), stride=(1, 2), padding=(0, 1), dilation=(2, 2))
    assert window_text(odd, 8) == "3×5, stride 1×2, pad 0×1, dilation 2, 8 groups"
    times = [time_text(s) for s in (0.2, 8.4, 89, 200, 5000, 20_000)]
    assert times == ["< 1 s", "8 s", "89 s", "3 min", "83 min", "5.6 h"]
    assert [memory_text(s * MIB) for s in (3.4, 1000, 1536)] == ["3 MiB", "1000 MiB", "1.5 GiB"]


# what does not fit, and what to set


def limited(job: Job, mib: float) -> Footprint:
    run = replace(job.config.run, max_memory_mib=max(1, int(mib)))
    return Footprint(replace(job, config=replace(job.config, run=run)))


def test_the_advice_is_enough(conv: Home) -> None:
    """Each thing that a problem says to set makes the run fit, and one step more does not."""
    job = job_of(conv, run__jobs=4)
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
    job = job_of(conv)
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
    job = job_of(conv)
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
    plain = Footprint(job_of(conv, run__jobs=3)).peak
    assert OWN not in plain.parts or not plain.parts[OWN]
    own = {"enumeration": library_bytes(), "operon": MEMORY_MIB * MIB}
    for name, size in own.items():
        job = job_of(conv, run__jobs=3, search__engines=["linear", name])
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


def layer_of(fan: int = 16, units: int = 4) -> Layer:
    shapes = (fan, 1, 1), (units, 1, 1)
    weight = np.random.default_rng(0).standard_normal((units, fan))
    return Layer("a", "x", *shapes, Geometry((1, 1)), weight, np.zeros(units), (RELU,) * units)


CGROUP_V2 = {"sys/fs/cgroup/a/memory.max": "4000000\n", "sys/fs/cgroup/a/memory.current": "1000000"}
CGROUP_V1 = {
    "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "3000000",
    "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "2500000",
    "sys/fs/cgroup/memory/a/memory.stat": "cache 9\ntotal_inactive_file 100000\n",
}
MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n"}


@pytest.mark.parametrize(
    ("groups", "written", "expected"),
    [
        ("", MEMINFO, 5000 * 1024),
        ("0::/a/b\n", MEMINFO | CGROUP_V2, 3_000_000),
        ("0::/a\n", MEMINFO | CGROUP_V2 | {"sys/fs/cgroup/a/memory.max": "max\n"}, 5000 * 1024),
        ("4:cpu,memory:/a\n0::/\n", MEMINFO | CGROUP_V1, 600_000),
        ("4:memory:/elsewhere\n", CGROUP_V1, None),
    ],
    ids=["no group", "version 2, of a parent", "no limit", "version 1", "not mounted"],
)
def test_control_groups_limit_what_is_free(
    tmp_path: Path, groups: str, written: Mapping[str, str], expected: int | None
) -> None:
    """The least of what is free and of what a group, or one around it, leaves; pages of files that
    can be given back are free."""
    for name, text in (dict(written) | {"proc/self/cgroup": groups}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = available(tmp_path)
    assert found == expected if expected else found is not None and found > 10**8


# the models and the code that they speak of


class Skips(nn.Module):
    """A sum that waits for a layer, and channels that are views of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.third = nn.Conv2d(2, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x).relu()
        left, right = (first + self.second(first)).chunk(2, 1)
        return (self.third(left) + right.mean(1, keepdim=True)).mean((2, 3))


def test_what_is_kept_is_weighed() -> None:
    """Of each sample: nothing before the first layer, its maps before the second, and one tensor
    of two halves before the third."""
    network = read(Skips(), (1, 5, 6))
    sizes = weigh(network, Inputs([torch.rand(3, 1, 5, 6)]))
    assert list(sizes.kept.values()) == [0, 4 * 4 * 30, 4 * 4 * 30]
    assert sizes.largest == 4 * 4 * 30 and sizes.every > 4 * sizes.largest
    assert sizes.outputs == 3


@pytest.fixture(scope="module")
def grouped() -> tuple[Network, Probes, Memory, Load]:
    """A network with a grouped layer, with its probes and its counts."""
    parts = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten()
    network = read(seeded(*parts, nn.Linear(64, 3)), (2, 8, 8))
    probes = random_probes((2, 8, 8), fit=300)
    places = tuple(Place(layer, layer.name, True) for layer in network.layers)
    memory = Memory(places, weigh(network, probes.fit), 2000)
    return network, probes, memory, Load(300, 120, 0)


def test_counts_are_those_of_the_evidence(grouped: tuple[Network, Probes, Memory, Load]) -> None:
    """Moments to the byte, sampled rows but for a few, and candidates of narrow units."""
    network, probes, memory, load = grouped
    for place, evidence in zip(memory.places, evidence_of(network, probes).values(), strict=True):
        moments = evidence.moments
        assert moments_bytes(place.layer) == moments.gram.nbytes + moments.cross.nbytes
        rows = sampled(place, load)
        assert rows.select == len(evidence.select)
        assert rows.fit == pytest.approx(len(evidence.fit), rel=0.05)
        proposed = LinearEngine().propose(unit_evidence(evidence), budget=2000, seed=0)
        assert candidates(place.layer, 2000) == pytest.approx(len(list(proposed)), rel=0.3)


def test_extremes_of_wide_layers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bytes bound the extreme rows, the plan counts no less than are kept, and not many more:
    each unit keeps as many as the others."""
    rows = list(np.random.default_rng(0).standard_normal((4, 16)))
    layer, load = dense_layer(rows, [0.0] * 4, [RELU] * 4), Load(20_000, 300, 0)
    monkeypatch.setattr(survey, "EXTREME_BYTES", 60 * survey.row_bytes(layer))
    monkeypatch.setattr("synth.evidence.SAMPLE", LEAST)
    kept = len(dense_evidence(layer, random_probes((16,), fit=load.fit, select=load.select)).fit)
    counted = sampled(Place(layer, layer.name, True), load).fit
    assert kept <= counted <= kept + 2 * layer.units + 0.1 * 60 and counted < LEAST + 60


def test_manners_are_those_of_the_engine() -> None:
    """The bounds between the ways to search are the engine's own, and each is met."""
    assert (NARROW, FEW, TELLING) == (linear.NARROW, linear.EXACT, linear.TELLING)
    layers = layer_of(128, 600), layer_of(300, 10), layer_of(300, 60)
    expected = [Manner.EXACT, Manner.EXACT, Manner.WIDE]
    assert [manner_of(layer) for layer in layers] == expected


def test_a_search_takes_about_the_time_that_is_expected(
    grouped: tuple[Network, Probes, Memory, Load],
) -> None:
    """A unit of every layer takes the processor's time that is foretold, within a factor of 3."""
    network, probes, memory, load = grouped
    found = list(evidence_of(network, probes).values())
    speed = measure(CORE)
    start = time.process_time()
    for evidence in found:
        search_unit(unit_evidence(evidence), [LinearEngine()], budget=2000, seed=0)
    taken = time.process_time() - start
    rows = [sampled(place, load) for place in memory.places]
    pairs = zip(network.layers, rows, strict=True)
    expected = sum(unit_seconds(layer, kept, 2000, speed) for layer, kept in pairs)
    assert taken / 3 < expected < taken * 3


def test_costs_are_linear_in_units_and_probes() -> None:
    """Ten times the units, or the probes, take at most ten times the time and memory."""
    speed = Speed(1e11, 5e10, 1.0)

    def cost(units: int, probes: int) -> tuple[float, float]:
        sizes = Sizes({"a": 4000}, 4000, 10_000, 256, 10)
        memory = Memory((Place(layer_of(units=units), "a", True),), sizes, 2000)
        load = Load(probes, probes, probes)
        stages = Durations(memory, speed, 2000).stages(load, shuffled=True)
        return sum(stages.values()), max(need.total for need in memory.needs(load))

    small, units, probes = cost(20, 3000), cost(200, 3000), cost(20, 30_000)
    for larger in (units, probes):
        assert all(1 <= b / a <= 10.5 for a, b in zip(small, larger, strict=True))


def test_joint_refinement_is_planned() -> None:
    """It adds to the choice alone, in time and in memory."""
    sizes, load = Sizes({"a": 4000}, 4000, 10_000, 256, 10), Load(3000, 3000, 3000)
    plain = Memory((Place(layer_of(), "a", True),), sizes, 2000)
    joint = replace(plain, joint=True)
    speed = Speed(1e11, 5e10, 1.0)
    stages = [Durations(m, speed, 2000).stages(load, shuffled=False) for m in (plain, joint)]
    needs = [[n.total for n in m.needs(load)] for m in (plain, joint)]
    changed = [name for name, seconds in stages[0].items() if stages[1][name] > seconds]
    assert changed == ["choice"] and stages[0].keys() == stages[1].keys()
    steps = [n.step for n in plain.needs(load)]
    more = {s for s, a, b in zip(steps, *needs, strict=True) if b > a}
    assert more == {"choice of programs"}


def test_workers_share_time_and_add_memory() -> None:
    """Two workers halve the fronts at most, and each process holds its own patches."""
    memory = Memory((Place(layer_of(), "a", True),), Sizes({"a": 400}, 400, 400, 256, 10), 2000)
    one, two = Load(9000, 900, 900), Load(9000, 900, 900, jobs=2, here=2, processes=True)
    seconds = [
        Durations(memory, Speed(1e11, 5e10, 1.0), 2000).layer(memory.places[0], load)["fronts"]
        for load in (one, two)
    ]
    assert seconds[1] <= seconds[0]
    peaks = [max(need.total for need in memory.needs(load)) for load in (one, two)]
    assert peaks[1] > peaks[0] + 2 * 100 * MIB
    elsewhere = replace(two, here=0)
    assert max(need.total for need in memory.needs(elsewhere)) < peaks[1]


def test_this_process_holds_something() -> None:
    """What the process holds is between what Python takes and what the machine has."""
    free = available()
    assert 20 * MIB < held() < 2**50 and (free is None or free > MIB)
