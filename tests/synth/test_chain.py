"""A run is whole, repeats to the byte, survives being killed and keeps to its own folder."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from oracles.checker import check
from synth.assembly import assemble
from synth.chain import load_choices, run
from synth.config import load_config
from synth.errors import InputError
from synth.folder import RESULT_FILES
from synth.job import Job, load_job
from synth.outputs import run_batches
from synth.store import Store

NETWORK = """
import numpy as np
import torch
from torch import nn


def network():
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    generator = torch.Generator().manual_seed({seed})
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 2)
    return module


def probes():
    inputs = torch.rand(260, 4, generator=torch.Generator().manual_seed(5))
    return inputs, network()(inputs).argmax(1)


def others():
    return torch.rand(80, 4, generator=torch.Generator().manual_seed(6))
"""

CONFIG = """
[network]
factory = "network.py:network"
[probes]
inputs = "network.py:probes"
[search]
budget = 300
"""

Make = Callable[..., Job]


def project(folder: Path, *, seed: int = 0, config: str = CONFIG) -> Path:
    """A folder with a network of its own and a configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "network.py").write_text(NETWORK.format(seed=seed))
    (folder / "config.toml").write_text(config)
    return folder


def job_of(folder: Path, out: Path, **flags: object) -> Job:
    """The job of a project that writes to `out`; flags by their last name, such as seed=1."""
    tables = dict.fromkeys(("layers", "engines", "budget", "max_fvu"), "search")
    tables |= dict.fromkeys(("test_inputs", "test_labels"), "probes")
    tables["bits"] = "accept"
    overrides = {f"{tables.get(name, 'run')}.{name}": value for name, value in flags.items()}
    return load_job(load_config(folder / "config.toml", {"run.out": str(out)} | overrides))


def bytes_of(out: Path, names: Sequence[str] = RESULT_FILES) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def finished(home: Path) -> Path:
    """The folder of an uninterrupted run."""
    out = home / "finished"
    run(job_of(home, out))
    return out


def summary_of(out: Path) -> dict:
    return json.loads((out / "summary.json").read_text())


def test_every_figure_is_there(finished):
    """`summary.json` has the figures that are promised, and `timing.json` those of the machine."""
    promised = (
        "units coverage_units coverage_weights short_coverage_units bits bits_original "
        "bits_original_entropy bits_shuffled_control terms accuracy_original accuracy_replaced "
        "accuracy_change accuracy_change_interval verdict agreement kl_mean fvu_local "
        "fvu_in_situ recovered_mean recovered_resample proved refuted unknown smt_checked "
        "bound_over_std held_out_outside_envelope"
    )
    assert set(promised.split()) <= set(summary_of(finished))
    timing = json.loads((finished / "timing.json").read_text())
    assert set(timing) == {"seconds", "engine_seconds", "peak_mib", "jobs", "versions"}


def test_figures_agree_with_the_programs(finished):
    """Statuses and proofs of the summary are counts over `programs.json`."""
    rows = json.loads((finished / "programs.json").read_text())["units"]
    summary = summary_of(finished)
    statuses = [row["status"] for row in rows]
    assert len(rows) == 9
    assert summary["units"] == {s: statuses.count(s) for s in summary["units"]}
    assert summary["proved"] == sum(row["verdict"] == "proved" for row in rows)
    assert summary["smt_checked"] == sum(row["smt_checked"] for row in rows)
    assert summary["accepted"] and summary["bits"] < summary["bits_original"]


def test_operating_points_are_points_apart(finished):
    """Every multiplier that was tried has a point of its own, from rough to exact."""
    points = summary_of(finished)["operating_points"]
    multipliers = [p["multiplier"] for p in points]
    assert multipliers == sorted(set(multipliers)) and len(points) > 5
    assert points[0]["bits"] < points[-1]["bits"] and points[0]["kl"] > points[-1]["kl"]


def test_the_least_divergence_within_a_share_of_the_bits(home, finished):
    """With `bits` the choice takes at most so many, whether what select wants holds or not."""
    fewer = 0.8 * summary_of(finished)["bits_share"]
    out = home / "fewer"
    run(job_of(home, out, bits=fewer, controls=[]))
    short = summary_of(out)
    within = [p for p in short["operating_points"] if p["bits"] <= fewer * short["bits_original"]]
    assert short["bits"] == min(within, key=lambda p: p["kl"])["bits"]
    assert 0.9 * fewer <= short["bits_share"] <= fewer and not short["accepted"]


def test_the_checker_accepts_the_certificates(finished):
    """The standard-library checker accepts a certificate for every proved unit."""
    report = check(finished)
    assert not report.rejected
    assert len(report.accepted) == summary_of(finished)["proved"] > 0


def test_programs_are_read_back(home, finished):
    """The choices in `programs.json` compute what `replacement.safetensors` was written from."""
    job = job_of(home, finished)
    choices = load_choices(job, finished)
    outputs = run_batches(assemble(job.network, choices, job.grammar), job.parts.held_out.inputs)
    original = run_batches(job.network.module, job.parts.held_out.inputs)
    agreed = float((outputs.argmax(1) == original.argmax(1)).double().mean())
    assert agreed == pytest.approx(summary_of(finished)["agreement"])


def test_jobs_change_no_byte(home, finished):
    """The same seed gives the same bytes: two worker processes write what one process writes."""
    parallel = home / "parallel"
    run(job_of(home, parallel, jobs=2))
    assert bytes_of(parallel) == bytes_of(finished)


def test_layers_one_after_another(home, finished):
    """Layer by layer into one folder ends with the bytes of all at once; before, some is opaque."""
    stepwise = home / "stepwise"
    first = run(job_of(home, stepwise, layers=("2",)))
    assert first["units"]["opaque"] > 0
    run(job_of(home, stepwise, layers=("0",)))
    assert bytes_of(stepwise) == bytes_of(finished)


def test_a_finished_run_searches_nothing_again(home, finished, monkeypatch):
    """A run into its own finished folder only reads the store and leaves the same bytes."""
    before = bytes_of(finished)

    def refused(*_: object) -> None:
        raise AssertionError("a result was computed again")

    monkeypatch.setattr(Store, "put", refused)
    run(job_of(home, finished))
    assert bytes_of(finished) == before


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from synth.config import load_config
from synth.job import load_job
from synth.chain import run

config, out, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
job = load_job(load_config(config, {"run.out": out}))
draw = random.Random(7)
# some children end at an exact step, the others whenever the parent's clock says so
moments = [(draw.randint(2, 16), None) for _ in range(3)]
moments += [(None, draw.uniform(0.02, 0.5) * seconds) for _ in range(4)]

def child(step):
    seen = []
    def progress(*_):
        seen.append(1)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGKILL)
    run(job, progress=progress)
    os._exit(0)

for step, delay in moments:
    pid = os.fork()
    if pid == 0:
        child(step)
    if delay is not None:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    print("killed" if os.WIFSIGNALED(status) else "finished")
run(job)
"""


def test_killed_runs_resume(home, finished):
    """A run killed with SIGKILL at several moments and resumed writes the uninterrupted bytes."""
    seconds = sum(json.loads((finished / "timing.json").read_text())["seconds"].values())
    out, config = home / "killed", home / "config.toml"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(config), str(out), str(seconds)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split().count("killed") >= 5
    assert bytes_of(out) == bytes_of(finished)


def test_another_network_is_refused(home, finished, tmp_path):
    """A folder of another network's run raises InputError and is left as it was."""
    other, before = project(tmp_path / "other", seed=1), bytes_of(finished)
    with pytest.raises(InputError, match="holds another run"):
        run(job_of(other, finished))
    with pytest.raises(InputError, match=r"run\.seed: 0 there, 1 here"):
        run(job_of(home, finished, seed=1))
    assert bytes_of(finished) == before


BEHIND = """
import torch
from torch import nn


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.tensor([{scale}, 1.0, 1.0]))

    def forward(self, x):
        return torch.sort(self.scale - self.fc(x), dim=1)[0]{after}


def network():
    return Scaled()


def probes():
    inputs = torch.rand(200, 4, generator=torch.Generator().manual_seed(5))
    return inputs, torch.arange(200) % {classes}
"""


def test_identity_is_of_all_that_counts(tmp_path):
    """Weights outside layers, the graph, labels and criteria make another run; place does not."""
    folder = project(tmp_path / "project")
    digests = []
    for scale, classes, after in ((1.0, 3, ""), (2.0, 3, ""), (1.0, 1, ""), (1.0, 3, " * 40")):
        text = BEHIND.format(scale=scale, classes=classes, after=after)
        (folder / "network.py").write_text(text)
        digests.append(job_of(folder, tmp_path / "out").digest)
    digests.append(job_of(folder, tmp_path / "out", max_fvu=0.1).digest)
    assert len(set(digests)) == 5
    assert job_of(folder, tmp_path / "elsewhere", max_fvu=0.1, jobs=2).digest == digests[-1]


def test_what_opaque_nodes_hold_is_priced(tmp_path):
    """Numbers beside the layers count at 32 bits in source and original, and as opaque weights."""
    folder = project(tmp_path / "project")
    (folder / "network.py").write_text(BEHIND.format(scale=1.0, classes=3, after=""))
    summary = run(job_of(folder, tmp_path / "out", budget=60, controls=[]))
    assert summary["bits_opaque_nodes"] == 32 * 3
    assert summary["bits_original"] == 32 * (15 + 3)
    assert summary["coverage_weights"]["opaque"] >= 3 / 18  # type: ignore[index]


def test_held_out_decides_nothing(home, tmp_path):
    """With another held-out set the choice and the proofs stay, and only the figures change."""
    generator = np.random.default_rng(0)
    outs = [tmp_path / name for name in "ab"]
    for out in outs:
        test = out.with_suffix(".npz")
        labels = generator.integers(3, size=50)
        np.savez(test, x=generator.random((50, 4), dtype=np.float32), y=labels)
        flags = {"test_inputs": f"{test}:x", "test_labels": f"{test}:y"}
        run(job_of(home, out, **flags, budget=60, controls=[]))
    decided = ("replacement.safetensors", "programs.json", "certificates.json")
    assert bytes_of(outs[0], decided) == bytes_of(outs[1], decided)
    assert bytes_of(outs[0], ["summary.json"]) != bytes_of(outs[1], ["summary.json"])


def test_bad_input_is_told_before_any_search(tmp_path):
    """Unknown engines, absent layers and too few probes are one InputError each stage, at once."""
    folder, out = project(tmp_path / "project"), tmp_path / "out"
    (folder / "few.py").write_text("import torch\n\ndef probes():\n    return torch.rand(20, 4)\n")
    config = CONFIG.replace('"network.py:probes"', '"few.py:probes"')
    (folder / "config.toml").write_text(config + 'layers = ["*", "fc7"]\nengines = ["linear"]\n')
    with pytest.raises(InputError) as caught:
        job_of(folder, out)
    text = str(caught.value)
    assert "'fc7'" in text and "0" in text
    with pytest.raises(InputError, match="unknown engine 'quadratic'"):
        job_of(folder, out, engines=("quadratic",))
    assert not out.exists()


def test_one_thread_is_given_back(home, finished):
    """A run computes with one thread and leaves the number that it found."""
    before, inside = torch.get_num_threads(), set()
    torch.set_num_threads(3)
    try:
        run(job_of(home, finished), progress=lambda *_: inside.add(torch.get_num_threads()))
        assert inside == {1} and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
