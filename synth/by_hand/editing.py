"""A program that is written by hand in a unit's place: how near it is, and what is proved of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from grammars.program import Node, count_terms
from oracles.claims import Refuted
from synth.assembly import LayerChoice, Status, UnitChoice, source_bits
from synth.by_hand.edits import HAND
from synth.common.choose import with_common
from synth.engine import UnitEvidence
from synth.evidence import LayerEvidence, gather
from synth.figures import finite
from synth.fronts import Candidate, error_of, is_short, judge
from synth.proofs import UnitProof, prove_choices, verdict_row
from synth.splits import Part
from synth.validation import UnitFidelity, Validation, validate

if TYPE_CHECKING:
    from synth.job import Job

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Edit:
    """One unit of a run with another program: everything but this unit is as the run chose it.

    `beside` are the bits of opaque nodes.
    """

    job: "Job"
    choices: Sequence[LayerChoice]
    layer: str
    channel: int
    program: Node
    beside: int = 0

    def row(self) -> Row:
        """The row of `edits.json`; held-out is looked at once more, and nothing chosen by it."""
        (evidence,) = gather(
            self.job.network, self.job.probes, seed=self.job.config.run.seed, layers={self.layer}
        )
        unit = UnitEvidence(evidence, self.channel, self.job.grammar)
        (candidate,) = judge(unit, [self.program], [HAND])
        choices = self._edited(candidate, unit)
        parts = self.job.parts.select, self.job.parts.held_out
        select, held_out = (self._validated(choices, part) for part in parts)
        proof = self._proof(choices, evidence)
        reasons = self._reasons(candidate, self._own(select).fvu_in_situ, proof)
        beside = {
            "terms": count_terms(self.program),
            "short": is_short(self.program, candidate.bits, len(unit.scope.columns)),
            "passes": not reasons,
            "reasons": reasons,
            "fvu_in_situ": self._own(select).fvu_in_situ,
            "fvu_held_out": self._own(held_out).fvu_local,
            "fvu_held_out_in_situ": self._own(held_out).fvu_in_situ,
            **verdict_row(proof),
            "network": self._figures(choices, select, held_out),
        }
        text = self.job.records.text(self.program)
        figures = {k: getattr(candidate, k) for k in ("bits", "fvu_fit", "fvu_select", "worst")}
        return finite(
            {"program": text, **figures, "bound": candidate.bound, "engine": HAND, "beside": beside}
        )

    def _edited(self, candidate: Candidate, unit: UnitEvidence) -> list[LayerChoice]:
        short = is_short(self.program, candidate.bits, len(unit.scope.columns))
        chosen = UnitChoice(
            channel=self.channel,
            status=Status.PROGRAM if short else Status.ROUNDED,
            program=self.program,
            bits=candidate.bits,
            fvu_local=candidate.fvu_select,
            fvu_in_situ=math.nan,
            engine=HAND,
        )
        return [
            replace(c, units=_put(c.units, chosen)) if c.layer.name == self.layer else c
            for c in self.choices
        ]

    def _validated(self, choices: Sequence[LayerChoice], part: Part) -> Validation:
        """All that a part of the probes says, with the variance of fit."""
        job = self.job
        spoken = [c for c in choices if not c.is_opaque]
        how = {"margin": job.config.accept.margin, "seed": job.config.run.seed}
        return validate(job.network, spoken, job.grammar, part, job.parts.fit, **how)

    def _own(self, found: Validation) -> UnitFidelity:
        place = self.layer, self.channel
        return next(u for u in found.units if (u.layer, u.channel) == place)

    def _proof(self, choices: Sequence[LayerChoice], evidence: LayerEvidence) -> UnitProof:
        """What the oracles say of the unit alone; its siblings are there to be referred to."""
        (choice,) = (c for c in choices if c.layer.name == self.layer)
        silent = (
            u if u.channel == self.channel else replace(u, status=Status.ABLATED)
            for u in choice.units
        )
        ranges, job = {self.layer: evidence.ranges}, self.job
        how = {"max_error": job.criteria.max_error, "jobs": job.config.run.jobs}
        return prove_choices([replace(choice, units=tuple(silent))], ranges, job.grammar, **how)[
            self.channel
        ]

    def _reasons(self, candidate: Candidate, in_situ: float, proof: UnitProof) -> list[str]:
        """Why the program does not pass as a chosen one must; none if it does."""
        criteria = self.job.criteria
        found = [
            f"FVU {value:.3g} {where} is above max_fvu = {criteria.max_fvu:g}"
            for where, value in (("on probes", error_of(candidate)), ("in situ", in_situ))
            if not value <= criteria.max_fvu
        ]
        within = f"ε = {float(proof.epsilon):.3g}"
        if isinstance(proof.verdict, Refuted):
            found.append(f"refuted: it differs by {proof.verdict.difference:.3g}, {within}")
        elif not candidate.bound <= float(proof.epsilon):
            found.append(f"its bound {candidate.bound:.3g} over the envelope is above {within}")
        return found

    def _figures(
        self, choices: Sequence[LayerChoice], select: Validation, held_out: Validation
    ) -> Row:
        """The whole network with the program in place."""
        shared = with_common(choices, self.job.grammar)
        bits = source_bits(shared, self.job.grammar) + self.beside
        keys = ("verdict", "agreement", "kl_mean", "accuracy_change")
        of = {"select": select, "held_out": held_out}
        return {"bits": bits} | {
            name: {key: getattr(found, key) for key in keys} for name, found in of.items()
        }


def _put(units: Sequence[UnitChoice], chosen: UnitChoice) -> tuple[UnitChoice, ...]:
    return tuple(chosen if u.channel == chosen.channel else u for u in units)
