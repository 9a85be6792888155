"""Choice: one point on every front, by price, layer by layer on replaced sources.

A candidate costs bits, and nats of changed answers (`synth.price`); one multiplier, bits per nat,
weighs them over the whole network (`synth.multiplier` searches for it). Layers are chosen in order,
each program re-fitted to the original activations on the replaced sources; both its FVUs must pass,
and its bound over the envelope must keep the claim ε fixed before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from grammars.coding import known_bits
from grammars.grammar import Grammar
from synth.assembly import LayerChoice, bank_module, opaque_layer
from synth.engine import Engine
from synth.evidence import LayerEvidence, Probes, Walks
from synth.layers import Layer
from synth.network import Network
from synth.outputs import agreement, as_rows, kl_divergence, run_batches
from synth.picking import Criteria, Fronts, Picker
from synth.unread import without_unread


@dataclass(frozen=True, eq=False)
class Point:
    """A choice for all layers at one multiplier, and what select says of it."""

    multiplier: float
    choices: tuple[LayerChoice, ...]
    bits: int
    kl: float
    agreement: float

    @property
    def kept(self) -> int:
        """The bits of units that keep their weights."""
        units = (unit for choice in self.choices for unit in choice.units)
        return sum(unit.bits for unit in units if unit.program is None)

    @property
    def spoken(self) -> int:
        """The bits of programs alone: what is opaque costs the same in every choice."""
        return self.bits - self.kept

    def accepted(self, criteria: Criteria) -> bool:
        return self.kl <= criteria.max_kl and self.agreement >= criteria.min_agreement


@dataclass(frozen=True, eq=False)
class Chooser:
    """Everything that a choice at one multiplier depends on.

    `evidence` reads what is known of a layer, which is not held here: layers come one by one.
    """

    network: Network
    fronts: tuple[Fronts, ...]
    evidence: Callable[[Layer], LayerEvidence]
    probes: Probes
    criteria: Criteria
    grammar: Grammar
    engines: Mapping[str, Engine]

    def at(self, multiplier: float) -> Point:
        """The network's programs at `multiplier` bits per nat."""
        walks, choices = Walks(self.network, self.probes), []
        spoken = [i for i, fronts in enumerate(self.fronts) if any(fronts.units)]
        for i, fronts in enumerate(self.fronts):
            module = None
            if i in spoken:
                choices.append(self._choice(fronts, walks, multiplier, first=i == spoken[0]))
                module = bank_module(choices[-1], self.grammar)
            else:
                choices.append(opaque_layer(fronts.layer))
            walks.select.put(fronts.layer.name, module)
            if spoken and i < spoken[-1]:  # behind the last layer that is chosen nobody reads fit
                walks.fit.put(fronts.layer.name, module)
        return self.judged(multiplier, choices, as_rows(walks.select.output()).float().cpu())

    def _choice(
        self, fronts: Fronts, walks: Walks, multiplier: float, *, first: bool
    ) -> LayerChoice:
        """The choice of the layer that the walks stand before; the first reads its own sources."""
        evidence = self.evidence(fronts.layer)
        replaced = None if first else walks.patches(fronts.layer, evidence.sample)
        picker = Picker(fronts, evidence, replaced, self.criteria, self.grammar, self.engines)
        return picker.choice(multiplier)

    def judged(
        self, multiplier: float, choices: Sequence[LayerChoice], outputs: torch.Tensor
    ) -> Point:
        read = without_unread(self.network, choices, self.grammar)
        return Point(
            multiplier=multiplier,
            choices=tuple(read),
            bits=_bits(read, self.grammar),
            kl=float(kl_divergence(self._original, outputs).mean()),
            agreement=float(agreement(self._original, outputs)),
        )

    @cached_property
    def _original(self) -> torch.Tensor:
        return run_batches(self.network.module, self.probes.select, pick=self.network.judge)


def _bits(choices: Sequence[LayerChoice], grammar: Grammar) -> int:
    """The length of the stream, from what is known of each unit."""
    pairs = ((c.kept(u), u.bits) for c in choices for u in c.units)
    families = sum(len(c.families) for c in choices)
    return known_bits(pairs, grammar, families=families, layers=len(choices))
