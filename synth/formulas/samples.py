"""What a formula is to reproduce: values, and the inputs that they may come from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from grammars.grammar import Grammar
from grammars.program import Node
from synth.engine import UnitEvidence

BINS = 12  # of equal numbers of samples, by which an input is looked at
INPUTS = 12  # that formulas are made of, at most


@dataclass(frozen=True, eq=False)
class Samples:
    """`inputs` (F, n) and `target` (n,) float64: the values of `taps` (F,) and of a unit."""

    inputs: Tensor
    target: Tensor
    taps: tuple[Node, ...]
    grammar: Grammar

    @staticmethod
    def of(evidence: UnitEvidence) -> "Samples":
        """A unit's activation on fit, over the inputs that tell most of it."""
        every = Samples.over_all(evidence)
        return every.over(every.telling(INPUTS))

    @staticmethod
    def over_all(evidence: UnitEvidence) -> "Samples":
        """A unit's activation on fit, over all its inputs, on replaced sources if there are any."""
        layer, channel = evidence.layer, evidence.channel
        patches = layer.patches if evidence.replaced is None else evidence.replaced
        inputs = patches[layer.fit, layer.layer.part(channel)].T.astype(np.float64)
        target = torch.from_numpy(layer.target[layer.fit, channel])
        return Samples(torch.from_numpy(inputs), target, evidence.scope.taps, evidence.grammar)

    def over(self, rows: np.ndarray) -> "Samples":
        """Over some of the inputs."""
        taps = tuple(self.taps[i] for i in rows)
        return Samples(self.inputs[torch.from_numpy(rows)], self.target, taps, self.grammar)

    def spread(self, count: int) -> "Samples":
        """At most so many samples: evenly by rank of the target, so that rare values stay."""
        if count >= len(self.target):
            return self
        ranked = torch.argsort(self.target, stable=True)
        places = torch.linspace(0, len(ranked) - 1, count).round().long()
        kept = ranked[places].sort().values
        return Samples(self.inputs[:, kept], self.target[kept], self.taps, self.grammar)

    @cached_property
    def variance(self) -> float:
        return float(self.target.var(correction=0))

    def telling(self, count: int) -> np.ndarray:
        """The rows of the inputs that tell most, in order of the rows."""
        return np.array(sorted(self.ranked()[:count]), dtype=np.int64)

    def ranked(self) -> list[int]:
        """The rows of the inputs, those that tell most first.

        An input tells something where the mean of the target, or its variance, differs between
        bins of the input: products of inputs around zero leave all means alike.
        """
        told = [self._told(row) for row in self.inputs]
        return sorted(range(len(told)), key=lambda i: -told[i])

    def _told(self, values: Tensor) -> float:
        if len(values) < 2 * BINS or float(values.min()) == float(values.max()):
            return 0.0
        order = torch.argsort(values, stable=True)
        centred = (self.target - self.target.mean())[order]
        return max(_between(centred), _between(centred**2 - (centred**2).mean()))


def _between(values: Tensor) -> float:
    """The share of the variance of centred values that is between consecutive bins of them."""
    whole = float((values**2).sum())
    parts = values.tensor_split(BINS)
    return float(sum(part.sum() ** 2 / len(part) for part in parts)) / whole if whole else 0.0
