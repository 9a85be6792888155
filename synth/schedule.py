"""One unit through its engines: cheap ones first, dear ones only where those leave a gap.

A front has a gap where no short program passes: there a program may still be found that people
read. What an engine has proposed before it fails, or its process dies, stays.
"""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from typing import Any

from grammars.canonical import canonical
from grammars.program import Node
from synth.engine import Engine, EngineFailed, UnitEvidence
from synth.fronts import Candidate, error_of, front, is_short, judge
from synth.mending import mended
from synth.proofs import epsilon_of

CHUNK = 256  # candidates that are evaluated at once
NO_GAP = "not asked: a short program passes already"
NO_FAILURE = ("", NO_GAP)


@dataclass(frozen=True)
class EngineCost:
    """What an engine did for a unit: how many programs it `proposed`, in how many `seconds`, and
    the `reason` why it was not asked or did not finish, in a sentence; empty if it did.

    The number is the same in every run with the same seed; seconds are not.
    """

    engine: str
    proposed: int
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class SearchedUnit:
    """A unit's front, cheapest candidate first, and what each engine did for it."""

    front: tuple[Candidate, ...] = ()
    costs: tuple[EngineCost, ...] = ()


def tier_of(engine: Engine | type[Engine]) -> int:
    """How dear an engine is: those of a tier above 0 are asked only where there is a gap."""
    return getattr(engine, "tier", 0)


def search_unit(
    evidence: UnitEvidence,
    engines: Sequence[Engine],
    *,
    budget: int,
    seed: int,
    short: bool = False,
    max_fvu: float = 0.0,
    max_error: float = math.inf,
) -> SearchedUnit:
    """The front of one unit.

    `budget` is the number of candidates that each engine may propose, `max_fvu` what a program may
    leave to pass, and `max_error` the share of the unit's range that its claim is of. With `short`,
    the programs that count as short have a front of their own in it: a few kernels are often
    beaten, in bits and error, by many rounded weights that nobody reads.
    """
    asked = _Asked(evidence, budget, seed)
    for tier, group in groupby(sorted(engines, key=tier_of), key=tier_of):
        gap = not tier or asked.has_gap(max_fvu)
        for engine in group:
            asked.ask(engine) if gap else asked.leave_out(engine)
        asked.judge()
    if math.isfinite(max_error):
        asked.mend(max_fvu, epsilon_of(evidence.layer.ranges, evidence.channel, max_error))
    return SearchedUnit(_front(evidence, asked.candidates, short=short), tuple(asked.costs))


@dataclass(eq=False)
class _Asked:
    """What the engines that were asked so far have found of a unit."""

    evidence: UnitEvidence
    budget: int
    seed: int
    found: dict[Node, str] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    costs: list[EngineCost] = field(default_factory=list)

    def ask(self, engine: Engine) -> None:
        start, proposed, reason = time.perf_counter(), 0, ""
        try:
            for program in engine.propose(self.evidence, budget=self.budget, seed=self.seed):
                own = canonical(program, self.evidence.grammar)
                self.found.setdefault(own, engine.name)
                proposed += 1
        except EngineFailed as error:
            reason = str(error)
        seconds = time.perf_counter() - start
        self.costs.append(EngineCost(engine.name, proposed, seconds, reason))

    def leave_out(self, engine: Engine) -> None:
        self.costs.append(EngineCost(engine.name, 0, 0.0, NO_GAP))

    def judge(self) -> None:
        """Evaluate and bound what was proposed since."""
        programs = list(self.found)[len(self.candidates) :]
        for start in range(0, len(programs), CHUNK):
            part = programs[start : start + CHUNK]
            self.candidates += judge(self.evidence, part, [self.found[p] for p in part])

    def has_gap(self, max_fvu: float) -> bool:
        """Whether no short program passes yet."""
        return not self._short(max_fvu)

    def mend(self, max_fvu: float, epsilon: Fraction) -> None:
        """Where every short program that would pass is refuted, fit some of them again."""
        short = self._short(max_fvu)
        if short and all(c.bound > epsilon for c in short):
            for program, engine in mended(self.evidence, short, epsilon):
                self.found.setdefault(canonical(program, self.evidence.grammar), engine)
            self.judge()

    def _short(self, max_fvu: float) -> list[Candidate]:
        """The short programs that pass on probes."""
        passing = (c for c in self.candidates if error_of(c) <= max_fvu)
        return [c for c in passing if _is_short(self.evidence, c)]


def _front(
    evidence: UnitEvidence, candidates: Sequence[Candidate], *, short: bool
) -> tuple[Candidate, ...]:
    if not short:
        return front(candidates)
    brief = [c for c in candidates if _is_short(evidence, c)]
    both = {c.program: c for c in (*front(candidates), *front(brief))}
    return tuple(sorted(both.values(), key=lambda c: (c.bits, error_of(c), c.bound)))


def _is_short(evidence: UnitEvidence, candidate: Candidate) -> bool:
    return is_short(candidate.program, candidate.bits, len(evidence.scope.columns))


@dataclass(eq=False)
class EngineTally:
    """What engines did for many units, one after another."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, unit: SearchedUnit) -> None:
        points = Counter(candidate.engine for candidate in unit.front)
        for cost in unit.costs:
            own = self.counts.setdefault(cost.engine, Counter())
            own["asked"] += cost.reason != NO_GAP
            own["proposed"] += cost.proposed
            own["improved"] += points[cost.engine] > 0
            own["points"] += points[cost.engine]
            self.seconds[cost.engine] = self.seconds.get(cost.engine, 0.0) + cost.seconds
            if cost.reason not in NO_FAILURE:
                self.reasons.setdefault(cost.engine, Counter())[cost.reason] += 1

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """For each engine the units that it was `asked` for and `improved` the front of, how many
        programs it `proposed` and `points` it has on fronts, and the reasons why it `stopped`."""
        keys = ("asked", "improved", "proposed", "points")
        return {
            engine: {k: own[k] for k in keys} | {"stopped": dict(self.reasons.get(engine, {}))}
            for engine, own in self.counts.items()
        }
