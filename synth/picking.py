"""Picking: for each unit of one layer the cheapest candidate that passes, all units at once.

Each round tries the next candidate of every unit that has none yet (`synth.rivals`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grammars.coding import opaque_bits, program_bits
from grammars.grammar import Grammar
from grammars.program import Node, const
from grammars.shapes import Shape, shape
from grammars.siblings import references
from synth.assembly import LayerChoice, Status, UnitChoice, opaque_unit
from synth.engine import Engine
from synth.evidence import LayerEvidence, Ranges
from synth.families.together import together
from synth.fronts import Candidate, is_short
from synth.layers import Layer
from synth.picked import Picked, merged
from synth.rivals import Criteria, Judge, Passing, Trial


@dataclass(frozen=True, eq=False)
class Fronts:
    """The fronts of one layer: candidates and what each costs alone in nats, unit by unit.

    Nats are of the judged output. Of a layer that is `bound` they do not tell all: there no
    constant stands for a unit because it costs nothing. `kin` are candidates for units that may be
    written together, by channel, with their costs; no unit is where none `joins`.
    """

    layer: Layer
    units: tuple[tuple[Candidate, ...], ...]
    costs: tuple[np.ndarray, ...]
    bound: bool = False
    kin: tuple[Mapping[int, Sequence[tuple[Candidate, float]]], ...] = ()
    joins: bool = True

    def nats_at(self, multiplier: float) -> tuple[float, ...]:
        """What each unit's cheapest candidate costs in nats; infinite where there is none."""
        prices = (
            ((c.bits + multiplier * cost, cost) for c, cost in zip(unit, costs, strict=True))
            for unit, costs in zip(self.units, map(np.ndarray.tolist, self.costs), strict=True)
        )
        return tuple(min(pairs, default=(math.inf, math.inf))[1] for pairs in prices)


def able(
    units: Sequence[Sequence[Candidate]], ranges: Ranges, criteria: Criteria
) -> tuple[tuple[Candidate, ...], ...]:
    """Of each unit's front the candidates that a choice could take: those that hold by themselves,
    constants, and what is exact on all probes.

    Most of a large network's candidates are none of these, and need neither price nor memory.
    """
    epsilon = criteria.epsilon(ranges)
    return tuple(
        tuple(c for c in front if c.program.op == "const" or not c.worst or criteria.hold(c, e))
        for front, e in zip(units, epsilon.tolist(), strict=True)
    )


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

        Units without references first: a reference may only point at one of those. Families last.
        """
        queues = {c: self._by_price(c, multiplier) for c in range(self.layer.units)}
        plain = {c: [k for k in q if not self._references(k[0])] for c, q in queues.items()}
        first = self._picked(plain, {})
        programs = {p.unit.channel: p.unit.program for p in first if p.unit.program is not None}
        bent = {c: [k for k in q if self._refers(k[0], programs)] for c, q in queues.items()}
        second = self._picked(bent, programs)
        picked = merged(self.layer.name, first, second, multiplier)
        units = tuple(pick.unit for pick in picked)
        if self.fronts.joins:
            kin = [self._kin(queues, multiplier) for queues in self.fronts.kin]
            units = together(self.layer, picked, kin, multiplier, self.grammar)
        return LayerChoice(self.layer, self.layer.scope, units)

    def _kin(
        self, pairs: Mapping[int, Sequence[tuple[Candidate, float]]], multiplier: float
    ) -> dict[int, list[Picked]]:
        """Of one family's candidates the cheapest of each shape that passes, unit by unit."""
        queues: dict[Shape, dict[int, list[tuple[Candidate, float]]]] = {}
        for channel, own in pairs.items():
            for pair in self._sorted(channel, own, multiplier):
                form = queues.setdefault(shape(pair[0].program, self.grammar), {})
                form.setdefault(channel, []).append(pair)
        found: dict[int, list[Picked]] = {}
        for form in queues.values():
            for picked in self._picked(form, {}):
                if picked.unit.program is not None:
                    found.setdefault(picked.unit.channel, []).append(picked)
        return found

    @property
    def layer(self) -> Layer:
        return self.fronts.layer

    def _by_price(self, channel: int, multiplier: float) -> list[tuple[Candidate, float]]:
        """The unit's candidates that can pass at all, with their costs, cheapest first."""
        pairs = zip(self.fronts.units[channel], self.fronts.costs[channel], strict=True)
        return self._sorted(channel, pairs, multiplier)

    def _sorted(
        self, channel: int, pairs: Iterable[tuple[Candidate, float]], multiplier: float
    ) -> list[tuple[Candidate, float]]:
        able = [pair for pair in pairs if self._may_pass(channel, *pair)]

        def price(pair: tuple[Candidate, float]) -> tuple[float, int]:
            candidate, cost = pair
            charge = self._charge(channel, candidate)
            return candidate.bits + charge + multiplier * cost, candidate.bits

        return sorted(able, key=price)

    def _charge(self, channel: int, candidate: Candidate) -> int:
        """Bits on top for what nobody reads, where short programs are wanted: the unit's own."""
        columns = self._columns(channel)
        short = not self.criteria.short or is_short(candidate.program, candidate.bits, columns)
        return 0 if short else opaque_bits(columns)

    def _columns(self, channel: int) -> int:
        return len(self.layer.scope.of(channel).columns)

    def _may_pass(self, channel: int, candidate: Candidate, cost: float) -> bool:
        if self._status(channel, candidate, cost) is not None:
            return True
        return self.criteria.hold(candidate, self._judge.epsilon[channel])

    def _status(self, channel: int, candidate: Candidate, cost: float) -> Status | None:
        """What the unit is where a constant may stand for it without being near to it.

        A unit that is constant on all probes is inactive whatever else says the same there: on a
        source that does not move, a sum can be shorter than the constant and mean no more.
        """
        if self.evidence.ranges.constant[channel] and candidate.worst == 0:
            return Status.INACTIVE
        free = candidate.program.op == "const" and cost <= self.criteria.nothing
        free = free and not self.fronts.bound
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
    ) -> list[Picked]:
        """The first candidate of each queue that passes; a unit that has none is opaque."""
        found: dict[int, Picked] = {}
        todo = {c: iter(queue) for c, queue in queues.items() if queue}
        while todo:
            trials: list[Trial] = []
            costs: list[float] = []
            for channel in list(todo):
                pair = next(todo[channel], None)
                if pair is None:
                    del todo[channel]
                elif (status := self._status(channel, *pair)) is not None:
                    found[channel] = Picked(self._constant(channel, pair[0], status), pair[1])
                    del todo[channel]
                else:
                    trials.append(Trial(channel, pair[0]))
                    costs.append(pair[1])
            for place, passing in self._judge.best(trials, siblings).items():
                channel = trials[place].channel
                found[channel] = Picked(self._chosen(trials[place], passing), costs[place])
                del todo[channel]
        channels, scope = range(self.layer.units), self.layer.scope
        return [found.get(c) or Picked(opaque_unit(c, scope), math.inf) for c in channels]

    def _chosen(self, trial: Trial, passing: Passing) -> UnitChoice:
        program = passing.program()
        return self._unit(trial.channel, trial.candidate, program, passing.situ, passing.local)

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
        same = program == candidate.program
        bits = candidate.bits if same else program_bits(program, scope, self.grammar)
        short = is_short(program, bits, self._columns(channel))
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
    def _judge(self) -> Judge:
        given = self.evidence, self.replaced, self.criteria, self.grammar, self.engines
        return Judge(*given)
