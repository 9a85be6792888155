"""What a run says of directions: rows of `directions.json` and figures of `summary.json`."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from grammars.program import count_terms
from oracles.claims import Proved
from synth.assembly import (
    LayerChoice,
    Status,
    UnitChoice,
    bank_module,
    original_bits,
    source_bits,
)
from synth.direction_search import DirectionPrograms
from synth.direction_sources import over_source
from synth.directions import inverse_bits, replacement, why_not
from synth.figures import distances, finite
from synth.outputs import run_batches
from synth.proofs import UnitProof, verdict_row
from synth.records import Records
from synth.splits import Part

if TYPE_CHECKING:
    from synth.chain import Searched
    from synth.job import Job

Row = dict[str, Any]


def direction_rows(
    job: "Job", searched: "Searched", proofs: Sequence[UnitProof], records: Records
) -> Row:
    """`directions.json`: every direction, with the columns of a unit in `programs.json`.

    Beside them `bank`, its key in the file of directions, `source`, the bank that its program
    reads, `called`, the name that the file gives it, or null, and `over_source` (`OverSource`).
    """
    rows, choices = [], searched.point.choices
    for programs in searched.directions:
        composed = over_source(job, choices, proofs, programs)
        own = zip(programs.choice.units, programs.proofs, composed, strict=True)
        rows += [_row(records, programs, u, proof) | {"over_source": o} for u, proof, o in own]
    return {"directions": finite(rows)}


def direction_figures(
    job: "Job", choices: Sequence[LayerChoice], found: Sequence[DirectionPrograms]
) -> Row:
    """For each bank how many directions have programs, and what they are in the bank's place."""
    return {
        programs.directions.key: _figures(job, programs)
        | {"replacement": _replacement(job, choices, programs)}
        for programs in found
    }


def _row(records: Records, programs: DirectionPrograms, unit: UnitChoice, proof: UnitProof) -> Row:
    directions, layer, channel = programs.directions, programs.choice.layer, unit.channel
    called = directions.names[channel] if directions.names else None
    row = {"layer": layer.name, "name": records.names.of(layer.name, channel)}
    row |= {"called": called, "bank": directions.key, "source": layer.source}
    row |= records.unit(unit) | {"fvu_in_situ": None}
    row |= {"terms": None if unit.program is None else count_terms(unit.program)}
    row |= verdict_row(proof)
    if unit.program is None:
        failed = {f.channel: f"the search failed: {f.reason}" for f in programs.failures}
        row |= {"reason": failed.get(channel, "no candidate of its front passes")}
    return row


def _figures(job: "Job", programs: DirectionPrograms) -> Row:
    directions, units = programs.directions, programs.choice.units
    statuses = Counter(str(u.status) for u in units)
    terms = [count_terms(u.program) for u in units if u.program is not None]
    return {
        "count": len(units),
        "source": programs.choice.layer.source,
        "units": {s: statuses[s] for s in map(str, Status) if s != Status.ABLATED},
        "passed": len(terms),
        "proved": sum(isinstance(p.verdict, Proved) for p in programs.proofs),
        "failed": len(programs.failures),
        "terms": {"median": float(np.median(terms)) if terms else None},
        "bits": source_bits([programs.choice], job.grammar),
        "bits_raw": original_bits([programs.choice.layer]),
        "invertible": directions.invertible,
        "condition": directions.condition,
    }


def _replacement(job: "Job", choices: Sequence[LayerChoice], programs: DirectionPrograms) -> Row:
    """The bank by its directions, all other layers by their units' programs.

    Of ever stricter programs the first that select accepts count, or the last. Bits are those of
    the one bank. Held-out decides nothing here, so it may be looked at once more.
    """
    directions = programs.directions
    if reason := why_not(directions):
        return {"reason": reason}
    choice, module, select = _accepted(job, choices, programs)
    (own,) = (c for c in choices if c.layer.name == directions.of.name)
    return {
        "reason": None,
        "accepted": _accepts(job, select),
        "bits": source_bits([choice], job.grammar) + inverse_bits(directions),
        "bits_inverse": inverse_bits(directions),
        "bits_units": source_bits([own], job.grammar),
        "select": select,
        "held_out": _distances(job, module, job.parts.held_out),
    }


def _accepted(
    job: "Job", choices: Sequence[LayerChoice], programs: DirectionPrograms
) -> tuple[LayerChoice, nn.Module, Row]:
    """The programs of directions that count, the network with them, and its figures on select."""
    name = programs.directions.of.name
    others = {c.layer.name: bank_module(c, job.grammar) for c in choices if c.layer.name != name}

    def tried(choice: LayerChoice) -> tuple[LayerChoice, nn.Module, Row]:
        bank = replacement(programs.directions, choice, job.grammar)
        module = job.network.replaced(others | {name: bank})
        return choice, module, _distances(job, module, job.parts.select)

    found = tried(programs.choice)
    for stricter in programs.stricter:
        if _accepts(job, found[2]):
            break
        found = tried(stricter)
    return found


def _accepts(job: "Job", select: Row) -> bool:
    criteria = job.criteria
    near = select["kl_mean"] <= criteria.max_kl
    return near and select["agreement"] >= criteria.min_agreement


def _distances(job: "Job", module: nn.Module, part: Part) -> Row:
    """How far a replacement network is from the original on a part of the probes."""
    pick = job.network.judge
    original = run_batches(job.network.module, part.inputs, pick=pick)
    return distances(original, run_batches(module, part.inputs, pick=pick), part.labels)
