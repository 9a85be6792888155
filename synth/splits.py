"""The one split of the probes into fit, select and held-out, and how many probes are enough."""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from synth.batches import Inputs
from synth.config import Config
from synth.errors import InputError
from synth.inputs import Probes


@dataclass(frozen=True, eq=False)
class Split:
    """Sorted int64 indices into the probes; `held_out` into the user's own test set if `own`.

    `shares` are (held-out of all, select of the rest), as drawn.
    """

    fit: np.ndarray
    select: np.ndarray
    held_out: np.ndarray
    shares: tuple[float, float]
    own: bool = False


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the probes: n samples and their labels (n,), or None."""

    inputs: Inputs
    labels: Tensor | None


@dataclass(frozen=True, eq=False)
class Parts:
    """The three parts. Held-out is opened once, by validation."""

    fit: Part
    select: Part
    held_out: Part

    def on(self, device: str) -> "Parts":
        """The same with batches on a device."""
        moved = (
            Part(p.inputs.on(device), p.labels) for p in (self.fit, self.select, self.held_out)
        )
        return Parts(*moved)


def part_sizes(count: int, held_out: float, select: float) -> tuple[int, int, int]:
    """(fit, select, held-out) sizes: `held_out` of all, then `select` of the rest, rounded."""
    last = math.floor(held_out * count + 0.5)
    middle = math.floor(select * (count - last) + 0.5)
    return count - last - middle, middle, last


def split(probes: Probes, config: Config, seed: int) -> Split:
    """The split that `seed` draws, stratified by label where there are labels.

    A user's own test set is all of held-out. Raises InputError if a part would be empty.
    """
    count, own = len(probes.inputs), probes.test_inputs is not None
    shares = (0.0 if own else config.probes.held_out, config.probes.select)
    _check_sizes(count, shares, own)
    _, middle, last = part_sizes(count, *shares)
    labels = None if probes.labels is None else probes.labels.numpy()
    order = _stratified_order(count, labels, seed)
    held_out, select, fit = np.split(order, [last, last + middle])
    if probes.test_inputs is not None:
        held_out = np.arange(len(probes.test_inputs))
    return Split(np.sort(fit), np.sort(select), np.sort(held_out), shares, own)


def _check_sizes(count: int, shares: tuple[float, float], own: bool) -> None:
    def filled(n: int) -> bool:
        fit, select, held_out = part_sizes(n, *shares)
        return min(fit, select, 1 if own else held_out) >= 1

    if not filled(count):
        needed = _first(filled)
        given = f"held_out = {shares[0]:g}, select = {shares[1]:g}"
        raise InputError(
            f"probes.inputs has {count} probes, which leaves a part empty ({given}): "
            f"give at least {needed}, or other shares."
        )


def _stratified_order(count: int, labels: np.ndarray | None, seed: int) -> np.ndarray:
    """All indices so that each stretch holds every class in about its share.

    Systematic sampling: the r-th of a class's n members, in random order, stands at (r + u)/n
    with one random u for the class.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    draws = random.random(count)
    position = np.empty(count)
    for members in _classes(count, labels):
        rank = np.argsort(np.argsort(draws[members], kind="stable"), kind="stable")
        position[members] = (rank + random.random()) / len(members)
    return np.lexsort((draws, position))


def _classes(count: int, labels: np.ndarray | None) -> list[np.ndarray]:
    if labels is None:
        return [np.arange(count)]
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def parts(probes: Probes, split: Split) -> Parts:
    """The three parts of the probes; their inputs are not read yet."""

    def part(inputs: Inputs, labels: Tensor | None, indices: np.ndarray) -> Part:
        return Part(inputs.take(indices), None if labels is None else labels[indices])

    train = (probes.inputs, probes.labels)
    test = train if probes.test_inputs is None else (probes.test_inputs, probes.test_labels)
    return Parts(part(*train, split.fit), part(*train, split.select), part(*test, split.held_out))


def patches_needed(columns: int, ratio: float = 2.0) -> int:
    """Fit patches that a layer with `columns` weights a unit needs, at least 64.

    `ratio` of them for each constant: with one, least squares meets any target exactly; with two,
    half of the evidence is left to contradict a fit.
    """
    return max(math.ceil(ratio * (columns + 1)), 64)


def check_enough(
    layer: str, columns: int, patches_per_probe: int, split: Split, ratio: float = 2.0
) -> None:
    """Raises InputError, with the probes needed in all, if fit has too few patches for a layer."""
    needed = patches_needed(columns, ratio)
    have = len(split.fit) * patches_per_probe
    if have >= needed:
        return
    count = len(split.fit) + len(split.select) + (0 if split.own else len(split.held_out))
    probes = _first(lambda n: part_sizes(n, *split.shares)[0] * patches_per_probe >= needed)
    raise InputError(
        f"layer {layer}: {count} probes leave {have} patches on fit, but its {columns} weights a "
        f"unit need {needed}: give at least {probes} probes, or lower "
        f"search.patches_per_weight = {ratio:g}."
    )


def _first(enough: Callable[[int], bool]) -> int:
    """The first count of probes that is enough: no part shrinks as the count grows."""
    return bisect.bisect_left(range(1 << 50), True, key=enough)
