"""What probes say of a layer over an earlier bank."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from synth.batches import Inputs
from synth.deep.reach import Reach
from synth.evidence import LayerEvidence, Probes, evidence_of
from synth.layers import Layer

SUFFIX = ":deep"  # of the bank that such units are
RIDGE = 1e-9  # of the mean square of the columns: some may not move at all


def deep_layer(reach: Reach) -> Layer:
    """The units over the bank, as a layer of no weights yet."""
    of = reach.of
    none = np.zeros((of.units, reach.columns), dtype=np.float32)
    return Layer(
        name=f"{of.name}{SUFFIX}",
        source=reach.source,
        in_shape=reach.shape,
        out_shape=of.out_shape,
        geometry=reach.geometry,
        weight=none,
        bias=none[:, 0],
        heads=of.heads,
        affine=False,
    )


def deep_evidence(reach: Reach, probes: Probes, *, seed: int) -> LayerEvidence:
    """Evidence of the units over the bank. Its layer has for weights the affine functions of the
    bank that are nearest to the units' pre-activations."""
    blank = deep_layer(reach)
    parts = (partial(_maps, reach, inputs) for inputs in (probes.fit, probes.select))
    found = evidence_of(blank, *parts, seed=seed, through=reach.pre)
    return replace(found, ranges=replace(found.ranges, layer=_nearest(blank, found)))


def _maps(reach: Reach, inputs: Inputs) -> Iterator[Tensor]:
    """The maps of the bank, a batch at a time."""
    for batch in inputs.batches():
        yield reach.network.record(batch, [reach.source], to_end=False)[reach.source]


def _nearest(layer: Layer, evidence: LayerEvidence) -> Layer:
    gram, cross = evidence.moments.gram[0], evidence.moments.cross
    ridge = RIDGE * float(np.trace(gram)) / len(gram)
    constants = np.linalg.solve(gram + ridge * np.eye(len(gram)), cross)
    return replace(layer, weight=constants[:-1].T, bias=constants[-1])
