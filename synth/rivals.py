"""Rivals: the programs that may stand for candidates on replaced sources, and how they do there.

A candidate is re-fitted to the original activations, and stays as it was; of both, the one that is
nearer to its unit stands, if it passes. All candidates that are tried at once are judged by a few
matrix products, on replaced sources first, because that is where most fail.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from grammars.compiled import CompiledBank, compile_bank
from grammars.grammar import Grammar
from grammars.hoist import ROWS
from grammars.program import Node
from grammars.siblings import expand
from oracles.evidence import fvu
from synth.affine import float_bounds
from synth.assembly import source_index
from synth.engine import Engine, UnitEvidence
from synth.evidence import LayerEvidence, Ranges
from synth.fronts import Candidate, error_of
from synth.shifting import Shifts, is_long, with_bias
from synth.threads import each

NOTHING = 1e-4  # share of max_kl that a unit may cost and still "change nothing"


@dataclass(frozen=True)
class Criteria:
    """What units must hold (`max_fvu`, `max_error` as a share of range) and what select must.

    With `most_bits`, the least KL of so many bits is chosen, and not the fewest bits that hold.
    With `short`, a program that is not short is charged the bits of the unit's own weights on top.
    With `joint`, the constants of all programs of a choice are refined together (`synth.joint`).
    `free` are the nats that a unit may cost and still "change nothing", by default a share of
    `max_kl`.
    """

    max_fvu: float
    max_error: float
    max_kl: float
    min_agreement: float
    short: bool = False
    most_bits: int | None = None
    joint: bool = False
    free: float | None = None

    @property
    def nothing(self) -> float:
        """Nats that a unit may cost and still change nothing."""
        return NOTHING * self.max_kl if self.free is None else self.free

    def epsilon(self, ranges: Ranges) -> np.ndarray:
        """(U,) ε, less a hair: bounds in a search are floats, and the exact recheck must not fail
        by a bit."""
        return self.max_error * ranges.span * (1 - 1e-9)

    def hold(self, candidate: Candidate, epsilon: float) -> bool:
        """Whether a candidate is near to its unit, on original sources and over the envelope."""
        return error_of(candidate) <= self.max_fvu and candidate.bound <= epsilon


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate that is tried for a unit."""

    channel: int
    candidate: Candidate


@dataclass(frozen=True, eq=False)
class Passing:
    """What may stand for a trial: a program, which is written when it is needed, and its FVUs."""

    program: Callable[[], Node]
    situ: float
    local: float


@dataclass(frozen=True, eq=False)
class _Rivals:
    """Programs for some trials: unit i of `bank` for trial `places[i]`, with its FVU in situ."""

    places: Sequence[int]
    bank: CompiledBank
    program: Callable[[int], Node]
    situ: np.ndarray


@dataclass(frozen=True, eq=False)
class Judge:
    """Tries candidates for the units of one layer.

    `replaced` (n, width) are the evidence's patches on replaced sources, None where nothing before
    the layer is replaced.
    """

    evidence: LayerEvidence
    replaced: np.ndarray | None
    criteria: Criteria
    grammar: Grammar
    engines: Mapping[str, Engine]

    def best(self, trials: Sequence[Trial], siblings: Mapping[int, Node]) -> dict[int, Passing]:
        """By their places, the trials that pass, each with the program that is nearest in situ.

        `siblings` are the programs that candidates may refer to.
        """
        found: dict[int, Passing] = {}
        for rivals in self._rivals(trials, siblings) if trials else ():
            for place, one in self._able(rivals, trials):
                if place not in found or one.situ < found[place].situ:
                    found[place] = one
        return found

    def _rivals(self, trials: Sequence[Trial], siblings: Mapping[int, Node]) -> Iterator[_Rivals]:
        """Re-fitted programs, and then the candidates' own."""
        own = [t.candidate.program for t in trials]
        bank, channels = self._compiled(own, siblings), [t.channel for t in trials]
        products = self._situ @ bank.weight.T
        if self.replaced is not None:
            yield from self._refits(trials, siblings)
            yield from self._moved(own, channels, bank, products)
        situ = self._fvus(bank.outputs(products), channels)
        yield _Rivals(range(len(own)), bank, own.__getitem__, situ)

    def _refits(self, trials: Sequence[Trial], siblings: Mapping[int, Node]) -> Iterator[_Rivals]:
        """Short programs with all their constants fitted again."""
        short = [i for i, trial in enumerate(trials) if not self._is_long(trial)]
        pairs = zip(short, each(lambda i: self._refitted(trials[i]), short), strict=True)
        fitted = {i: p for i, p in pairs if p is not None}
        if fitted:
            places, programs = list(fitted), list(fitted.values())
            bank = self._compiled(programs, siblings)
            channels = [trials[i].channel for i in places]
            situ = self._fvus(bank.apply(self._situ), channels)
            yield _Rivals(places, bank, programs.__getitem__, situ)

    def _moved(
        self, own: Sequence[Node], channels: Sequence[int], bank: CompiledBank, products: np.ndarray
    ) -> Iterator[_Rivals]:
        """Long programs with new biases: their weights, and `products` with patches, are known."""
        long = [i for i, p in enumerate(own) if is_long(p, self.grammar)]
        if not long:
            return
        row_of = {
            unit: row
            for g in bank.groups
            if (ROWS, 0, 0, 0) in g.rows
            for unit, row in zip(g.units.tolist(), g.rows[ROWS, 0, 0, 0].tolist(), strict=True)
        }
        rows, units = [row_of[i] for i in long], [channels[i] for i in long]
        biases = self._shifts.biases(units, bank.weight[rows], bank.bias[rows])
        bias = bank.bias.copy()
        bias[rows] = biases
        moved = replace(bank, bias=bias).part(long)
        situ = self._fvus(moved.outputs(products[:, rows]), units)
        programs = [own[i] for i in long]
        yield _Rivals(long, moved, lambda i: with_bias(programs[i], float(biases[i])), situ)

    def _able(self, rivals: _Rivals, trials: Sequence[Trial]) -> Iterator[tuple[int, Passing]]:
        """Those rivals that pass in situ and also on the original sources and in their bounds."""
        near = np.flatnonzero(rivals.situ <= self.criteria.max_fvu).tolist()
        if not near:
            return
        bank, channels = rivals.bank.part(near), [trials[rivals.places[i]].channel for i in near]
        local = rivals.situ[near]
        if self.replaced is not None:
            local = self._fvus(bank.apply(self._local), channels)
        bounds = float_bounds(self.evidence.ranges, channels, bank)
        able = (local <= self.criteria.max_fvu) & (bounds <= self.epsilon[channels])
        for i in np.flatnonzero(able).tolist():
            unit = near[i]
            program = partial(rivals.program, unit)
            yield rivals.places[unit], Passing(program, float(rivals.situ[unit]), float(local[i]))

    def _compiled(self, programs: Sequence[Node], siblings: Mapping[int, Node]) -> CompiledBank:
        """Programs, with the siblings that they read written out."""
        name = self.evidence.layer.name
        plain = [expand(p, name, siblings.__getitem__, self.grammar) for p in programs]
        return compile_bank(plain, self._index, self.grammar)

    def _is_long(self, trial: Trial) -> bool:
        return is_long(trial.candidate.program, self.grammar)

    def _refitted(self, trial: Trial) -> Node | None:
        unit = UnitEvidence(self.evidence, trial.channel, self.grammar, self.replaced)
        return self.engines[trial.candidate.engine].refit(trial.candidate.program, unit)

    def _fvus(self, outputs: np.ndarray, channels: Sequence[int]) -> np.ndarray:
        target, variance = self._target, self.evidence.ranges.variance
        columns = enumerate(channels)
        found = [fvu(outputs[:, [i]], target[:, c], float(variance[c]))[0] for i, c in columns]
        return np.array(found)

    @cached_property
    def epsilon(self) -> np.ndarray:
        return self.criteria.epsilon(self.evidence.ranges)

    @cached_property
    def _index(self) -> dict[tuple[str, int, int, int], int]:
        return source_index(self.evidence.scope)

    @cached_property
    def _target(self) -> np.ndarray:
        return self.evidence.target[self.evidence.select]

    @cached_property
    def _local(self) -> np.ndarray:
        return self.evidence.patches[self.evidence.select].astype(np.float64)

    @cached_property
    def _situ(self) -> np.ndarray:
        if self.replaced is None:
            return self._local
        return self.replaced[self.evidence.select].astype(np.float64)

    @cached_property
    def _shifts(self) -> Shifts:
        assert self.replaced is not None
        return Shifts(self.evidence, self.replaced)
