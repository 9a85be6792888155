"""Choice: one point on every front, by price, layer by layer on replaced sources.

A candidate costs bits, and nats of changed answers (`synth.price`); one multiplier, bits per nat,
weighs them over the whole network and is searched for the fewest bits that select accepts. Layers
are chosen in order, each program re-fitted to the original activations on the replaced sources;
both its FVUs must pass, and its bound over the envelope must keep the claim ε fixed before.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from grammars.coding import opaque_bits, program_bits
from grammars.compiled import compile_bank
from grammars.grammar import Grammar
from grammars.program import Node, count_terms
from grammars.siblings import expand, references
from oracles.evidence import fvu
from synth.affine import float_bounds
from synth.assembly import (
    LayerChoice,
    Status,
    UnitChoice,
    assemble,
    bank_module,
    opaque_unit,
    source_bits,
    source_index,
)
from synth.engine import Engine, UnitEvidence
from synth.evidence import LayerEvidence, Probes, on_replaced
from synth.fronts import Candidate
from synth.network import Network
from synth.outputs import agreement, kl_divergence, run_batches
from synth.unread import without_unread

SHORT = 16  # terms of a program that people read
SHORT_SHARE = 0.25  # and its share of the unit's own bits
NOTHING = 1e-4  # share of max_kl that a unit may cost and still "change nothing"
MULTIPLIERS = (1e1, 1e9)  # bits per nat between which the search runs
ROUNDS = 12  # bisections of that range


@dataclass(frozen=True)
class Criteria:
    """What units must hold (`max_fvu`, `max_error` as a share of range) and what select must."""

    max_fvu: float
    max_error: float
    max_kl: float
    min_agreement: float


@dataclass(frozen=True, eq=False)
class Fronts:
    """The fronts of one layer, with what each candidate costs alone in nats."""

    evidence: LayerEvidence
    units: tuple[tuple[Candidate, ...], ...]
    costs: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Point:
    """A choice for all layers at one multiplier, and what select says of it."""

    multiplier: float
    choices: tuple[LayerChoice, ...]
    bits: int
    kl: float
    agreement: float

    def accepted(self, criteria: Criteria) -> bool:
        return self.kl <= criteria.max_kl and self.agreement >= criteria.min_agreement


@dataclass(frozen=True, eq=False)
class Chooser:
    """Everything that a choice at one multiplier depends on."""

    network: Network
    fronts: tuple[Fronts, ...]
    probes: Probes
    criteria: Criteria
    grammar: Grammar
    engines: Mapping[str, Engine]

    def at(self, multiplier: float) -> Point:
        """The network's programs at `multiplier` bits per nat."""
        choices: list[LayerChoice] = []
        modules: dict[str, nn.Module] = {}
        for fronts in self.fronts:
            replaced = on_replaced(self.network, fronts.evidence, self.probes, modules)
            chosen = self._layer(fronts, replaced, multiplier)
            choices.append(chosen)
            modules[chosen.layer.name] = bank_module(chosen, self.grammar)
        return self._judged(multiplier, without_unread(self.network, choices, self.grammar))

    def _judged(self, multiplier: float, choices: Sequence[LayerChoice]) -> Point:
        outputs = run_batches(assemble(self.network, choices, self.grammar), self.probes.select)
        original = run_batches(self.network.module, self.probes.select)
        return Point(
            multiplier=multiplier,
            choices=tuple(choices),
            bits=source_bits(choices, self.grammar),
            kl=float(kl_divergence(original, outputs).mean()),
            agreement=float(agreement(original, outputs)),
        )

    def _layer(self, fronts: Fronts, replaced: LayerEvidence, multiplier: float) -> LayerChoice:
        """Units without references first: a reference may only point at one of those."""
        picker = _Picker(self, fronts, replaced, multiplier)
        first = [picker.pick(c, siblings=None) for c in range(len(fronts.units))]
        programs = {u.channel: u.program for u in first if u.program is not None}
        second = [picker.pick(u.channel, siblings=programs) for u in first]
        layer = fronts.evidence.layer
        return LayerChoice(layer, fronts.evidence.scope, _merged(layer.name, first, second))


@dataclass(frozen=True, eq=False)
class _Picker:
    """Picks programs for the units of one layer."""

    chooser: Chooser
    fronts: Fronts
    replaced: LayerEvidence
    multiplier: float

    def pick(self, channel: int, *, siblings: Mapping[int, Node] | None) -> UnitChoice:
        """The cheapest candidate that passes: plain ones, or those that refer to `siblings`."""
        bank = self.fronts.evidence.layer.name
        for candidate, cost in self._by_price(channel):
            referred = references(candidate.program, bank)
            if bool(referred) != (siblings is not None):
                continue
            if siblings is not None and not set(referred) <= set(siblings):
                continue
            choice = self._passing(channel, candidate, cost, siblings or {})
            if choice is not None:
                return choice
        return self._opaque(channel)

    def _by_price(self, channel: int) -> Iterable[tuple[Candidate, float]]:
        pairs = zip(self.fronts.units[channel], self.fronts.costs[channel], strict=True)
        return sorted(pairs, key=lambda p: (p[0].bits + self.multiplier * p[1], p[0].bits))

    def _passing(
        self, channel: int, candidate: Candidate, cost: float, siblings: Mapping[int, Node]
    ) -> UnitChoice | None:
        local, criteria = self.fronts.evidence, self.chooser.criteria
        constant = candidate.program.op == "const"
        if constant and local.constant[channel] and candidate.worst == 0:
            return self._choice(channel, candidate, candidate.program, Status.INACTIVE, 0.0)
        if constant and cost <= NOTHING * criteria.max_kl:
            return self._choice(channel, candidate, candidate.program, Status.ABLATED, np.inf)
        if max(candidate.fvu_fit, candidate.fvu_select) > criteria.max_fvu:
            return None
        if candidate.bound > self._epsilon(channel):
            return None
        return self._in_situ(channel, candidate, siblings)

    def _in_situ(
        self, channel: int, candidate: Candidate, siblings: Mapping[int, Node]
    ) -> UnitChoice | None:
        """The candidate, or it re-fitted, whichever is nearer to the unit on replaced sources."""
        rivals = [candidate.program]
        if self.replaced is not self.fronts.evidence:
            engine = self.chooser.engines[candidate.engine]
            fitted = engine.refit(candidate.program, self._unit(self.replaced, channel))
            rivals = [p for p in (fitted, candidate.program) if p is not None]
        passing = [(p, *self._errors(channel, p, siblings)) for p in dict.fromkeys(rivals)]
        limit = self.chooser.criteria.max_fvu
        passing = [
            (p, situ, local)
            for p, situ, local, bound in passing
            if max(situ, local) <= limit and bound <= self._epsilon(channel)
        ]
        if not passing:
            return None
        program, situ, local = min(passing, key=lambda row: row[1])
        return self._choice(channel, candidate, program, None, situ, local)

    def _errors(
        self, channel: int, program: Node, siblings: Mapping[int, Node]
    ) -> tuple[float, float, float]:
        """FVU on select in situ and local, and the bound over the envelope, siblings expanded."""
        evidence, grammar = self.fronts.evidence, self.chooser.grammar
        bank = evidence.layer.name
        plain = expand(program, bank, lambda j: siblings[j], grammar)
        compiled = compile_bank([plain], source_index(evidence.scope), grammar)
        rows = evidence.select
        target, variance = evidence.target[rows, channel], float(evidence.variance[channel])
        errors = [
            float(fvu(compiled.apply(e.patches[rows]), target, variance)[0])
            for e in (self.replaced, evidence)
        ]
        bound = float(float_bounds(evidence, [channel], compiled)[0])
        return errors[0], errors[1], bound

    def _choice(
        self,
        channel: int,
        candidate: Candidate,
        program: Node,
        status: Status | None,
        in_situ: float,
        local: float | None = None,
    ) -> UnitChoice:
        evidence = self.fronts.evidence
        bits = program_bits(program, evidence.scope, self.chooser.grammar)
        own = opaque_bits(len(evidence.scope.columns))
        short = count_terms(program) <= SHORT and bits <= SHORT_SHARE * own
        return UnitChoice(
            channel=channel,
            status=status or (Status.PROGRAM if short else Status.ROUNDED),
            program=program,
            bits=bits,
            fvu_local=candidate.fvu_select if local is None else local,
            fvu_in_situ=in_situ,
            engine=candidate.engine,
        )

    def _opaque(self, channel: int) -> UnitChoice:
        return opaque_unit(channel, self.fronts.evidence.scope)

    def _epsilon(self, channel: int) -> float:
        """ε, less a hair: bounds here are floats, and the exact recheck must not fail by a bit."""
        exact = self.chooser.criteria.max_error * float(self.fronts.evidence.span[channel])
        return exact * (1 - 1e-9)

    def _unit(self, evidence: LayerEvidence, channel: int) -> UnitEvidence:
        return UnitEvidence(evidence, channel, self.chooser.grammar)


def search_multiplier(at: Callable[[float], Point], criteria: Criteria) -> tuple[Point, ...]:
    """Points at bisected multipliers, the chosen one last.

    The chosen point has the fewest bits of those that select accepts, or the least KL where it
    accepts none.
    """
    low, high = (float(np.log(m)) for m in MULTIPLIERS)
    points = [at(MULTIPLIERS[1])]
    for _ in range(ROUNDS if points[0].accepted(criteria) else 0):
        middle = (low + high) / 2
        points.append(at(float(np.exp(middle))))
        low, high = (low, middle) if points[-1].accepted(criteria) else (middle, high)
    accepted = [p for p in points if p.accepted(criteria)]
    chosen = min(accepted, key=lambda p: p.bits) if accepted else min(points, key=lambda p: p.kl)
    return (*(p for p in points if p is not chosen), chosen)


def _merged(
    bank: str, first: Sequence[UnitChoice], second: Sequence[UnitChoice]
) -> tuple[UnitChoice, ...]:
    """References where they are cheaper, but none to a unit that is itself a reference."""
    merged = list(first)
    kept: set[int] = set()  # units that somebody refers to must stay as they are
    for plain, other in zip(first, second, strict=True):
        if other.program is None or other.bits >= plain.bits or plain.channel in kept:
            continue
        targets = set(references(other.program, bank))
        if all(merged[t] is first[t] for t in targets):
            merged[plain.channel] = other
            kept |= targets
    return tuple(merged)
