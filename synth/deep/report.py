"""What a run says of deep programs: rows of `deep.json` and figures of `summary.json`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from grammars.program import count_terms
from oracles.discrete import Answer
from synth.assembly import LayerChoice, bank_module, original_bits, source_bits
from synth.deep.search import DeepPrograms
from synth.discrete.claims import answer_row
from synth.figures import distances, finite
from synth.network import Network
from synth.outputs import run_batches
from synth.records import Records
from synth.splits import Part

if TYPE_CHECKING:
    from synth.job import Job

Row = dict[str, Any]


def deep_rows(found: Sequence[DeepPrograms], records: Records) -> Row:
    """`deep.json`: every unit with its program over the bank, and the front that it is from."""
    rows = []
    for programs in found:
        layer, of = programs.choice.layer, programs.reach.of
        for unit in programs.choice.units:
            row = {"layer": of.name, "unit": records.names.of(of.name, unit.channel)}
            row |= {"source": layer.source} | records.unit(unit) | {"fvu_in_situ": None}
            row |= {"terms": None if unit.program is None else count_terms(unit.program)}
            row |= _proved(programs.answers[unit.channel])
            row["front"] = [_candidate(c, records) for c in programs.fronts[unit.channel]]
            rows.append(row)
    return {"units": finite(rows)}


def deep_figures(job: "Job", choices: Sequence[LayerChoice], found: Sequence[DeepPrograms]) -> Row:
    """For each layer how many units have deep programs, and what these are in the layers' place."""
    return {p.reach.of.name: _figures(job, choices, p) for p in found}


def _proved(answer: Answer | None) -> Row:
    """What is proved of a program at all inputs, if that can be said."""
    return {} if answer is None else answer_row(answer)


def _candidate(candidate: Any, records: Records) -> Row:
    keys = ("bits", "fvu_fit", "fvu_select", "engine")
    return {"program": records.text(candidate.program)} | {k: getattr(candidate, k) for k in keys}


def _figures(job: "Job", choices: Sequence[LayerChoice], programs: DeepPrograms) -> Row:
    reach, units = programs.reach, programs.choice.units
    gone = {reach.of.name, *reach.skipped}
    own = [c for c in choices if c.layer.name in gone]
    row: Row = {
        "source": reach.source,
        "units": dict(Counter(str(u.status) for u in units)),
        "failed": len(programs.failures),
        "skips": list(reach.skipped),
        "bits": source_bits([programs.choice], job.grammar) if programs.is_whole else None,
        "bits_layers": source_bits(own, job.grammar),
        "bits_original": original_bits([c.layer for c in own]),
    }
    if not programs.is_whole:
        return row | {"reason": "units without a deep program keep the layers between"}
    module = deep_network(job.network, programs).replaced(
        {reach.of.name: bank_module(programs.choice, job.grammar)}
    )
    select = _distances(job, module, job.parts.select)
    held_out = _distances(job, module, job.parts.held_out)
    return row | {"reason": None, "select": select, "held_out": held_out}


def deep_network(network: Network, programs: DeepPrograms) -> Network:
    """The network with the layer where it reads the bank, for its replacement."""
    reach = programs.reach
    moved = replace(reach.nodes, source=network.banks[reach.source])
    others = (la for la in network.layers if la.name != reach.target)
    layer = replace(programs.choice.layer, name=reach.target)
    nodes = {**network.nodes, reach.target: moved}
    return replace(network, layers=(*others, layer), nodes=nodes)


def _distances(job: "Job", module: nn.Module, part: Part) -> Row:
    """How far the replacement, all else as it was, is from the original on a part of the probes."""
    pick = job.network.judge
    original = run_batches(job.network.module, part.inputs, pick=pick)
    return distances(original, run_batches(module, part.inputs, pick=pick), part.labels)
