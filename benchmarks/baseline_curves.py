"""Baselines as curves of bits and faithfulness on held-out, and whether a point lies above one.

Plain rounding and magnitude pruning with all that their bits allow (`synth/baselines.py`), and
GPTQ-style rounding (`benchmarks/gptq.py`) at graded precisions, of each unit or each layer,
whichever changes less. All are priced by the coder of programs. A point lies above a curve if its
KL is lower than the curve's at the same bits, and its agreement not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.gptq import gptq
from benchmarks.report import Check
from benchmarks.sections import check
from synth.assembly import LayerChoice, assemble, original_bits, source_bits
from synth.baselines import pruned_at, rounded_at
from synth.figures import distances
from synth.job import Job
from synth.outputs import run_batches

CALIBRATION = 2048  # fit probes that GPTQ sees; the paper uses 128 samples


@dataclass(frozen=True)
class Measured:
    """One replacement on held-out; `accuracy` is None without labels."""

    share: float
    kl: float
    agreement: float
    accuracy: float | None


@dataclass(frozen=True)
class Grades:
    """The points of curves: shares of the 32-bit size, and levels of GPTQ's rounding."""

    shares: tuple[float, ...]
    levels: tuple[float, ...]


EVERY = Grades(
    (0.02, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.125, 0.15, 0.18, 0.22),
    tuple(2.0 ** (i / 2) for i in range(-2, 15)),  # 1 to 8 bits, with the sign
)

Rival = Callable[[Job, Grades], Iterator[list[LayerChoice]]]


def curves(job: Job, grades: Grades) -> dict[str, list[Measured]]:
    """Each baseline, its points in order of bits."""
    return {what: sorted(_curve(job, rival, grades), key=_share) for what, rival in RIVALS.items()}


def compared(
    name: str, ours: Sequence[Measured], what: str, curve: Sequence[Measured]
) -> Iterator[Check]:
    """Whether each of our points lies above a curve."""
    for mine in ours:
        rival, where = at(curve, mine.share), f"{name} at {mine.share:.1%}, against {what}"
        yield check(f"{where}: KL", mine.kl, f"< {rival.kl:.3g}", mine.kl < rival.kl)
        holds = mine.agreement >= rival.agreement
        yield check(f"{where}: agreement", mine.agreement, f">= {rival.agreement:.4f}", holds)


def at(curve: Sequence[Measured], share: float) -> Measured:
    """A curve between its points: log KL and agreement are linear in bits; its ends go on."""
    if share <= curve[0].share or len(curve) == 1:
        return replace(curve[0], share=share)
    pairs = list(pairwise(curve))
    a, b = next((p for p in pairs if p[1].share >= share), pairs[-1])
    part = min((share - a.share) / (b.share - a.share), 1.0)
    agreement = (1 - part) * a.agreement + part * b.agreement
    return Measured(share, a.kl ** (1 - part) * b.kl**part, agreement, None)


def _curve(job: Job, rival: Rival, grades: Grades) -> list[Measured]:
    """A baseline on held-out, without the points that another beats at fewer bits."""
    inputs, pick = job.parts.held_out.inputs, job.network.judge
    original = run_batches(job.network.module, inputs, pick=pick)
    found: list[Measured] = []
    for choices in rival(job, grades):
        module = assemble(job.network, choices, job.grammar)
        outputs = run_batches(module, inputs, pick=pick)
        far: dict[str, Any] = distances(original, outputs, job.parts.held_out.labels)
        share = source_bits(choices, job.grammar) / original_bits(job.network.layers)
        found.append(Measured(share, far["kl_mean"], far["agreement"], far["accuracy"]))
    return [m for m in found if not any(r.share <= m.share and r.kl < m.kl for r in found)]


def _share(point: Measured) -> float:
    return point.share


def _rounding(job: Job, grades: Grades) -> Iterator[list[LayerChoice]]:
    for share in grades.shares:
        yield rounded_at(job.network.layers, _bits(job, share), job.grammar)


def _pruning(job: Job, grades: Grades) -> Iterator[list[LayerChoice]]:
    for share in grades.shares:
        yield pruned_at(job.network.layers, _bits(job, share), job.grammar)


def _gptq(job: Job, grades: Grades) -> Iterator[list[LayerChoice]]:
    inputs = job.parts.fit.inputs
    inputs = inputs.take(np.arange(min(len(inputs), CALIBRATION)))
    for levels in grades.levels:
        for common in (False, True):
            yield gptq(job.network, inputs, levels, job.grammar, common=common)


RIVALS: dict[str, Rival] = {"rounding": _rounding, "pruning": _pruning, "GPTQ": _gptq}


def _bits(job: Job, share: float) -> int:
    return int(share * original_bits(job.network.layers))
