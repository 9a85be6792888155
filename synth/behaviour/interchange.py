"""Interchange: random halves of the units replaced.

Errors of units that cancel only as long as all of them are replaced show when half of them are not.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import nn

from synth.assembly import LayerChoice
from synth.behaviour.swaps import Mixed
from synth.modules import layer_module

DRAWS = 8


def halves(
    choices: Sequence[LayerChoice], modules: Mapping[str, nn.Module], seed: int
) -> Iterator[dict[str, nn.Module]]:
    """Modules of all layers in which a random half of all units are the replacement's."""
    generator = np.random.default_rng(seed)
    own = {c.layer.name: layer_module(c.layer) for c in choices}
    total = sum(len(c.units) for c in choices)
    for _ in range(DRAWS):
        left = iter(generator.permutation(total) < total // 2)
        masks = {c.layer.name: np.array([next(left) for _ in c.units]) for c in choices}
        yield {name: Mixed(own[name], modules[name], mask) for name, mask in masks.items()}
