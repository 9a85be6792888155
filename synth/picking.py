"""Picking: for each unit of one layer the cheapest candidate that passes, all units at once.

Each round tries the next candidate of every unit that has none yet: re-fitted to the original
activations on the replaced sources, and as it was, whichever is nearer to the unit there. One
matrix product judges the whole round.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grammars.coding import opaque_bits, program_bits
from grammars.compiled import compile_bank
from grammars.grammar import Grammar
from grammars.program import Node, const, count_terms
from grammars.siblings import expand, references
from oracles.evidence import fvu
from synth.affine import float_bounds
from synth.assembly import LayerChoice, Status, UnitChoice, opaque_unit, source_index
from synth.engine import Engine, UnitEvidence
from synth.evidence import LayerEvidence
from synth.fronts import Candidate
from synth.layers import Layer
from synth.shifting import is_long, shifted

SHORT = 16  # terms of a program that people read
SHORT_SHARE = 0.25  # and its share of the unit's own bits
NOTHING = 1e-4  # share of max_kl that a unit may cost and still "change nothing"


@dataclass(frozen=True)
class Criteria:
    """What units must hold (`max_fvu`, `max_error` as a share of range) and what select must."""

    max_fvu: float
    max_error: float
    max_kl: float
    min_agreement: float


@dataclass(frozen=True, eq=False)
class Fronts:
    """The fronts of one layer: candidates and what each costs alone in nats, unit by unit."""

    layer: Layer
    units: tuple[tuple[Candidate, ...], ...]
    costs: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class _Trial:
    """A candidate of one unit, and the programs that may stand for it: re-fitted, and its own."""

    channel: int
    candidate: Candidate
    programs: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class _Errors:
    """FVUs on select, in situ and local, and bounds over the envelope, of programs (P,)."""

    situ: np.ndarray
    local: np.ndarray
    bound: np.ndarray


@dataclass(frozen=True, eq=False)
class Picker:
    """Picks programs for the units of one layer.

    `replaced` (n, width) are the evidence's patches on replaced sources, None where nothing before
    the layer is replaced.
    """

    fronts: Fronts
    evidence: LayerEvidence
    replaced: np.ndarray | None
    criteria: Criteria
    grammar: Grammar
    engines: Mapping[str, Engine]

    def choice(self, multiplier: float) -> LayerChoice:
        """Programs at `multiplier` bits per nat.

        Units without references first: a reference may only point at one of those.
        """
        queues = {c: self._by_price(c, multiplier) for c in range(self.layer.units)}
        plain = {c: [k for k in q if not self._references(k[0])] for c, q in queues.items()}
        first = self._picked(plain, {})
        programs = {u.channel: u.program for u in first if u.program is not None}
        bent = {c: [k for k in q if self._refers(k[0], programs)] for c, q in queues.items()}
        second = self._picked(bent, programs)
        return LayerChoice(self.layer, self.layer.scope, merged(self.layer.name, first, second))

    @property
    def layer(self) -> Layer:
        return self.fronts.layer

    def _by_price(self, channel: int, multiplier: float) -> list[tuple[Candidate, float]]:
        """The unit's candidates that can pass at all, with their costs, cheapest first."""
        pairs = zip(self.fronts.units[channel], self.fronts.costs[channel], strict=True)
        able = [pair for pair in pairs if self._may_pass(channel, *pair)]
        return sorted(able, key=lambda p: (p[0].bits + multiplier * p[1], p[0].bits))

    def _may_pass(self, channel: int, candidate: Candidate, cost: float) -> bool:
        if self._status(channel, candidate, cost) is not None:
            return True
        near = max(candidate.fvu_fit, candidate.fvu_select) <= self.criteria.max_fvu
        return near and candidate.bound <= self._epsilon[channel]

    def _status(self, channel: int, candidate: Candidate, cost: float) -> Status | None:
        """What the unit is where a constant may stand for it without being near to it.

        A unit that is constant on all probes is inactive whatever else says the same there: on a
        source that does not move, a sum can be shorter than the constant and mean no more.
        """
        if self.evidence.ranges.constant[channel] and candidate.worst == 0:
            return Status.INACTIVE
        free = candidate.program.op == "const" and cost <= NOTHING * self.criteria.max_kl
        return Status.ABLATED if free else None

    def _references(self, candidate: Candidate) -> tuple[int, ...]:
        return references(candidate.program, self.layer.name)

    def _refers(self, candidate: Candidate, programs: Mapping[int, Node]) -> bool:
        found = self._references(candidate)
        return bool(found) and set(found) <= set(programs)

    def _picked(
        self,
        queues: Mapping[int, Sequence[tuple[Candidate, float]]],
        siblings: Mapping[int, Node],
    ) -> list[UnitChoice]:
        """The first candidate of each queue that passes; a unit that has none is opaque."""
        found: dict[int, UnitChoice] = {}
        todo = {c: iter(queue) for c, queue in queues.items() if queue}
        while todo:
            tried: list[tuple[int, Candidate]] = []
            for channel in list(todo):
                pair = next(todo[channel], None)
                if pair is None:
                    del todo[channel]
                elif (status := self._status(channel, *pair)) is not None:
                    found[channel] = self._constant(channel, pair[0], status)
                    del todo[channel]
                else:
                    tried.append((channel, pair[0]))
            for choice in self._passing(self._trials(tried), siblings):
                found[choice.channel] = choice
                del todo[choice.channel]
        scope = self.layer.scope
        return [found.get(c) or opaque_unit(c, scope) for c in range(self.layer.units)]

    def _trials(self, tried: Sequence[tuple[int, Candidate]]) -> list[_Trial]:
        """Candidates with their re-fitted selves; long ones are shifted all at once."""
        if self.replaced is None:
            return [_Trial(channel, c, (c.program,)) for channel, c in tried]
        long = [(channel, c.program) for channel, c in tried if is_long(c.program, self.grammar)]
        moved = shifted(self.evidence, self.replaced, long, self.grammar)
        fitted: dict[int, Node | None] = {c: p for (c, _), p in zip(long, moved, strict=True)}
        trials = []
        for channel, candidate in tried:
            new = fitted[channel] if channel in fitted else self._refitted(channel, candidate)
            rivals = [p for p in (new, candidate.program) if p is not None]
            trials.append(_Trial(channel, candidate, tuple(dict.fromkeys(rivals))))
        return trials

    def _refitted(self, channel: int, candidate: Candidate) -> Node | None:
        unit = UnitEvidence(self.evidence, channel, self.grammar, self.replaced)
        return self.engines[candidate.engine].refit(candidate.program, unit)

    def _passing(
        self, trials: Sequence[_Trial], siblings: Mapping[int, Node]
    ) -> Iterator[UnitChoice]:
        """For each trial that passes, the program that is nearest in situ."""
        rows = [(t.channel, p) for t in trials for p in t.programs]
        errors, start = self._errors(rows, siblings), 0
        for trial in trials:
            mine = range(start, start + len(trial.programs))
            start += len(trial.programs)
            able = [i for i in mine if self._passes(trial.channel, errors, i)]
            if able:
                best = min(able, key=lambda i: errors.situ[i])
                situ, local = float(errors.situ[best]), float(errors.local[best])
                yield self._unit(trial.channel, trial.candidate, rows[best][1], situ, local)

    def _passes(self, channel: int, errors: _Errors, place: int) -> bool:
        worst = max(errors.situ[place], errors.local[place])
        return worst <= self.criteria.max_fvu and errors.bound[place] <= self._epsilon[channel]

    def _errors(self, rows: Sequence[tuple[int, Node]], siblings: Mapping[int, Node]) -> _Errors:
        """The errors of programs, with the siblings that they read written out."""
        if not rows:
            return _Errors(*np.zeros((3, 0)))
        channels, name = [c for c, _ in rows], self.layer.name
        plain = [expand(p, name, siblings.__getitem__, self.grammar) for _, p in rows]
        bank = compile_bank(plain, self._index, self.grammar)
        local = situ = self._fvus(bank.apply(self._local), channels)
        if self.replaced is not None:
            situ = self._fvus(bank.apply(self._situ), channels)
        return _Errors(situ, local, float_bounds(self.evidence.ranges, channels, bank))

    def _fvus(self, outputs: np.ndarray, channels: Sequence[int]) -> np.ndarray:
        target, variance = self.evidence.target[self.evidence.select], self.evidence.ranges.variance
        columns = enumerate(channels)
        found = [fvu(outputs[:, [i]], target[:, c], float(variance[c]))[0] for i, c in columns]
        return np.array(found)

    def _constant(self, channel: int, candidate: Candidate, status: Status) -> UnitChoice:
        if status is Status.INACTIVE:
            value = const(float(self.evidence.target[0, channel]))
            return self._unit(channel, candidate, value, 0.0, 0.0, status=status)
        program, local = candidate.program, candidate.fvu_select
        return self._unit(channel, candidate, program, np.inf, local, status=status)

    def _unit(
        self,
        channel: int,
        candidate: Candidate,
        program: Node,
        in_situ: float,
        local: float,
        *,
        status: Status | None = None,
    ) -> UnitChoice:
        scope = self.layer.scope.of(channel)
        bits = program_bits(program, scope, self.grammar)
        own = opaque_bits(len(scope.columns))
        short = count_terms(program) <= SHORT and bits <= SHORT_SHARE * own
        return UnitChoice(
            channel=channel,
            status=status or (Status.PROGRAM if short else Status.ROUNDED),
            program=program,
            bits=bits,
            fvu_local=local,
            fvu_in_situ=in_situ,
            engine=candidate.engine,
        )

    @cached_property
    def _epsilon(self) -> np.ndarray:
        """(U,) ε, less a hair: bounds here are floats, and the exact recheck must not fail by a
        bit."""
        return self.criteria.max_error * self.evidence.ranges.span * (1 - 1e-9)

    @cached_property
    def _index(self) -> dict[tuple[str, int, int, int], int]:
        return source_index(self.layer.scope)

    @cached_property
    def _local(self) -> np.ndarray:
        return self.evidence.wide[self.evidence.select]

    @cached_property
    def _situ(self) -> np.ndarray:
        assert self.replaced is not None
        return self.replaced[self.evidence.select].astype(np.float64)


def merged(
    bank: str, first: Sequence[UnitChoice], second: Sequence[UnitChoice]
) -> tuple[UnitChoice, ...]:
    """References where they are cheaper, but none to a unit that is itself a reference."""
    result = list(first)
    kept: set[int] = set()  # units that somebody refers to must stay as they are
    for plain, other in zip(first, second, strict=True):
        if other.program is None or other.bits >= plain.bits or plain.channel in kept:
            continue
        targets = set(references(other.program, bank))
        if all(result[t] is first[t] for t in targets):
            result[plain.channel] = other
            kept |= targets
    return tuple(result)
