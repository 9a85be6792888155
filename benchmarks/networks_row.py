"""One network as a whole, decompiled as a user does it: a row of the table, and its bars."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.baseline_curves import EVERY, Grades, Measured, compared, curves
from benchmarks.report import Check
from benchmarks.sections import Given, check
from benchmarks.sections import Measured as Section
from benchmarks.timed import ROOT, cost_of, synth
from synth.behaviour.report import Examination, together
from synth.chain import load_choices
from synth.folder import open_run
from synth.job import Job
from synth.origin import job_of
from synth.pace import paces
from synth.threads import numeric_threads

SAME = 0.98  # agreement below which a replacement is approximate
CAUSES, TIMES, BATCHES = 0.98, 1.05, (1, 64)
KEPT = (
    *("verdict", "accepted", "n", "bits", "bits_share", "units", "families", "opaque_nodes"),
    *("agreement", "kl_mean", "accuracy_original", "accuracy_replaced", "accuracy_change"),
    *("accuracy_change_interval", "proved", "unknown", "fvu_in_situ", "bits_shuffled_control"),
    *("shuffled_control", "recovered_mean", "recovered_resample"),
)


@dataclass(frozen=True)
class Bars:
    """What a replacement must show; None where nothing is asked. `short` is of all units, or of
    the layers that it names; `changed` are answers on held-out."""

    share: float
    agreement: float | None = None
    change: float | None = None
    changed: int | None = None
    short: float | Mapping[str, float] | None = None


@dataclass(frozen=True)
class Case:
    """A network: its configuration, `config(folder, data)`, with what is set beside it.

    `further` are other choices from its fronts, by their name: so many bits as `synth assemble`
    takes them, and their bars. Of a large network curves have fewer points.
    """

    config: Callable[[Path, Path], Path]
    settings: tuple[str, ...]
    bars: Bars
    minutes: float
    gib: float | None = None
    further: Mapping[str, tuple[str, Bars]] = field(default_factory=dict)
    grades: Grades = EVERY


def measure(name: str, case: Case, folder: Path, given: Given, settings: Sequence[str]) -> Section:
    """Run a case into a folder; its rows and checks. Held-out is looked at when all is chosen."""
    out = folder / "run"
    config = case.config(folder, given.data)
    words = [w for s in (*case.settings, *settings) for w in ("--set", s)]
    seconds, peak = cost_of(config, out, given.jobs, "--seed", str(given.seed), *words)
    stages = json.loads((out / "timing.json").read_text(encoding="utf-8"))["seconds"]
    minutes = (seconds - stages["controls"]) / 60  # the control is a run of its own
    cost = {"minutes": minutes, "minutes_with_controls": seconds / 60, "peak_gib": peak}
    job = job_of(out, None)
    rows, checks, points = [], list[Check](), list[Measured]()
    for label, run, bars in _points(name, case, out, given.jobs):
        row = _figures(job, run)
        rows.append({"network": label} | (cost if run == out else {}) | row)
        checks += checks_of(label, row, bars)
        points.append(Measured(row["bits_share"], row["kl_mean"], row["agreement"], None))
    rows[0] |= {"stages": stages, "settings": [*case.settings, *settings]}
    checks.append(check(f"{name}: minutes", minutes, f"<= {case.minutes}", minutes <= case.minutes))
    if case.gib is not None:
        checks.append(check(f"{name}: GiB", peak, f"<= {case.gib}", peak <= case.gib))
    with numeric_threads(job.config.run.jobs), torch.no_grad():
        rivals = curves(job, case.grades)
    for what, curve in rivals.items():
        rows += [{"network": f"{name}, {what}"} | asdict(point) for point in curve]
        checks += compared(name, points, what, curve)
    return rows, checks


def _points(name: str, case: Case, out: Path, jobs: int) -> Iterator[tuple[str, Path, Bars]]:
    """The run and the other choices from its fronts: what each is called, its folder and bars."""
    yield name, out, case.bars
    for label, (bits, bars) in case.further.items():
        apart = out.with_name(label)
        words = ["assemble", str(out), "--bits", bits, "--out", str(apart), "--jobs", str(jobs)]
        done = subprocess.run(synth(*words), cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        if done.returncode not in (0, 1) or not (apart / "summary.json").exists():
            raise SystemExit(f"synth assemble ended with {done.returncode}")
        yield f"{name}, {label}", apart, bars


def _figures(job: Job, run: Path) -> dict[str, Any]:
    """What a finished choice is, what changes, what its causes are and how long it takes."""
    found = open_run(run)
    summary, choices = found.summary, load_choices(job, run)
    looked = Examination(job, choices)
    with numeric_threads(job.config.run.jobs):
        causes = together(looked.interventions())
    statuses: dict[str, Counter[str]] = {}
    for unit in found.rows:
        statuses.setdefault(unit["layer"], Counter())[unit["status"]] += 1
    whole = summary["bits_original"]
    return {
        "label": "approximate" if summary["agreement"] < SAME else summary["verdict"],
        **{key: summary[key] for key in KEPT},
        "lossless_share": summary["bits_original_entropy"] / whole,
        "changed": round((1 - summary["agreement"]) * summary["n"]),
        "short_coverage": summary["short_coverage_units"],
        "layers": {n: dict(s) for n, s in statuses.items()},
        "short_by_layer": {n: s["program"] / s.total() for n, s in statuses.items()},
        "r2_interventions": causes,
        "times": {p.batch: p.ratio for p in paces(job, choices, BATCHES)},
    }


def checks_of(name: str, row: Mapping[str, Any], bars: Bars) -> Iterator[Check]:
    """The bars of a row, and those that all rows have."""

    def least(what: str, value: float | None, bar: float | None) -> Iterator[Check]:
        if bar is not None:
            shown = "none" if value is None else value
            yield check(f"{name}: {what}", shown, f">= {bar}", value is not None and value >= bar)

    def most(what: str, value: float, bar: float | None) -> Iterator[Check]:
        if bar is not None:
            yield check(f"{name}: {what}", value, f"<= {bar}", value <= bar)

    yield from most("opaque units", row["units"]["opaque"] + len(row["opaque_nodes"]), 0)
    yield from most("share of bits", row["bits_share"], bars.share)
    yield from least("agreement", row["agreement"], bars.agreement)
    yield from least("accuracy change", row["accuracy_change"], bars.change)
    yield from most("changed answers", row["changed"], bars.changed)
    if isinstance(bars.short, Mapping):
        for layer, bar in bars.short.items():
            yield from least(f"short coverage of {layer}", row["short_by_layer"][layer], bar)
    else:
        yield from least("short coverage", row["short_coverage"], bars.short)
    lossless = row["lossless_share"]
    below = row["bits_share"] < lossless
    yield check(f"{name}: entropy code", row["bits_share"], f"< {lossless:.4f}", below)
    yield from _control(name, row)
    yield from least("R² of interventions", row["r2_interventions"], CAUSES)
    for batch, ratio in row["times"].items():
        yield from most(f"time at batch {batch}", ratio, TIMES)


def _control(name: str, row: Mapping[str, Any]) -> Iterator[Check]:
    """The same pipeline on shuffled weights takes more bits, at the same KL. A choice from known
    fronts has the control of its run."""
    shuffled, control = row["bits_shuffled_control"], row["shuffled_control"]
    if control is not None:
        holds = control["at_equal_kl"] and row["bits"] < shuffled
        yield check(f"{name}: bits, shuffled control", row["bits"], f"< {shuffled}", holds)
