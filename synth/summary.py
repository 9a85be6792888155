"""The figures of a run: `summary.json`, the rows of `programs.json` and the notes of the source."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from grammars.coding import primitive_bits
from grammars.program import count_terms
from oracles.claims import Proved, Refuted, Unknown
from synth.asked import Asked
from synth.assembly import LayerChoice, Status, assemble, original_bits, source_bits
from synth.banks import bank_rows
from synth.baselines import entropy_bits, pruned_at, rounded_at
from synth.chain import Progress, Searched, search
from synth.common.choose import with_common
from synth.common.records import common_figures, common_rows, written_rows
from synth.controls import random_program, shuffled
from synth.deep.report import deep_figures
from synth.direction_report import direction_figures
from synth.discrete.report import discrete_figures
from synth.emission import constants_beside
from synth.evidence import Ranges
from synth.figures import distances, finite
from synth.job import Job
from synth.joint.report import joint_figures
from synth.outputs import run_batches
from synth.picking import Criteria
from synth.proofs import UnitProof, verdict_row
from synth.records import Records
from synth.stopwatch import Stopwatch
from synth.store import CONTROL_FRONT, Store
from synth.validation import Validation, validate

Summary = dict[str, Any]
Rival = Callable[[], list[LayerChoice]]
WRITTEN = (Status.PROGRAM, Status.ROUNDED)


def summarise(
    job: Job,
    searched: Searched,
    proofs: Sequence[UnitProof],
    store: Store,
    watch: Stopwatch,
    *,
    progress: Progress,
) -> Summary:
    """Everything that `summary.json` says; held-out is opened here, once."""
    choices = searched.point.choices
    beside = sum(t.numel() for t in constants_beside(job.network).values())
    with watch.stage("validation"):
        found = validated(job, choices, searched.ranges)
    with watch.stage("controls"):
        controls = _controls(job, searched, store, watch, progress)
    common = common_figures(choices, job.grammar)
    saved = common["bits_saved"] if common else 0
    figures = {
        **_verdict(job, searched, found),
        **coverage(choices, beside=beside),
        **_bits(job, choices, beside),
        "opaque_nodes": [asdict(o) for o in job.network.opaque],
        "failed_units": [asdict(f) for f in searched.failures],
        "engines": searched.engines.rows,
        **controls,
        **_proved(choices, proofs),
        **_validation(found),
        "operating_points": _operating_points(searched),
        "common": common,
        "joint": joint_figures(searched.assembled, searched.point, apart=saved),
        "directions": direction_figures(job, choices, searched.directions),
        "deep": deep_figures(job, choices, searched.deep),
        "discrete": discrete_figures(job, choices, searched.deep),
        "assembled": None if job.asked is None else _assembled(job.asked),
    }
    return finite(figures)


def validated(job: Job, choices: Sequence[LayerChoice], ranges: Mapping[str, Ranges]) -> Validation:
    """The choices on held-out; layers without any program are as they were."""
    return validate(
        job.network,
        [c for c in choices if not c.is_opaque],
        job.grammar,
        job.parts.held_out,
        job.parts.fit,
        margin=job.config.accept.margin,
        seed=job.config.run.seed,
        variances={n: r.variance for n, r in ranges.items()},
        envelopes={n: (r.lower, r.upper) for n, r in ranges.items()},
    )


def coverage(choices: Sequence[LayerChoice], *, beside: int = 0) -> Summary:
    """Shares of units and of weights by status, how long the programs are, and how many units the
    families have.

    `beside` counts the numbers of opaque nodes: they are opaque weights of no unit.
    """
    rows = [(u, c.layer.fan + 1) for c in choices for u in c.units]
    units = Counter(str(u.status) for u, _ in rows)
    weights = Counter({str(Status.OPAQUE): beside})
    for unit, size in rows:
        weights[str(unit.status)] += size
    written = (u.program for u, _ in rows if u.status in WRITTEN)
    terms = [count_terms(program) for program in written if program is not None]
    return {
        "units": {s: units[s] for s in map(str, Status)},
        "coverage_units": {s: units[s] / len(rows) for s in map(str, Status)},
        "coverage_weights": {s: weights[s] / sum(weights.values()) for s in map(str, Status)},
        "short_coverage_units": units[str(Status.PROGRAM)] / len(rows),
        "families": sorted((len(f) for c in choices for f in c.families), reverse=True),
        "terms": {
            "median": float(np.median(terms)) if terms else None,
            "p90": float(np.quantile(terms, 0.9)) if terms else None,
        },
    }


def program_rows(
    job: Job, searched: Searched, proofs: Sequence[UnitProof], records: Records
) -> Summary:
    """`programs.json`: every unit with its program, errors and verdict, under the records' names.

    Beside them `sources`, what the bank that a layer reads is called as a whole, `renamed`, which
    names stand for those of layer and channel, `banks`, how the layers hang together, and `common`,
    the values that units share, if there are any.
    """
    plain, names = job.records.names, records.names
    banks = [(c.layer, c.layer.name) for c in searched.point.choices]
    pairs = ((plain.of(bank, c), names.of(bank, c)) for la, bank in banks for c in range(la.units))
    by_unit = {(p.layer, p.channel): p for p in proofs}
    rows = []
    for choice in searched.point.choices:
        written = written_rows(choice, records)
        for unit in choice.units:
            proof = by_unit[choice.layer.name, unit.channel]
            name = names.of(choice.layer.name, unit.channel)
            terms = None if unit.program is None else count_terms(unit.program)
            row = {"layer": choice.layer.name, "name": name} | records.unit(unit)
            row |= written.get(unit.channel, {})
            rows.append(finite(row | {"terms": terms} | verdict_row(proof)))
    sources = {bank: names.stem(la.source) for la, bank in banks}
    renamed = {a: b for a, b in pairs if a != b}
    common = [*common_rows(searched.point.choices, records)]
    together = {"banks": bank_rows(job.network, names)} | ({"common": common} if common else {})
    return {"units": rows, "sources": sources, "renamed": renamed} | together


def notes_of(job: Job, summary: Summary) -> dict[str, object]:
    """What the docstring of `decompiled.py` says of how it was made."""
    factory = job.config.network.source.rpartition("/")[2]
    low, high = summary["accuracy_change_interval"]
    proved, programs = summary["proved"], summary["accepted_programs"]
    accuracies = f"{summary['accuracy_original']:.4f} → {summary['accuracy_replaced']:.4f}"
    change = f"{summary['accuracy_change']:+.4f} [{low:+.4f}, {high:+.4f}]"
    asked = {} if job.asked is None else {"chosen from": f"{job.asked.run}: {job.asked}"}
    return {
        "network": factory,
        **asked,
        "verdict": summary["verdict"],
        **({"accuracy": accuracies, "accuracy change": change} if summary["labelled"] else {}),
        "agreement": f"{summary['agreement']:.4f} of {summary['n']} held-out probes",
        "bits": f"{summary['bits']} of {summary['bits_original']}",
        "proved": f"{proved} of {programs} programs within ε over the envelope of the probes, "
        "in real arithmetic",
        **_bounds_note(summary["bound_over_std"]),
    }


def _bounds_note(ratios: Summary) -> dict[str, str]:
    """The proved bounds in standard deviations of their units; nothing where none is proved."""
    if ratios["median"] is None:
        return {}
    return {"proved bounds/std": f"median {ratios['median']:.3g}, max {ratios['max']:.3g}"}


def _assembled(asked: Asked) -> Summary:
    """Which run the fronts are of, and what the choice among them was to hold."""
    return asdict(asked) | {"asked": str(asked)}


def _verdict(job: Job, searched: Searched, found: Validation) -> Summary:
    point, criteria = searched.point, job.criteria
    return {
        "verdict": found.verdict,
        "accepted": point.accepted(criteria),
        "select": {"kl": point.kl, "agreement": point.agreement},
    }


def _bits(job: Job, choices: Sequence[LayerChoice], beside: int) -> Summary:
    """Prices of the source and of the original; what opaque nodes hold counts in all, raw."""
    layers, kept = job.network.layers, 32 * beside
    bits, original = source_bits(choices, job.grammar) + kept, original_bits(layers) + kept
    units = (unit for choice in choices for unit in choice.source().units)
    return {
        "bits": bits,
        "bits_primitives": primitive_bits(units, job.grammar) if job.grammar.user else 0,
        "bits_original": original,
        "bits_share": bits / original,
        "bits_original_entropy": entropy_bits(layers) + kept,
        "bits_opaque_nodes": kept,
    }


def _controls(
    job: Job, searched: Searched, store: Store, watch: Stopwatch, progress: Progress
) -> Summary:
    """The same bits without meaning, and the same pipeline on a network without structure.

    A control that the configuration leaves out is null.
    """
    choices, asked = searched.point.choices, job.config.run.controls
    bits = source_bits(choices, job.grammar)
    rivals: dict[str, Rival] = {
        "random": lambda: random_program(choices, job.grammar, seed=job.config.run.seed),
        "rounding": lambda: rounded_at(job.network.layers, bits, job.grammar),
        "pruning": lambda: pruned_at(job.network.layers, bits, job.grammar),
    }
    wanted = {name: rival for name, rival in rivals.items() if name in asked}
    compared = _compared(job, wanted) if wanted else {}
    shuffled = {"bits_shuffled_control": None, "shuffled_control": None}
    if "shuffled" in asked:
        shuffled = _shuffled(job, searched, store, watch, progress)
    return {**shuffled, "controls": {name: compared.get(name) for name in rivals}}


def _shuffled(
    job: Job, searched: Searched, store: Store, watch: Stopwatch, progress: Progress
) -> Summary:
    """Bits of the same pipeline on shuffled weights, at the KL that the real network reached."""
    network = shuffled(job.network, seed=job.config.run.seed)
    criteria: Criteria = replace(
        job.criteria, max_kl=searched.point.kl, min_agreement=0.0, most_bits=None
    )
    apart = Stopwatch()  # its stages are not those of the run

    def told(what: str, done: int, count: int) -> None:
        progress(f"control: {what}", done, count)

    found = search(job, network, store, apart, criteria=criteria, kind=CONTROL_FRONT, progress=told)
    point = found.point
    choices = with_common(point.choices, job.grammar)
    return {
        "bits_shuffled_control": source_bits(choices, job.grammar),
        "shuffled_control": {"kl": point.kl, "at_equal_kl": point.kl <= criteria.max_kl}
        | {"units": coverage(point.choices)["units"]},
    }


def _compared(job: Job, rivals: Mapping[str, Rival]) -> Summary:
    """Rivals on held-out, one by one: nothing is chosen by them, so a second look does no harm."""
    inputs, pick = job.parts.held_out.inputs, job.network.judge
    original = run_batches(job.network.module, inputs, pick=pick)
    result = {}
    for name, rival in rivals.items():
        choices = rival()
        module = assemble(job.network, choices, job.grammar)
        outputs = run_batches(module, inputs, pick=pick)
        bits = source_bits(choices, job.grammar)
        result[name] = {"bits": bits} | distances(original, outputs, job.parts.held_out.labels)
    return result


def _proved(choices: Sequence[LayerChoice], proofs: Sequence[UnitProof]) -> Summary:
    """Verdicts on the accepted programs, and how many inactive units are proved dead."""
    statuses = {(c.layer.name, u.channel): u.status for c in choices for u in c.units}
    accepted = [p for p in proofs if statuses[p.layer, p.channel] in WRITTEN]
    inactive = [p for p in proofs if statuses[p.layer, p.channel] is Status.INACTIVE]
    kinds = Counter(type(p.verdict) for p in accepted)
    ratios = [r for r in (p.bound_over_std for p in accepted) if r is not None]
    return {
        "accepted_programs": len(accepted),
        "proved": kinds[Proved],
        "refuted": kinds[Refuted],
        "unknown": kinds[Unknown],
        "smt_checked": sum(isinstance(p.smt, Proved) for p in accepted),
        "dead": sum(isinstance(p.verdict, Proved) for p in inactive),
        "bound_over_std": {
            "median": float(np.median(ratios)) if ratios else None,
            "max": max(ratios, default=None),
        },
    }


def _validation(found: Validation) -> Summary:
    row = asdict(found)
    for name in ("verdict", "units"):
        del row[name]
    return row


def _operating_points(searched: Searched) -> list[Summary]:
    ordered = sorted(searched.points, key=lambda p: p.multiplier)
    keys = ("multiplier", "bits", "kl", "agreement")
    return [{k: getattr(p, k) for k in keys} for p in ordered]
