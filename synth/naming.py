"""Readable names of units, from what their programs say: `edge_45`, `dark_spot`, `curve_120_r6`.

A unit is called after a kernel that makes most of its weights; where no kernel does, it keeps the
name of its layer and the number of its channel. Equal names are numbered in the order of layers and
channels, so that the same programs have the same names.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import count

import numpy as np

from grammars.grammar import Grammar
from grammars.names import Names
from grammars.program import Node, terms_of
from grammars.scope import COMMON
from grammars.siblings import pre_of
from synth.assembly import LayerChoice, UnitChoice
from synth.kernels.slots import Slots, slots_of

MOST = 0.6  # of a unit's squared weights, that the kernel makes which it is called after
WORDS = {"gaussian": "spot", "centre_surround": "spot", "difference_of_gaussians": "spot"}
SIGNED = {"spot", "bar", "line", "patch"}  # of which there are light ones and dark ones


def readable_names(
    choices: Sequence[LayerChoice], grammar: Grammar, taken: Collection[str]
) -> dict[tuple[str, int], str]:
    """Names for those (layer, channel) that have one, all different and none of `taken`."""
    found: dict[tuple[str, int], str] = {}
    used = set(taken)
    for choice in choices:
        for unit in choice.units:
            word = _word(unit, choice, grammar)
            if word:
                first = 1 if word in taken else 2
                name = next(n for n in _numbered(word, first) if n not in used)
                used.add(name)
                found[choice.layer.name, unit.channel] = name
    return found


def names_given(
    choices: Sequence[LayerChoice], names: Names, grammar: Grammar
) -> dict[tuple[str, int], str]:
    """Names for units that have one and for common values, beside `names` of layer and channel."""
    taken = {*names, *names.stems, *grammar}
    units = readable_names(choices, grammar, taken)
    return units | common_names(choices, names, {*taken, *units.values()})


def common_names(
    choices: Sequence[LayerChoice], names: Names, taken: Collection[str]
) -> dict[tuple[str, int], str]:
    """Names for the common values of layers, after the layer and the kernel or operation that they
    are: `conv1_gabor_1`, `fc1_sum_2`; all different and none of `taken`."""
    found: dict[tuple[str, int], str] = {}
    used = set(taken)
    for choice in choices:
        bank = choice.layer.name
        for number, value in enumerate(choice.common.values):
            word = value.args[0].op if value.op == "conv" else value.op
            stem = f"{names.stem(bank)}_{'sum' if word == 'linear' else WORDS.get(word, word)}"
            name = next(n for n in (f"{stem}_{i}" for i in count(1)) if n not in used)
            used.add(name)
            found[f"{bank}{COMMON}", number] = name
    return found


def _word(unit: UnitChoice, choice: LayerChoice, grammar: Grammar) -> str | None:
    """What a unit looks for; None for what no kernel says."""
    if unit.program is None:
        return None
    pre = pre_of(unit.program, grammar)
    if not any(atom.op == "conv" for _, atom in terms_of(pre)[0]):
        return None
    found = slots_of(pre, choice.scope.of(unit.channel), grammar)
    if found is None:
        return None
    slots, constants = found
    parts = slots.columns * constants[:-1]
    kernel, share = _strongest(slots, parts)
    if kernel is None or share < MOST:
        return None
    sign = sum(c for c, p in zip(constants[:-1], slots.places, strict=True) if p.kernel == kernel)
    return _called(kernel, _colour(slots, kernel), dark=bool(sign < 0))


def _strongest(slots: Slots, parts: np.ndarray) -> tuple[Node | None, float]:
    """The kernel that makes most of the weights (F, n), and its share of their squares."""
    whole = float((parts.sum(1) ** 2).sum())
    sizes: dict[Node | None, float] = {}
    for kernel in dict.fromkeys(place.kernel for place in slots.places):
        own = [i for i, place in enumerate(slots.places) if place.kernel == kernel]
        sizes[kernel] = float((parts[:, own].sum(1) ** 2).sum())
    best = max(sizes, key=lambda kernel: sizes[kernel])
    return best, sizes[best] / whole if whole else 0.0


def _colour(slots: Slots, kernel: Node) -> str:
    """The axis that a kernel is over, unless it is that of light."""
    sources = {place.source.op for place in slots.places if place.kernel == kernel}
    (word, *more) = sorted(sources)
    return "" if more or word in ("tap", "luminance") else f"{word}_"


def _called(kernel: Node, colour: str, *, dark: bool) -> str:
    params = {name: float(value) for name, value in kernel.params}  # type: ignore[arg-type]
    word = WORDS.get(kernel.op, kernel.op)
    shade = "dark_" if dark and word in SIGNED else ""
    angle = f"_{params['angle']:.0f}" if "angle" in params else ""
    radius = f"_r{params['radius']:.0f}" if "radius" in params else ""
    return f"{colour}{shade}{word}{angle}{radius}"


def _numbered(word: str, first: int) -> Iterator[str]:
    """The word, and then numbered with a letter before: a number alone would be another angle."""
    yield word
    yield from (f"{word}_n{number}" for number in count(first))
