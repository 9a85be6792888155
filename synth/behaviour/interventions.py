"""Interventions: one unit is ablated or rescaled, in original and replacement alike.

If programs are the network's own parts, the outputs of both change alike, which no activation on
data shows (causal abstraction, Geiger et al. 2021).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from synth.assembly import LayerChoice, Status
from synth.batches import Batch
from synth.behaviour.swaps import Interfered
from synth.controls import UnitStatistics
from synth.modules import layer_module
from synth.network import Network
from synth.outputs import as_rows

UNITS = 16  # that are interfered with, drawn among those that programs compute
RESCALED = 2.0
WRITTEN = (Status.PROGRAM, Status.ROUNDED)


@dataclass(frozen=True)
class Intervention:
    """What is done to a unit: it becomes `factor` times itself plus `shift`."""

    layer: str
    channel: int
    kind: str
    factor: float
    shift: float

    def on(self, module: nn.Module) -> nn.Module:
        """The module of the unit's layer, with the unit interfered with."""
        return Interfered(module, [self.channel], self.factor, [self.shift])


@dataclass(frozen=True)
class Effect:
    """How far the outputs of the original move, and how much of it those of the replacement follow:
    `r2` is 1 − Σ(Δreplacement − Δoriginal)² over Σ(Δoriginal − mean)², over probes and outputs;
    None where the original does not move."""

    intervention: Intervention
    moved: float
    missed: float

    @property
    def r2(self) -> float | None:
        return 1 - self.missed / self.moved if self.moved > 0 else None


def drawn(
    choices: Sequence[LayerChoice], statistics: Mapping[str, UnitStatistics], seed: int
) -> Iterator[Intervention]:
    """Units that move and are written as programs, each ablated to its mean and doubled."""
    able = [
        (choice.layer.name, unit.channel)
        for choice in choices
        for unit in choice.units
        if unit.status in WRITTEN and statistics[choice.layer.name].variance[unit.channel] > 0
    ]
    generator = np.random.default_rng(seed)
    places = generator.permutation(len(able))[:UNITS]
    for layer, channel in (able[i] for i in sorted(places)):
        mean = float(statistics[layer].mean[channel])
        yield Intervention(layer, channel, "ablated", 0.0, mean)
        yield Intervention(layer, channel, "rescaled", RESCALED, 0.0)


def effects(
    network: Network,
    modules: Mapping[str, nn.Module],
    interventions: Sequence[Intervention],
    batch: Batch,
) -> list[Effect]:
    """What each intervention does to the outputs for a batch; `modules` are the replacement's."""
    own = {i.layer: layer_module(network.layer(i.layer)) for i in interventions}
    ask = partial(_outputs, network, batch)
    before, after = ask({}), ask(modules)
    found = []
    for intervention in interventions:
        name = intervention.layer
        first = ask({name: intervention.on(own[name])}) - before
        then = ask({**modules, name: intervention.on(modules[name])}) - after
        found.append(Effect(intervention, *moved_and_missed(first, then)))
    return found


def moved_and_missed(original: Tensor, replaced: Tensor) -> tuple[float, float]:
    """Of changes (N, K) of both networks' outputs, how far the original's move, and how much of it
    the replacement's miss."""
    moved = ((original - original.mean(0)) ** 2).sum()
    return float(moved), float(((replaced - original) ** 2).sum())


def _outputs(network: Network, batch: Batch, modules: Mapping[str, nn.Module]) -> Tensor:
    with torch.no_grad():
        return as_rows(network.record(batch, [], modules=modules)["output"]).double().cpu()
