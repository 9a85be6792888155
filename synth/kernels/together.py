"""The chains of many units at once, for a device that is quick only where there is much to do.

What is found of a unit is what it would be found by itself, but for the rounding of the device.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, takewhile
from typing import Any

import numpy as np

from synth.kernels.numbers import host, joined
from synth.kernels.problem import Chains, Problem
from synth.kernels.search import STARTS, Grown, free_mixes, grow

NUMBERS = 2**25  # of one array of slopes, at most: a few such are held at once


def grown_together(
    problems: Sequence[Problem], longest: int, seed: int, xp: Any
) -> dict[str, np.ndarray]:
    """The chains of `grow` of U units as arrays by name, with a first axis of units, for `regrown`.

    Of each length as many as all units have, best first: `kernel_forms_K` (U, B, K),
    `kernel_values_K` (U, B, K, p) and `kernel_losses_K` (U, B).
    """
    size = _at_once(problems[0])
    parts = [problems[i : i + size] for i in range(0, len(problems), size)]
    packed = [[*_packed(Problem.together(part, xp), longest, seed)] for part in parts]
    result = {}
    for length, of_parts in enumerate(zip(*packed, strict=True), 1):
        least = min(len(fields["losses"][0]) for fields in of_parts)
        for name in of_parts[0]:
            cut = [fields[name][:, :least] for fields in of_parts]
            result[f"kernel_{name}_{length}"] = joined(cut)
    return result


def regrown(problem: Problem, arrays: Mapping[str, np.ndarray]) -> Iterator[Grown]:
    """The chains of one unit, by length, from its rows of the arrays."""
    for length in takewhile(lambda k: f"kernel_forms_{k}" in arrays, count(1)):
        forms, values, losses = (
            arrays[f"kernel_{name}_{length}"] for name in ("forms", "values", "losses")
        )
        mixes = free_mixes(problem, len(forms), length)
        yield Grown(Chains(forms, values, problem.movable[forms], mixes), losses)


def _at_once(problem: Problem) -> int:
    """How many units are fitted at once."""
    starts = len(problem.forms) * STARTS[0]
    return max(1, NUMBERS // (starts * problem.size * problem.root.shape[-2]))


def _packed(problem: Problem, longest: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
    for grown in grow(problem, longest, seed):
        chains, own = grown.chains, (problem.units, -1)
        yield {
            "forms": chains.forms.reshape(*own, chains.forms.shape[1]),
            "values": host(chains.values).reshape(*own, *chains.values.shape[1:]),
            "losses": grown.losses.reshape(own),
        }
