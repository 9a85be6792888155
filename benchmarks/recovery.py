"""Recovery by family: units of one family are ablated in a network, and then come back as programs.

The published hand-written curve circuit of ten units recovered 57 % of the images that were lost
without it (Cammarata et al. 2021). Beside each family stands a control of the same form: kernels
with parameters at random, whose constants are fitted like the programs' own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.report import Report
from grammars.grammar import Grammar
from grammars.program import Node
from synth.assembly import LayerChoice, UnitChoice, bank_module, opaque_unit
from synth.controls import mean_ablation, random_program, unit_statistics
from synth.engine import UnitEvidence
from synth.engines.kernel import KernelEngine
from synth.evidence import LayerEvidence, gather
from synth.job import Job
from synth.outputs import answers, kl_divergence, run_batches
from synth.threads import numeric_threads

MEDIAN, MOST = 0.98, 10  # recovered in the median over families of so many units at most


@dataclass(frozen=True, eq=False)
class _Network:
    """What becomes of a job's held-out answers when some units of one layer are others."""

    job: Job
    choice: LayerChoice
    original: Tensor

    def lost(self, module: nn.Module) -> tuple[float, int]:
        """The mean KL in nats, and the answers that change, with a module in the layer's place."""
        network = self.job.network.replaced({self.choice.layer.name: module})
        inputs, pick = self.job.parts.held_out.inputs, self.job.network.judge
        outputs = run_batches(network, inputs, pick=pick)
        changed = answers(self.original) != answers(outputs)
        return float(kl_divergence(self.original, outputs).mean()), int(changed.sum())

    def only(self, family: Sequence[int], units: Sequence[UnitChoice]) -> LayerChoice:
        """The choice with programs of a family alone; all other units keep their weights."""
        scope, every = self.choice.scope, range(self.choice.layer.units)
        kept = (units[c] if c in family else opaque_unit(c, scope) for c in every)
        return replace(self.choice, units=tuple(kept))


def measure(report: Report, name: str, job: Job, choice: LayerChoice, seed: int) -> None:
    """Adds a row for each family of a layer, and the medians as checks."""
    inputs = job.parts.held_out.inputs
    with numeric_threads(job.config.run.jobs), torch.no_grad():
        layer = choice.layer.name
        original = run_batches(job.network.module, inputs, pick=job.network.judge)
        means = {layer: unit_statistics(job.network, [layer], job.parts.fit.inputs)[layer].mean}
        (evidence,) = gather(job.network, job.probes, seed=seed, layers=[layer])
        network = _Network(job, choice, original)
        families = [f for f in choice.families if len(f) <= MOST]
        rows = [_row(network, f, means, evidence, seed) for f in families]
    report.rows += [{"network": f"{name}: family of {r['units']}"} | r for r in rows]
    for what in ("KL", "answers"):
        found = [r[what]["program"] for r in rows if r[what]["program"] is not None]
        median = float(np.median(found)) if found else 0.0
        shown = median if found else "no family pays"
        bar = f">= {MEDIAN}"
        report.check(f"{name}: recovered {what}, median of families", shown, bar, median >= MEDIAN)


def _row(
    network: _Network,
    family: Sequence[int],
    means: dict[str, np.ndarray],
    evidence: LayerEvidence,
    seed: int,
) -> dict[str, Any]:
    grammar, units = network.job.grammar, network.choice.units
    own = network.only(family, units)
    (ablated,) = mean_ablation([own], means).values()
    (drawn,) = random_program([own], grammar, seed=seed)
    control = network.only(family, [_fitted(u, evidence, grammar) for u in drawn.units])
    lost = {
        "ablated": network.lost(ablated),
        "program": network.lost(bank_module(own, grammar)),
        "control": network.lost(bank_module(control, grammar)),
    }
    kinds = ("program", "control")
    return {
        "units": len(family),
        "names": [units[c].channel for c in family],
        "bits": sum(units[c].bits for c in family),
        "bits_control": sum(control.units[c].bits for c in family),
        "KL": {k: _recovered(lost["ablated"][0], lost[k][0]) for k in kinds},
        "answers": {k: _recovered(lost["ablated"][1], lost[k][1]) for k in kinds},
        "lost_by_ablation": {"KL": lost["ablated"][0], "answers": lost["ablated"][1]},
    }


def _fitted(unit: UnitChoice, evidence: LayerEvidence, grammar: Grammar) -> UnitChoice:
    """A unit with its constants fitted to its evidence."""
    if unit.program is None:
        return unit
    known = UnitEvidence(evidence, unit.channel, grammar)
    program: Node | None = KernelEngine().refit(unit.program, known)
    return unit if program is None else replace(unit, program=program)


def _recovered(ablated: float, replaced: float) -> float | None:
    """1 − replaced/ablated; None where ablation does no harm."""
    return 1 - replaced / ablated if ablated else None
