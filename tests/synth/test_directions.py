"""Directions of a bank get programs, proofs and, where they have an inverse, the bank's place."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from directed import CONFIG, ROTATION, planted, project
from small import BANK, CORE, chosen, random_probes, read, seeded
from torch import nn
from typed import Home

from grammars.program import Node, count_terms, linear, tap
from oracles.claims import Proved
from synth.chain import run
from synth.config import load_config
from synth.direction_search import search_directions
from synth.directions import Directions, gather_directions, replacement
from synth.engine import UnitEvidence
from synth.engines.linear import LinearEngine
from synth.errors import InputError
from synth.folder import check_run, open_run
from synth.job import Job, load_job
from synth.layers import Layer
from synth.modules import layer_module
from synth.store import Store

FILES = ("directions.json", "programs.json", "summary.json", "certificates.json")


def job_of(home: Home, out: str, **flags: object) -> Job:
    given = {f"search.{name}": value for name, value in flags.items()}
    path = home.folder / "net.toml"
    return load_job(load_config(path, {"run.out": str(home.folder / out)} | given))


def found_in(home: Home, name: str, out: str = "results/net") -> dict[str, Any]:
    return json.loads((home.folder / out / name).read_text())


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A folder with a finished run."""
    home = project(tmp_path_factory.mktemp("rotated"))
    done = home("run", "net.toml", "--layer", "fc1")
    assert "directions of fc1:pre" in done.output
    assert "results/net/directions.json" in done.output
    return home


# what a direction is


def conv_layer() -> tuple[nn.Sequential, Layer]:
    """A layer of two groups, with padding and a stride, in a network."""
    module = seeded(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.ReLU())
    (layer,) = read(module, (4, 5, 5)).layers
    return module, layer


def test_directions_of_pre_activations_are_units_over_the_source():
    """B (W x + b) is a layer of identity heads in the same place, for grouped layers too."""
    _, layer = conv_layer()
    matrix = np.random.default_rng(0).standard_normal((5, 6))
    directions = Directions("0:pre", layer, matrix)
    patches = np.random.default_rng(1).standard_normal((30, layer.width))
    expected = layer.pre(patches) @ matrix.T
    assert np.abs(directions.layer.pre(patches) - expected).max() < 1e-5
    assert directions.layer.source == layer.source and directions.layer.geometry is layer.geometry


def test_evidence_is_of_the_networks_own_activations():
    """Each key's evidence holds B · bank on the sampled patches, one value each."""
    module, _ = conv_layer()
    matrix = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    probes = random_probes((4, 5, 5), fit=40, select=20)
    network = read(module, (4, 5, 5))
    both = [Directions(key, network.layers[0], matrix) for key in ("0", "0:pre")]
    (x,) = probes.fit.batch()
    with torch.no_grad():
        maps = {"0": module(x), "0:pre": module[0](x)}
    for directions, evidence in gather_directions(network, probes, both, seed=0):
        bank = maps[directions.key].permute(0, 2, 3, 1).reshape(-1, 6).double().numpy()
        expected = bank @ matrix.T.astype(np.float64)
        rows = evidence.sample.fit
        assert len(rows) == len(expected)
        assert np.abs(evidence.target[evidence.fit] - expected[rows]).max() < 1e-5
        assert np.allclose(evidence.ranges.variance, expected.var(0))


# programs


def sparse(row: int) -> Node:
    weight, bias = planted()
    terms = [(float(w), tap(BANK, c)) for c, w in enumerate(weight[row]) if w]
    return linear(terms, float(bias[row]))


def test_planted_directions_are_found(rotated, tmp_path):
    """With a strict bar every planted row comes back exactly, while no unit gets so short."""
    job = job_of(rotated, "strict", max_fvu=1e-6)
    with Store(tmp_path) as store:
        pairs, turned = search_directions(job, store, progress=lambda *_: None)
    assert list(turned.choice.programs()) == [sparse(i) for i in range(6)]
    assert all(isinstance(proof.verdict, Proved) for proof in turned.proofs)
    texts = [job.records.text(program) for program in pairs.choice.expanded(job.grammar)]
    assert [texts[0], texts[2]] == ["0.5*fc1_1 - 0.25*fc1_4", "-0.5*fc1_1 + 0.25*fc1_4"]
    units = [r for r in found_in(rotated, "programs.json")["units"] if r["layer"] == "fc1"]
    assert min(r["terms"] for r in units) > 4 >= max(map(count_terms, turned.choice.programs()))
    assert sum(u.bits for u in turned.choice.units) < 0.75 * sum(r["bits"] for r in units)


def test_small_weights_are_dropped(rotated):
    """A direction that is nearly two units is a sum of just those, within the bar and proved."""
    (row,) = (
        r
        for r in found_in(rotated, "directions.json")["directions"]
        if r["called"] == "nearly a pair"
    )
    assert re.findall(r"fc1_\d", row["program"]) == ["fc1_0", "fc1_3"]
    assert row["status"] == "program" and row["terms"] == 2
    assert 0 < row["fvu_local"] <= 0.01 and row["verdict"] == "proved" and row["smt_checked"]


def test_sums_of_units_are_written_out(rotated):
    """The program over the source is near to the direction, and its bound holds on probes."""
    job = job_of(rotated, "results/net")
    (of,) = (d for d in job.directions if d.key == "fc1")
    (x,), fit = job.probes.select.batch(), job.probes.fit.batch()
    values, before = (
        job.network.record(batch, ["fc1"])["fc1"][:, :, 0, 0].double().numpy() @ of.matrix.T
        for batch in ((x,), fit)
    )
    for row in found_in(rotated, "directions.json")["directions"]:
        if row["bank"] == "fc1:pre":
            assert row["over_source"] is None
            continue
        known: dict[str, Any] = {f"{BANK}_{i}": x[:, i].double().numpy() for i in range(10)}
        known["relu"] = lambda v: np.maximum(v, 0)
        program = eval(row["over_source"]["program"], {"__builtins__": {}}, known)
        error = np.abs(program - values[:, row["channel"]])
        assert error.max() <= row["over_source"]["bound"] + 1e-6
        share = float((error**2).mean() / before[:, row["channel"]].var())
        assert row["over_source"]["fvu"] == pytest.approx(share, rel=1e-3, abs=1e-9)


def test_a_direction_without_a_program_says_why(rotated, monkeypatch):
    """A search that failed and a bar that no candidate reaches are told; the run goes on."""
    sound = LinearEngine.propose

    def propose(self: LinearEngine, evidence: UnitEvidence, *, budget: int, seed: int):
        if (evidence.layer.layer.name, evidence.channel) == ("fc1:direction", 1):
            raise ZeroDivisionError("a bug")
        return sound(self, evidence, budget=budget, seed=seed)

    monkeypatch.setattr(LinearEngine, "propose", propose)
    run(job_of(rotated, "none", max_fvu=1e-30, budget=3))
    rows = found_in(rotated, "directions.json", "none")["directions"]
    assert [r["program"] for r in rows] == [None] * 9
    assert "the search failed: ZeroDivisionError: a bug" in rows[1]["reason"]
    assert {r["reason"] for r in rows if r is not rows[1]} == {"no candidate of its front passes"}
    figures = found_in(rotated, "summary.json", "none")["directions"]["fc1"]
    assert (figures["passed"], figures["failed"], figures["units"]["opaque"]) == (0, 1, 3)
    assert rotated("show", "none", "fc1_direction_1").exit_code == 0


# the bank's place


def test_an_exact_replacement_is_the_bank():
    """head(B⁻¹ · programs) equals the layer where the programs are the directions' own weights."""
    module, layer = conv_layer()
    directions = Directions("0:pre", layer, ROTATION * 3)
    choice = chosen(directions.layer, [None] * 6)
    maps = torch.randn(7, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    found = replacement(directions, choice, CORE)(maps)
    assert found.shape == (7, 6, 3, 3)
    assert float((found - layer_module(layer)(maps)).abs().max()) < 1e-5
    network = read(module, (4, 5, 5))
    whole = network.replaced({"0": replacement(directions, choice, CORE)})
    assert float((whole(maps) - network(maps)).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("key", "change", "reason"),
    [
        ("0:pre", lambda m: m[:4], "4 directions of 6 units have no inverse"),
        ("0:pre", lambda m: m @ np.diag([1, 1, 1, 1, 1, 1e-7]), "condition number"),
        ("0", lambda m: m, "give directions of '0:pre'"),
    ],
    ids=["few", "singular", "behind heads"],
)
def test_what_replaces_no_bank_says_why(key, change, reason):
    """Too few directions, nearly dependent ones, and sums over the bank's own units."""
    _, layer = conv_layer()
    directions = Directions(key, layer, change(np.random.default_rng(3).standard_normal((6, 6))))
    choice = chosen(directions.layer, [None] * directions.layer.units)
    with pytest.raises(ValueError, match=reason):
        replacement(directions, choice, CORE)


def test_figures_of_the_replacement(rotated):
    """Its bits are the programs' and the inverse's; it is as strict as select wants it."""
    figures = found_in(rotated, "summary.json")["directions"]
    before, after = figures["fc1:pre"], figures["fc1"]
    assert before["invertible"] and before["condition"] == pytest.approx(1.0)
    assert (before["count"], before["passed"], before["proved"]) == (6, 6, 6)
    place = before["replacement"]
    assert place["accepted"] and place["select"]["kl_mean"] <= 0.01
    assert place["select"]["agreement"] >= 0.99 and place["held_out"]["agreement"] >= 0.97
    assert place["bits_inverse"] == 32 * 36
    assert before["bits"] + place["bits_inverse"] <= place["bits"] < before["bits_raw"] + 32 * 36
    assert "fc1:pre" in after["replacement"]["reason"] and not after["invertible"]


# the run


def test_directions_are_shown(rotated):
    """`show` knows a direction by name, index or its own name; each has its whole front."""
    shown = [
        json.loads(rotated("show", "results/net", text, "--json").stdout)
        for text in ("fc1_direction_0", "fc1:direction[0]", "a pair")
    ]
    assert shown[0] == shown[1] == shown[2]
    assert shown[0]["program"] in [c["program"] for c in shown[0]["front"] if c["chosen"]]
    assert len(shown[0]["front"]) >= 4
    table = rotated("show", "results/net", "fc1_direction").stdout
    assert "fc1:direction: 3 directions" in table and "(nearly a pair)" in table
    one = rotated("show", "results/net", "nearly a pair").stdout
    assert "row 1 of fc1" in one and "over source" in one and "|direction − program|" in one
    everything = rotated("show", "results/net").stdout
    assert "fc1: 6 units" in everything and "fc1:pre:direction: 6 directions" in everything
    missing = rotated("show", "results/net", "fc1_direction_7")
    assert missing.exit_code == 2 and "Did you mean 'fc1_direction_" in missing.output


def test_certificates_are_checked(rotated):
    """Every proved direction has a certificate; one that is told of another program is refused."""
    accepted, rejected = check_run(open_run(rotated.folder / "results" / "net"))
    assert {"fc1:direction[1]", "fc1:pre:direction[5]"} <= set(accepted) and not rejected
    finished = open_run(rotated.folder / "results" / "net")
    first, *others = finished.directions
    claimed = replace(finished, directions=({**first, "program": "fc1_0"}, *others))
    _, rejected = check_run(claimed)
    assert [label for label, _ in rejected] == ["fc1:direction[0]"]


def test_killed_runs_resume(rotated):
    """Killed among the directions and resumed, a run ends with the bytes of an undisturbed one."""
    job = job_of(rotated, "results/killed", layers=("fc1",))
    for killed_at in (2, 4, 7):
        pid = os.fork()
        if pid == 0:
            run_until(job, killed_at)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    run(job)
    one, other = (rotated.folder / "results" / name for name in ("net", "killed"))
    assert [(one / n).read_bytes() for n in FILES] == [(other / n).read_bytes() for n in FILES]


def run_until(job: Job, killed_at: int) -> None:
    """Kill this process once so many directions are known."""
    seen = []

    def progress(what: str, done: int, _: int) -> None:
        if "direction" in what and done:
            seen.append(done)
        if len(seen) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    run(job, progress=progress)
    os._exit(1)


def test_the_numbers_of_a_basis_are_part_of_a_run(rotated, tmp_path):
    """Other directions in the file make another run; units and programs are those without any."""
    other = project(tmp_path / "other", scale=0.75)
    digests = {job_of(h, "out").digest for h in (rotated, other)}
    (other.folder / "net.toml").write_text(CONFIG.replace("basis =", "# basis ="))
    plain = job_of(other, "results/net", layers=("fc1",))
    assert len(digests | {plain.digest}) == 3 and plain.directions == ()
    run(plain)
    assert found_in(other, "programs.json") == found_in(rotated, "programs.json")
    assert not (other.folder / "results" / "net" / "directions.json").exists()


def test_clean_knows_what_directions_leave(rotated, tmp_path):
    """`clean --all` leaves nothing of a run with a basis."""
    shutil.copytree(rotated.folder / "results" / "net", tmp_path / "run")
    assert rotated("clean", "--all", "--yes", str(tmp_path / "run")).exit_code == 0
    assert not (tmp_path / "run").exists()


def test_bad_directions_are_told_with_all_else(tmp_path):
    """A key that is no layer, few probes for a direction and an unknown engine: one message."""
    home = project(tmp_path / "bad")
    text = CONFIG.replace("[run]", 'engines = ["quadratic"]\npatches_per_weight = 18.0\n[run]')
    (home.folder / "net.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        job_of(home, "out", layers=("fc2",))
    told = str(caught.value)
    assert "unknown engine 'quadratic'" in told
    assert "layer fc1:pre:direction: 400 probes leave" in told
