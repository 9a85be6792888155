"""Every chosen program against its unit: closed form rechecked exactly, then Z3 on its own.

The domain is the envelope: the box of each layer's sources on fit and select, zero where padding is
read. Where no bound over a box is known, as of units that jump, and patches are of few values, it
is all patches of these values (`oracles.discrete`). ε was fixed before the search, as a share of
the unit's range on fit.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from grammars.compiled import compile_bank
from grammars.grammar import Grammar
from grammars.names import Names
from grammars.text import format_program
from oracles.certificate import CertifiedLayer, CertifiedUnit, write_certificates
from oracles.circuits import Circuit, Domain
from oracles.claims import JUMPS, Box, Claim, Proved, Refuted, Unknown, Verdict
from oracles.discrete import decide
from synth.affine import Forms, affine_forms, by_group, chosen, unit_bank, unit_box
from synth.assembly import (
    LayerChoice,
    Status,
    UnitChoice,
    opaque_unit,
    own_program,
    shared,
    source_index,
)
from synth.evidence import Ranges
from synth.proof_parts import Bent, Part, all_decided
from synth.unfolding import unfolded

DOMAIN, VALUES = "envelope", "values"
TOGETHER = 16  # units that are proved in one task


@dataclass(frozen=True, eq=False)
class UnitProof:
    """What the oracles say of one unit and its program.

    `verdict` on sup |unit − program| ≤ `epsilon` over the `domain`; `smt` is Z3's own, None where
    it was not asked; `deviation` is the unit's standard deviation on fit.
    """

    layer: str
    channel: int
    epsilon: Fraction
    verdict: Verdict
    smt: Verdict | None
    deviation: float
    domain: str = DOMAIN

    @property
    def bound_over_std(self) -> float | None:
        """The proved bound in standard deviations of the unit."""
        if not isinstance(self.verdict, Proved) or not self.deviation:
            return None
        return float(self.verdict.bound) / self.deviation


def prove_choices(
    choices: Sequence[LayerChoice],
    ranges: Mapping[str, Ranges],
    grammar: Grammar,
    *,
    max_error: float,
    jobs: int = 1,
) -> list[UnitProof]:
    """A proof, a refutation or a reason for every unit of every layer.

    Programs claim ε = `max_error` of their unit's range; inactive units claim ε = 0, which proves
    them dead. Nothing is claimed of ablated and opaque units; layers without `ranges` have no
    others. `jobs` processes share the work.
    """
    return [
        proof
        for choice in choices
        for proof in _layer(choice, ranges.get(choice.layer.name), grammar, max_error, jobs)
    ]


def settled(
    choices: Sequence[LayerChoice],
    ranges: Mapping[str, Ranges],
    grammar: Grammar,
    *,
    max_error: float,
    jobs: int = 1,
) -> tuple[tuple[LayerChoice, ...], list[UnitProof]]:
    """The choices after every refuted program has been taken back, and the proofs of the rest."""
    while True:
        proofs = prove_choices(choices, ranges, grammar, max_error=max_error, jobs=jobs)
        kept = tuple(without_refuted(choices, proofs, grammar))
        if all(a.units == b.units for a, b in zip(kept, choices, strict=True)):
            return kept, proofs
        choices = kept


def without_refuted(
    choices: Sequence[LayerChoice], proofs: Sequence[UnitProof], grammar: Grammar
) -> list[LayerChoice]:
    """The choices with every refuted program taken back: it does not pass, the unit is opaque."""
    refuted = {(p.layer, p.channel) for p in proofs if isinstance(p.verdict, Refuted)}
    return [shared(_without(choice, refuted), grammar) for choice in choices]


def _without(choice: LayerChoice, refuted: Set[tuple[str, int]]) -> LayerChoice:
    name = choice.layer.name
    units = tuple(
        opaque_unit(u.channel, choice.scope)
        if (name, u.channel) in refuted and u.status is not Status.INACTIVE
        else u
        for u in choice.units
    )
    return replace(choice, units=units)


def save_certificates(
    folder: Path,
    choices: Sequence[LayerChoice],
    ranges: Mapping[str, Ranges],
    proofs: Sequence[UnitProof],
    names: Names,
    grammar: Grammar,
) -> None:
    """Write the certificates of all checked proofs, and the numbers that they speak of.

    They hold programs free of siblings and kernels, for a checker that knows sums of taps alone.
    """
    choices = [c for c in choices if c.layer.name in ranges]
    layers = [_certified_layer(ranges[c.layer.name], names) for c in choices]
    programs = {c.layer.name: c.expanded(grammar) for c in choices}
    windows = {c.layer.name: source_index(c.scope) for c in choices}
    units = [
        CertifiedUnit(
            layer=p.layer,
            channel=p.channel,
            program=format_program(
                unfolded(programs[p.layer][p.channel], windows[p.layer], grammar),
                names,
                grammar,
                full=True,
            ),
            claim=Claim(p.epsilon, p.domain),
            proof=p.verdict,
        )
        for p in proofs
        if isinstance(p.verdict, Proved) and p.verdict.certificate is not None
    ]
    write_certificates(folder, layers, units)


def verdict_row(proof: UnitProof) -> dict[str, object]:
    """A proof as JSON: exact numbers as fractions, the worst point of a refutation as floats."""
    row: dict[str, object] = {
        "verdict": type(proof.verdict).__name__.lower(),
        "epsilon": str(proof.epsilon),
        "domain": proof.domain,
        "bound_over_std": proof.bound_over_std,
        "smt_checked": isinstance(proof.smt, Proved),
    }
    match proof.verdict:
        case Proved(trust=trust, bound=bound):
            row |= {"trust": trust, "bound": float(bound)}
        case Refuted(counterexample=point, difference=difference):
            row |= {"counterexample": point.tolist(), "difference": difference}
        case Unknown(reason=reason):
            row |= {"reason": reason}
    if isinstance(proof.smt, Unknown):
        row["smt_reason"] = proof.smt.reason
    return row


def _layer(
    choice: LayerChoice, ranges: Ranges | None, grammar: Grammar, max_error: float, jobs: int
) -> list[UnitProof]:
    layer = choice.layer
    if ranges is None:
        return [
            UnitProof(layer.name, u.channel, Fraction(0), _unclaimed(u.status), None, 0.0)
            for u in choice.units
        ]
    bank = compile_bank(choice.expanded(grammar), source_index(choice.scope), grammar)
    forms = affine_forms(layer, range(layer.units), bank)
    claimed = [i for i, c in enumerate(forms.places) if _claims(choice.units[c].status)]
    epsilons = [epsilon_of(ranges, c, max_error) for c in range(layer.units)]
    parts: list[tuple[list[int], Part | Bent]] = _bent(choice, ranges, forms, epsilons, grammar)
    for group in by_group(layer, [forms.places[i] for i in claimed]):
        for start in range(0, len(group), TOGETHER):
            places = [claimed[g] for g in group[start : start + TOGETHER]]
            channels = [forms.places[i] for i in places]
            units, programs = unit_bank(layer, channels), chosen(forms.bank, places)
            box, claims = unit_box(ranges, channels[0]), [epsilons[c] for c in channels]
            parts.append((channels, Part(units, programs, box, claims)))
    verdicts: dict[int, tuple[Verdict, Verdict | None]] = {}
    for (channels, _), found in zip(parts, all_decided([p for _, p in parts], jobs), strict=True):
        verdicts |= zip(channels, found, strict=True)
    return [
        UnitProof(
            layer=layer.name,
            channel=u.channel,
            epsilon=epsilons[u.channel],
            **_told(choice, u, verdicts.get(u.channel), epsilons[u.channel], grammar),
            deviation=float(np.sqrt(ranges.variance[u.channel])),
        )
        for u in choice.units
    ]


def _told(
    choice: LayerChoice,
    unit: UnitChoice,
    known: tuple[Verdict, Verdict | None] | None,
    epsilon: Fraction,
    grammar: Grammar,
) -> dict[str, Any]:
    """What is known over the box, or else of all patches of few values: a unit that jumps is
    rarely within ε over a box."""
    verdict, smt = known or (_unclaimed(unit.status), None)
    jumps = choice.layer.heads[unit.channel].op in JUMPS
    open_ = isinstance(verdict, Unknown) or (jumps and isinstance(verdict, Refuted))
    if not (open_ and _claims(unit.status) and choice.layer.alphabet):
        return {"verdict": verdict, "smt": smt}
    domain = Domain(dict.fromkeys(choice.scope.of(unit.channel).columns, choice.layer.alphabet))
    own = Circuit.alone(own_program(choice.layer, unit.channel))
    program = Circuit.alone(choice.expanded(grammar)[unit.channel])
    found = decide(own, program, domain, epsilon, grammar)
    return {"verdict": found.verdict, "smt": found.smt, "domain": VALUES}


def _bent(
    choice: LayerChoice,
    ranges: Ranges,
    forms: Forms,
    epsilons: Sequence[Fraction],
    grammar: Grammar,
) -> list[tuple[list[int], Part | Bent]]:
    """Those programs of a layer, each with its unit's channel; where patches are of few values they
    are tried on all of these instead."""
    layer, known = choice.layer, set(forms.places)
    if layer.alphabet:
        return []
    programs, columns = choice.expanded(grammar), source_index(choice.scope)
    box, own = Box(ranges.lower, ranges.upper), [own_program(layer, c) for c in range(layer.units)]
    return [
        ([c], Bent(own[c], programs[c], columns, box, epsilons[c], grammar))
        for c in range(layer.units)
        if c not in known and _claims(choice.units[c].status) and own[c].op in grammar
    ]


def epsilon_of(ranges: Ranges, channel: int, max_error: float) -> Fraction:
    """The ε of a unit, from its range on fit alone."""
    return Fraction(max_error) * Fraction(float(ranges.span[channel]))


def _claims(status: Status) -> bool:
    return status in (Status.PROGRAM, Status.ROUNDED, Status.INACTIVE)


def _unclaimed(status: Status) -> Unknown:
    reasons = {
        Status.ABLATED: "ablated: the answers do not depend on this unit, so nothing is claimed",
        Status.OPAQUE: "opaque: the unit keeps its weights",
    }
    return Unknown(reasons.get(status, "no oracle knows a bound for a program of this form"))


def _certified_layer(ranges: Ranges, names: Names) -> CertifiedLayer:
    layer = ranges.layer
    offsets = layer.geometry.offsets()
    return CertifiedLayer(
        name=layer.name,
        weight=layer.spread(range(layer.units)),
        bias=layer.bias,
        box=Box(ranges.lower, ranges.upper),
        names={names.of(layer.source, c): c for c in range(layer.in_shape[0])},
        channels=layer.in_shape[0],
        rows=tuple(sorted({dy for dy, _ in offsets})),
        columns=tuple(sorted({dx for _, dx in offsets})),
        heads=unit_bank(layer, range(layer.units)).heads,
    )
