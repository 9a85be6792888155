"""What sums over units are over the source of their layer, written out by the units' programs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from grammars.program import Node, count_terms, terms_of
from grammars.siblings import expand
from oracles.claims import Proved
from synth.assembly import LayerChoice, Status, bank_module
from synth.direction_search import DirectionPrograms
from synth.proofs import UnitProof

if TYPE_CHECKING:
    from synth.job import Job

KEPT = (Status.PROGRAM, Status.ROUNDED, Status.INACTIVE)  # units whose programs stand for them


@dataclass(frozen=True)
class OverSource:
    """A direction's program with those of its units in the place of the units.

    `fvu` is that of the direction on select, on original sources. `bound` holds where the layer's
    source and its units are in their envelopes; None where not all of the programs are proved.
    """

    program: str
    terms: int
    fvu: float
    bound: float | None


def over_source(
    job: "Job",
    choices: Sequence[LayerChoice],
    proofs: Sequence[UnitProof],
    programs: DirectionPrograms,
) -> list[dict[str, Any] | None]:
    """For each direction of a bank an `OverSource` as a row.

    None for directions that read the source anyway, and where a unit has no program.
    """
    directions = programs.directions
    none: list[dict[str, Any] | None] = [None] * len(directions.matrix)
    if directions.affine:
        return none
    (units,) = (c for c in choices if c.layer.name == directions.of.name)
    bounds = {p.channel: _bound(p) for p in proofs if p.layer == directions.of.name}
    rows, fvus = none, _fvus(job, units, programs)
    for channel, program in enumerate(programs.choice.expanded(job.grammar)):
        composed = _composed(job, units, program)
        if composed is not None and programs.choice.units[channel].program is not None:
            bound = _total(program, _bound(programs.proofs[channel]), bounds)
            text, terms = job.records.text(composed), count_terms(composed)
            rows[channel] = asdict(OverSource(text, terms, float(fvus[channel]), bound))
    return rows


def _composed(job: "Job", units: LayerChoice, program: Node) -> Node | None:
    """A program over units as one over their source; None where a unit has none of its own."""
    inner = units.expanded(job.grammar)

    def unit(channel: int) -> Node:
        if units.units[channel].status not in KEPT:
            raise ValueError(f"unit {channel} has no program")
        return inner[channel]

    try:
        return expand(program, units.layer.name, unit, job.grammar)
    except ValueError:  # or the weights that merge need more bits than a float has
        return None


def _bound(proof: UnitProof) -> Fraction | None:
    return proof.verdict.bound if isinstance(proof.verdict, Proved) else None


def _total(
    program: Node, own: Fraction | None, bounds: Mapping[int, Fraction | None]
) -> float | None:
    """The program's own bound, and those of the units times their weights, rounded up."""
    terms, _ = terms_of(program)
    if own is None or any(atom.op != "tap" for _, atom in terms):
        return None
    total = own
    for weight, atom in terms:
        unit = bounds[int(atom["channel"])]  # type: ignore[arg-type]
        if unit is None:
            return None
        total += abs(Fraction(weight)) * unit
    return math.nextafter(float(total), math.inf) if total else 0.0


def _fvus(job: "Job", units: LayerChoice, programs: DirectionPrograms) -> np.ndarray:
    """(D,) FVUs on select of the directions' programs on the units' programs."""
    layer, directions = units.layer, programs.directions
    inner, outer = (bank_module(c, job.grammar) for c in (units, programs.choice))
    squares, count = np.zeros(len(directions.matrix)), 0
    for batch in job.probes.select.batches():
        maps = job.network.record(batch, {layer.source, layer.name}, to_end=False)
        source, own = maps[layer.source], maps[layer.name]
        with torch.no_grad():
            found = outer.to(source.device)(inner.to(source.device)(source))
        matrix = torch.from_numpy(directions.matrix).to(own.device)
        wanted = torch.einsum("du,nuhw->ndhw", matrix, own.double())
        errors = (found.double() - wanted) ** 2
        squares += errors.sum((0, 2, 3)).cpu().numpy()
        count += errors[:, 0].numel()
    variance = programs.ranges.variance
    constant = np.where(squares == 0, 0.0, np.inf)
    return np.where(variance > 0, squares / count / np.where(variance > 0, variance, 1), constant)
