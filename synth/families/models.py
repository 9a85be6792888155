"""Sums of kernels that stand as models for other units: what turns, and what a family shares."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from grammars.program import Node, linear, tap, walk
from grammars.siblings import pre_of
from synth.engine import UnitEvidence
from synth.fronts import Candidate
from synth.kernels.colours import Axis
from synth.kernels.forms import Form, forms_of
from synth.kernels.problem import Chains, Problem
from synth.kernels.slots import Slots, slots_of

FREE = ("angle", "phase", "dy", "dx")  # what members of a family may have for themselves
LONGEST = 2  # kernels of a model: longer sums have no doubles
MIX_BITS = 3  # behind the point of a mix that a family shares
TURN = 15.0  # degrees between the turns that are tried first


@dataclass(frozen=True, eq=False)
class Model:
    """A sum of K kernels: `forms` (K,) by number, parameters `values` (K, p) on their grids, and
    the `mixes` of channels, each with its largest weight one."""

    forms: tuple[int, ...]
    values: np.ndarray
    mixes: tuple[Axis, ...]

    @property
    def key(self) -> tuple:
        """Equal for models that have all in common but what is free anyway."""
        return self.forms, self.values.tobytes()


def models_of(front: Iterable[Candidate], unit: UnitEvidence, max_fvu: float) -> list[Model]:
    """Of a unit's front the shortest sum of one kernel, and of two, that is near to it."""
    found: dict[int, Model] = {}
    forms = forms_of(unit.grammar)
    for candidate in front:
        if max(candidate.fvu_fit, candidate.fvu_select) > max_fvu:
            continue
        model = _model(candidate.program, unit, forms)
        if model is not None:
            found.setdefault(len(model.forms), model)
    return list(found.values())


def turned(model: Model, forms: Sequence[Form]) -> np.ndarray:
    """(V, K, p) the parameters of the model turned, mirrored and moved in phase, itself first."""
    names = [[name for name, _ in forms[f].primitive.parameters] for f in model.forms]
    found = []
    for mirrored in (False, True):
        for degrees in np.arange(0.0, 360.0, TURN):
            for phase in (0.0, 90.0):
                values = model.values.copy()
                for own, row in zip(names, values, strict=True):
                    _turn(row[: len(own)], own, degrees, phase, mirrored=mirrored)
                found.append(values)
    return np.array(found)


def named(problem: Problem, forms: Sequence[int], names: Sequence[str]) -> np.ndarray:
    """(K, p) which parameters of some forms have one of these names and may move."""
    found = np.zeros((len(forms), problem.size), dtype=bool)
    for row, form in zip(found, forms, strict=True):
        own = [name for name, _ in problem.forms[form].primitive.parameters]
        row[: len(own)] = [name in names for name in own]
    return found & problem.movable[list(forms)]


def shared(problem: Problem, forms: Sequence[int]) -> np.ndarray:
    """(K, p) which parameters members of a family have in common."""
    return problem.movable[list(forms)] & ~named(problem, forms, FREE)


def chains_of(
    problem: Problem, forms: Sequence[int], values: np.ndarray, free: Sequence[str]
) -> Chains:
    """Parameters (B, K, p) of some forms as chains in any mix of channels, of which those that have
    a name in `free` may move."""
    numbers = np.repeat(np.array([forms]), len(values), axis=0)
    able = np.repeat(named(problem, forms, free)[None], len(values), axis=0)
    eye = np.eye(problem.channels)
    mixes = np.broadcast_to(eye, (*numbers.shape, *eye.shape))
    return Chains(numbers, values, able, mixes)


def _model(program: Node, unit: UnitEvidence, forms: Sequence[Form]) -> Model | None:
    """The kernels of a program that is a short sum of nothing else, under a head or not."""
    numbers = {form.primitive.name: i for i, form in enumerate(forms)}
    if not 0 < len({node for node in walk(program) if node.op in numbers}) <= LONGEST:
        return None  # most are none, and slots take time
    found = slots_of(pre_of(program, unit.grammar), unit.scope, unit.grammar)
    if found is None:
        return None
    places = [place.kernel for place in found[0].places]
    kernels = [k for k in dict.fromkeys(places) if k is not None and k.op in numbers]
    if None in places:
        return None
    values = np.zeros((len(kernels), max(len(form.specs) for form in forms)))
    for row, kernel in zip(values, kernels, strict=True):
        row[: len(kernel.params)] = [value for _, value in kernel.params]
    mixes = tuple(_mix(kernel, *found, unit) for kernel in kernels)
    return Model(tuple(numbers[k.op] for k in kernels), values, mixes)


def _mix(kernel: Node, slots: Slots, constants: np.ndarray, unit: UnitEvidence) -> Axis:
    """What a kernel is over in a program: its source by name, or rounded weights of channels."""
    own = [i for i, place in enumerate(slots.places) if place.kernel == kernel]
    parts = (slots.columns[:, own] @ constants[own]).reshape(unit.scope.sources.size, -1)
    place = np.argmax((parts**2).sum(0))
    weights = parts[:, place] / np.abs(parts[:, place]).max()
    if len(own) == 1:
        return Axis(slots.places[own[0]].source, weights)
    rounded = np.rint(weights * 2**MIX_BITS) / 2**MIX_BITS
    bank, first = unit.scope.columns[0][:2]
    pairs = ((float(w), tap(bank, first + c)) for c, w in enumerate(rounded))
    return Axis(linear(pairs), rounded)


def _turn(
    row: np.ndarray, names: Sequence[str], degrees: float, phase: float, *, mirrored: bool
) -> None:
    """Turn a kernel's parameters in place; where it is mirrored, first at the horizontal."""
    place = {name: i for i, name in enumerate(names)}
    sign = -1.0 if mirrored else 1.0
    if "angle" in place:
        row[place["angle"]] = sign * row[place["angle"]] + degrees
    if "phase" in place:
        row[place["phase"]] += phase
    if {"dy", "dx"} <= set(place):
        up, right, angle = -sign * row[place["dy"]], row[place["dx"]], np.deg2rad(degrees)
        row[place["dy"]] = -(right * np.sin(angle) + up * np.cos(angle))
        row[place["dx"]] = right * np.cos(angle) - up * np.sin(angle)
