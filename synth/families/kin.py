"""Kin: units that a model of another unit writes as well, turned, mirrored or moved in phase.

The models are short sums of kernels from the units' own fronts. A unit is fitted by each model with
what is free (angle, phase, place and the mixes of channels), and models that fit several units,
with what they share moved on its grids to suit them all, give each of these units candidates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grammars.grammar import Grammar
from grammars.program import Node
from synth.engine import UnitEvidence
from synth.engines.kernel import axes_for, is_mixed, problem_of, wary_metric
from synth.evidence import LayerEvidence
from synth.families.models import FREE, Model, chains_of, models_of, named, shared, turned
from synth.fronts import Candidate, judge
from synth.kernels.colours import Axis
from synth.kernels.fit import losses_of, polish
from synth.kernels.forms import forms_of
from synth.kernels.problem import Chains, Problem
from synth.kernels.rounding import Readable, coloured, on_grids
from synth.kernels.writing import PRECISIONS, Draft
from synth.metric import Metric
from synth.unit_tasks import EachUnit

FEWEST = 3  # units of a family that is looked for
LOOSE = 2.0  # times the largest FVU: as much of a unit may be left where a model is tried
STEPS = 6  # of polishing
MOVES = 24  # of what a family shares, at most
TURNING = (("angle", "phase"), FREE)  # what members have for themselves: without places, and with

Fronts = Sequence[Sequence[Candidate]]
Kin = Mapping[int, tuple[Candidate, ...]]
"""Candidates of the units of one family, by channel."""


def kin_of(
    evidence: LayerEvidence,
    fronts: Fronts,
    grammar: Grammar,
    max_fvu: float,
    each_unit: EachUnit,
) -> tuple[Kin, ...]:
    """The families that may be, largest first; none where kernels are over single channels."""
    layer = evidence.layer
    if not forms_of(grammar) or not is_mixed(layer):
        return ()
    units = [UnitEvidence(evidence, c, grammar) for c in range(layer.units)]
    table = _Table.of(units, fronts, max_fvu, each_unit)
    found: list[Kin] = []
    taken: set[int] = set()
    while (row := table.best(taken)) is not None:
        channels = table.members(row, taken)
        taken |= set(channels)
        values = {c: table.values[row, c] for c in channels}
        problems = {c: problem_of(units[c], table.metrics[c]) for c in channels}
        model = _suited(table.models[row], problems, values)
        found.append(each_unit(_Candidates(model, values), channels))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Table:
    """How well M models fit U units: `losses` (M, U), shares of what there is, and the parameters
    `values` (K, p) of each fit; infinite where the unit's head is another. `metrics` are what units
    are fitted in."""

    models: Sequence[Model]
    owners: Sequence[int]
    losses: np.ndarray
    values: Mapping[tuple[int, int], np.ndarray]
    metrics: Mapping[int, Metric]
    most: float

    @staticmethod
    def of(
        units: Sequence[UnitEvidence], fronts: Fronts, max_fvu: float, each_unit: EachUnit
    ) -> "_Table":
        models: dict[tuple, tuple[Model, int]] = {}
        for channel, (unit, front) in enumerate(zip(units, fronts, strict=True)):
            for model in models_of(front, unit, max_fvu):
                models.setdefault(model.key, (model, channel))
        known = [model for model, _ in models.values()]
        owners = [channel for _, channel in models.values()]
        losses, values = np.full((len(known), len(units)), np.inf), {}
        task = _Fits(known, [units[owner].head.op for owner in owners])
        fits = each_unit(task, range(len(units))) if known else {}
        for channel, (_, rows) in fits.items():
            for row, loss, fitted in rows:
                losses[row, channel], values[row, channel] = loss, fitted
        metrics = {channel: metric for channel, (metric, _) in fits.items()}
        return _Table(known, owners, losses, values, metrics, LOOSE * max_fvu)

    def members(self, row: int, taken: set[int]) -> list[int]:
        """The units that a model fits and that are not taken."""
        near = np.flatnonzero(self.losses[row] <= self.most).tolist()
        return [c for c in near if c not in taken]

    def best(self, taken: set[int]) -> int | None:
        """The model of a unit that is not taken which fits most others; of equals, the nearest."""
        counted = [
            (len(found), -float(self.losses[row, found].sum()), -row)
            for row, owner in enumerate(self.owners)
            if owner not in taken and len(found := self.members(row, taken)) >= FEWEST
        ]
        return -max(counted)[2] if counted else None


@dataclass(frozen=True)
class _Fits:
    """For a unit its metric, and (row, share of what there is, parameters) of each of some models
    whose own unit has the same of the `heads`."""

    models: Sequence[Model]
    heads: Sequence[str]

    def __call__(self, unit: UnitEvidence) -> tuple[Metric, list[tuple[int, float, np.ndarray]]]:
        metric = wary_metric(unit)
        problem = problem_of(unit, metric)
        whole = float(problem.goal @ problem.goal)
        able = [row for row, head in enumerate(self.heads) if head == unit.head.op]
        found = _fitted(problem, able, self.models) if whole else ()
        return metric, [(row, loss / whole, values) for row, loss, values in found]


def _fitted(
    problem: Problem, rows: Sequence[int], models: Sequence[Model]
) -> Iterator[tuple[int, float, np.ndarray]]:
    """(row, loss, parameters) of each of some models in its best turn; those of equal forms at
    once."""
    by_forms: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        by_forms.setdefault(models[row].forms, []).append(row)
    for forms, same in by_forms.items():
        turns = np.stack([turned(models[row], problem.forms) for row in same])  # (R, V, K, p)
        many = chains_of(problem, forms, turns.reshape(-1, *turns.shape[2:]), FREE)
        losses = losses_of(problem, many).reshape(turns.shape[:2])
        best = turns[np.arange(len(same)), losses.argmin(1)]
        chains, found = polish(problem, chains_of(problem, forms, best, FREE), STEPS)
        yield from zip(same, found.tolist(), chains.values, strict=True)


def _suited(
    model: Model, members: Mapping[int, Problem], values: Mapping[int, np.ndarray]
) -> Model:
    """The model with what the members share moved on its grids while they lose less in all."""
    problem = next(iter(members.values()))
    common = shared(problem, model.forms)
    places = np.argwhere(common).tolist()

    def lost(trials: np.ndarray) -> np.ndarray:
        """(T,) what the members lose in all with the shared parameters of trials (T, K, p)."""
        total = np.zeros(len(trials))
        for channel, member in members.items():
            own = trials.copy()
            own[:, ~common] = values[channel][~common]
            chains = chains_of(member, model.forms, own, ())
            total += losses_of(member, chains) / (member.goal @ member.goal)
        return total

    best = float(lost(model.values[None])[0])
    for _ in range(MOVES):
        trials = [_moved(problem, model, k, i, sign) for k, i in places for sign in (-1, 1)]
        losses = lost(np.array(trials)) if trials else np.array([np.inf])
        place = int(np.argmin(losses))
        if losses[place] >= best:
            break
        model, best = replace(model, values=trials[place]), float(losses[place])
    return model


def _moved(problem: Problem, model: Model, k: int, i: int, sign: int) -> np.ndarray:
    """The model's parameters with one of them a step further."""
    values, form = model.values.copy(), model.forms[k]
    values[k, i] += sign * problem.steps[form, i]
    values[k] = problem.on_grid(form, values[k : k + 1])[0]
    return values


@dataclass(frozen=True)
class _Candidates:
    """The programs of a unit in the model's family: turned, or turned and moved, with named colours
    and with free mixes, in several precisions. `values` are the model's parameters by channel."""

    model: Model
    values: Mapping[int, np.ndarray]

    def __call__(self, evidence: UnitEvidence) -> tuple[Candidate, ...]:
        metric, model, programs = wary_metric(evidence), self.model, dict[Node, None]()
        problem = problem_of(evidence, metric)
        for free in TURNING:
            own = named(problem, model.forms, free)
            start = np.where(own, self.values[evidence.channel], _rested(problem, model))
            chains = chains_of(problem, model.forms, start[None], free)
            chain = polish(problem, chains, STEPS)[0]
            for other, axes in _coloured(problem, model, chain, axes_for(evidence)):
                readable = Readable(on_grids(problem, other), axes)
                draft = Draft.of(evidence, metric, problem, readable)
                written = (draft.written(precision) for precision in PRECISIONS)
                programs |= dict.fromkeys(w.program for w in written if w is not None)
        return tuple(judge(evidence, list(programs), ["kernel"] * len(programs)))


def _rested(problem: Problem, model: Model) -> np.ndarray:
    """(K, p) the model's parameters with what members have for themselves at its defaults."""
    forms = list(model.forms)
    return np.where(named(problem, forms, FREE), problem.defaults[forms], model.values)


def _coloured(
    problem: Problem, model: Model, chain: Chains, named_axes: Sequence[Axis]
) -> Iterator[tuple[Chains, tuple[Axis | None, ...]]]:
    """A chain with its colours named, as it is where that is another, and over the model's mixes: a
    member has then but a gain a kernel for itself."""
    found, axes = coloured(problem, chain, named_axes)
    yield found, axes
    if not np.array_equal(found.mixes, chain.mixes):
        yield chain, (None,) * len(axes)
    if problem.channels > 1:
        mixes = np.zeros_like(chain.mixes)
        mixes[0, :, :, 0] = [axis.weights for axis in model.mixes]
        yield polish(problem, replace(chain, mixes=mixes), STEPS)[0], model.mixes
