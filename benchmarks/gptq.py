"""GPTQ-style rounding (Frantar et al. 2022) as a baseline, priced by the coder of programs.

Layer by layer, on the inputs that the layers before it give once they are rounded: all weights of a
layer are rounded in the order of their curvature, and each error is spread over those still to be
rounded, in the metric of all patches of the layer with a hundredth of its mean diagonal added.
Steps are powers of two, as those of programs are, of each unit or of the whole layer; biases are
four times as fine.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from grammars.grammar import Grammar
from synth.assembly import LayerChoice, Status, UnitChoice, bank_module
from synth.batches import Inputs
from synth.engine import weighted_taps, with_head
from synth.layers import Layer
from synth.metric import Metric
from synth.network import Network
from synth.rounding import BIAS_SHIFT, round_columns
from synth.walk import Walk

DAMPING = 0.01  # of the mean diagonal, as in the paper


def gptq(
    network: Network, inputs: Inputs, levels: float, grammar: Grammar, *, common: bool
) -> list[LayerChoice]:
    """The network's units with weights of at least `levels` steps, and less than twice as many, to
    the largest of the unit, or of the layer if `common`. ValueError for a grouped layer."""
    walk, choices = Walk(network, inputs), []
    for layer in network.layers:
        if layer.groups > 1:
            raise ValueError(f"layer {layer.name!r} is grouped: this baseline is of plain layers")
        gram = _gram(layer, walk)
        choices.append(_choice(layer, _rounded(layer, gram, levels, common=common)))
        walk.put(layer.name, bank_module(choices[-1], grammar))
    return choices


def _gram(layer: Layer, walk: Walk) -> np.ndarray:
    """(F+1, F+1): the mean of [x, 1][x, 1]ᵀ over all patches that the layer reads now."""
    total, count = torch.zeros(layer.fan + 1, layer.fan + 1, dtype=torch.float64), 0
    for maps in walk.source(layer.name):
        rows = F.pad(layer.geometry.patches(maps), (0, 1), value=1.0)
        total += (rows.T @ rows).double()
        count += len(rows)
    gram = (total / count).numpy()
    gram[np.diag_indices_from(gram)] += DAMPING * np.trace(gram) / len(gram)
    return gram


def _rounded(layer: Layer, gram: np.ndarray, levels: float, *, common: bool) -> np.ndarray:
    """(U, F+1) weights and biases."""
    own = np.column_stack([layer.weight, layer.bias]).astype(np.float64)
    largest = np.abs(own[:, :-1]).max(1)
    if common:
        largest = np.full_like(largest, largest.max())
    steps = np.exp2(np.floor(np.log2(np.where(largest > 0, largest, 1.0) / levels)))
    elimination = Metric(gram, own[0]).elimination
    return round_columns(elimination, own.T.copy(), steps, steps * 2.0**-BIAS_SHIFT).T


def _choice(layer: Layer, rows: Sequence[np.ndarray] | np.ndarray) -> LayerChoice:
    units = []
    for channel, row in enumerate(rows):
        program = with_head(layer.heads[channel], weighted_taps(layer.scope, row))
        nan = float("nan")
        units.append(UnitChoice(channel, Status.ROUNDED, program, 0, nan, nan, "gptq"))
    return LayerChoice(layer, layer.scope, tuple(units))
