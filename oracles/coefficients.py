"""The coarsest dyadic coefficients whose program lies within ε of its unit, or that there are none.

Counterexample-guided inductive synthesis (Solar-Lezama 2008). A unit head(w·x + b) over a box is
held against programs head(c·x + d) of the same monotone head. At finitely many points of the box
the claim is linear in c and d (`oracles.monotone`), and a master (`oracles.masters`) finds integers
that satisfy it there. The closed form proves the program over the whole box, or gives the true
worst point, which joins the others. If no integers are left, there is no program, since the points
are in the box.

Before that, two facts are had for nothing: how few taps can do (`oracles.reach`), and the nearest
multiples of the step, which are all but the best that there is where a head is straight.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property

import numpy as np

from oracles.claims import (
    Affine,
    AffineBank,
    Box,
    Pairing,
    Proved,
    Refuted,
    Unknown,
    Verdict,
    gap_at,
    head_form,
    pair_heads,
)
from oracles.closed_form import bound_units
from oracles.masters import Space, master_of, solver_for
from oracles.monotone import is_monotone
from oracles.prove import prove_layer
from oracles.questions import (
    Answer,
    Coarsest,
    Effort,
    Found,
    Grid,
    Impossible,
    Level,
    Question,
    grids_of,
    integers_in,
)
from oracles.reach import (
    Bracket,
    Sighting,
    base_of,
    bracket,
    least_left,
    least_terms,
    most_dropped,
    reach_of,
    shortened,
)

NEARLY = Fraction(7, 8)  # of ε: who keeps well within it is soon proved
LADDER = (6, 12)  # bits of a worst point's coordinates, if it is still too far off there


class CoefficientSearch:
    """Programs of one unit over a box (n,), and the points that have refuted some.

    The points serve every later question too, be it about other taps or another grid. Raises
    ValueError for a head that falls somewhere, and for a negative ε.
    """

    def __init__(
        self, unit: Affine, box: Box, epsilon: Fraction, *, effort: Effort | None = None
    ) -> None:
        if not is_monotone(unit.head):
            raise ValueError(f"head {unit.head.op!r} falls somewhere; expected one that never does")
        if epsilon < 0:
            raise ValueError(f"epsilon is {epsilon}; expected a number >= 0")
        self.unit, self.box, self.epsilon = unit, box, epsilon
        self.effort = effort or Effort()
        self.reach = reach_of(unit, box)
        self.dropped = most_dropped(unit.head, self.reach, epsilon)
        self.points: dict[bytes, Sighting] = {}
        self._brackets: dict[int, Bracket] = {}

    @cached_property
    def taps(self) -> tuple[int, ...]:
        """Those that move over the box: the others are biases in disguise, and are left out."""
        return tuple(np.flatnonzero(self.box.upper > self.box.lower).tolist())

    def least_terms(self, taps: Sequence[int] | None = None) -> int:
        """How many of some taps (all by default) a program reads at least, on whatever grid."""
        return least_terms(self.reach, self.taps if taps is None else taps, self.dropped)

    def verdict(self, program: Affine) -> Verdict:
        """Whether a program lies within ε over the box."""
        return prove_layer(_bank(self.unit), _bank(program), self.box, [self.epsilon])[0]

    def worst(self, program: Affine, verdict: Verdict) -> Sighting:
        """The point at which a program that was not proved is farthest off; in few bits if it is
        still too far off there."""
        if not isinstance(verdict, Refuted):
            bounds, _ = bound_units(_bank(self.unit), _bank(program), self.box)
            return Sighting.of(self.unit, bounds.points[0])
        exact = verdict.counterexample
        for short in (shortened(exact, self.box, bits) for bits in LADDER):
            if gap_at(self.unit, program, short) > self.epsilon:
                return Sighting.of(self.unit, short)
        return Sighting.of(self.unit, exact)

    def coarsest(
        self,
        *,
        terms: int | None = None,
        taps: Sequence[int] | None = None,
        known: Found | None = None,
    ) -> Coarsest:
        """The coarsest program of at most `terms` of some taps, all by default.

        `known` is such a program that is there already: only coarser ones are sought.
        """
        question = self._question(terms, taps)
        if few := self._too_few(question):
            return Coarsest(question.terms, None, few)
        grids = grids_of(self.unit.weights[list(question.taps)])
        open_ = [grid for grid in grids if known is None or grid < known.grid]
        nearest = (self._nearest(question, grid) for grid in open_)
        found = next((near for near in nearest if near), known)
        grid = grids[-1] if found is None else found.grid.coarser
        while grid >= grids[0]:
            answer = self._sought(question, grid)
            if not isinstance(answer, Found):
                return Coarsest(question.terms, found, answer)
            found, grid = answer, grid.coarser
        return Coarsest(question.terms, found, None)

    def on_grid(
        self, grid: Grid, *, terms: int | None = None, taps: Sequence[int] | None = None
    ) -> Answer:
        """A program of at most `terms` of some taps on one grid, or that there is none."""
        question = self._question(terms, taps)
        few = self._too_few(question)
        return few or self._nearest(question, grid) or self._sought(question, grid)

    def _question(self, terms: int | None, taps: Sequence[int] | None) -> Question:
        chosen = self.taps if taps is None else tuple(sorted({*taps} & {*self.taps}))
        return Question(chosen, len(chosen) if terms is None else min(terms, len(chosen)))

    def _too_few(self, question: Question) -> Impossible | None:
        """That the taps that any such program leaves out move the unit too far, if so."""
        if question.terms >= self.least_terms(question.taps):
            return None
        return self._ruled_out(question, None)

    def _nearest(self, question: Question, grid: Grid) -> Found | None:
        """The nearest multiples, if they are near enough."""
        program = self._rounded(question, grid)
        verdict = self.verdict(program)
        return Found(program, grid, verdict) if isinstance(verdict, Proved) else None

    def _rounded(self, question: Question, grid: Grid) -> Affine:
        """The nearest multiples on the taps that gain most by it, the bias in the middle."""
        taps, unit, box = list(question.taps), self.unit, self.box
        weights = np.zeros_like(unit.weights)
        weights[taps] = np.rint(unit.weights[taps] / grid.step) * grid.step
        saved = np.abs(unit.weights) - np.abs(unit.weights - weights)
        gains = (saved * (box.upper - box.lower))[taps]
        left = np.argsort(-gains, kind="stable")[question.terms :]
        weights[np.array(taps, dtype=int)[left]] = 0.0
        bias = unit.bias + float((unit.weights - weights) @ (box.upper + box.lower) / 2)
        (step,) = grid.steps(0)
        return Affine(weights, float(np.rint(bias / step) * step), unit.head)

    def _sought(self, question: Question, grid: Grid) -> Answer:
        """A program beside the nearest one, or that there is none."""
        given = self.unit, self.reach, self.epsilon, question.taps, question.terms
        if least_left(*given, Fraction(grid.step)) > 2 * self.epsilon:
            return self._ruled_out(question, grid)
        return self._guided(question, grid)

    def _ruled_out(self, question: Question, grid: Grid | None) -> Impossible:
        nowhere = np.empty((0, len(self.unit.weights)))
        return Impossible(question.terms, len(question.taps), grid, nowhere, None)

    def _guided(self, question: Question, grid: Grid) -> Answer:
        """By counterexamples, of which the nearest program's is the first."""
        program = self._rounded(question, grid)
        self._see(self.worst(program, self.verdict(program)))
        space, found = self._space(question, grid), None
        for level in self._levels:
            found = self._at_level(question, grid, space, level)
            if isinstance(found, Found):
                return found
        if found is not None:
            return found
        points = np.stack([seen.point for seen in self._sightings(question)])
        taps = len(question.taps)
        return Impossible(question.terms, taps, grid, points, solver_for(taps))

    def _at_level(
        self, question: Question, grid: Grid, space: Space, level: Level
    ) -> Found | Unknown | None:
        """A program, or None where no integers meet the level's conditions at the points."""
        master = master_of(space, steps=self.effort.steps, nodes=self.effort.nodes)
        sightings = self._sightings(question)
        for seen in sightings:
            master.add(question.row(grid, seen, level))
        for tried in range(self.effort.points):
            integers = master.ask()
            if not isinstance(integers, list):
                return integers
            program = question.program(grid, integers, self.unit)
            verdict = self.verdict(program)
            if isinstance(verdict, Proved):
                return Found(program, grid, verdict, len(sightings) + tried, master.solver)
            seen = self.worst(program, verdict)
            row = question.row(grid, seen, level)
            if row.holds(integers) or not self._see(seen):
                return _undecided(verdict)
            master.add(row)
        return Unknown(f"{self.effort.points} counterexamples did not decide it")

    def _see(self, seen: Sighting) -> bool:
        """Keep a point; whether it is new."""
        key, before = seen.point.tobytes(), len(self.points)
        self.points.setdefault(key, seen)
        return len(self.points) > before

    @cached_property
    def _levels(self) -> tuple[Level, ...]:
        """What suffices at points, strict first, and last what is necessary: the claim itself.

        Where the closed form is not tight, only pre-activations that are near can be proved.
        """
        head, pairing = self.unit.head, pair_heads(self.unit.head, self.unit.head)
        assert isinstance(pairing, Pairing)  # of one head
        near = self.epsilon / Fraction(pairing.factor)
        if pairing.tight:
            return Level(head, NEARLY * near), Level(head, near)
        straight = head_form("identity")
        return Level(straight, NEARLY * near), Level(straight, near), Level(head, self.epsilon)

    def _sightings(self, question: Question) -> list[Sighting]:
        """All points that a question is asked at."""
        own = (self._bracket(tap).seen for tap in question.taps)
        return [*self.points.values(), self._base, *own]

    def _space(self, question: Question, grid: Grid) -> Space:
        taps, moves = question.taps, self.reach.moves
        ends = (self._bracket(tap).ends for tap in taps)
        limits = tuple(integers_in(pair, Fraction(2) ** grid.power) for pair in ends)
        own = tuple(moves[tap] for tap in taps)
        others = sum(moves, Fraction(0)) - sum(own, Fraction(0))
        dropped = None if self.dropped is None else self.dropped - others
        return Space(limits, question.terms, own, dropped)

    @cached_property
    def _base(self) -> Sighting:
        return base_of(self.unit, self.box, self.reach, self.epsilon)

    def _bracket(self, tap: int) -> Bracket:
        if tap not in self._brackets:
            found = bracket(self.unit, self.box, self._base, tap, self.epsilon)
            self._brackets[tap] = found
        return self._brackets[tap]


def _bank(one: Affine) -> AffineBank:
    return AffineBank(one.weights[None], np.array([one.bias]), (one.head,))


def _undecided(verdict: Verdict) -> Unknown:
    """Why a program is not proved that meets all conditions at points, or nearly."""
    if isinstance(verdict, Unknown):
        return verdict
    return Unknown("what the solver finds meets the conditions but for rounding")
