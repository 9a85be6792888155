"""Sweeps over the programs of a choice: every unit's constants, in the order of the layers.

A sweep hears what the replacement does on fit, and moves one unit after the other, each beside the
moves before it. What comes of it is heard again, because heads open and shut: a sweep that lowers
nothing is taken back. In the end all units are judged on select as the choice judges them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from grammars.coding import program_bits
from synth.assembly import LayerChoice, Status, UnitChoice, bank_module, source_bits
from synth.choice import Chooser, Point
from synth.fronts import is_short
from synth.joint.constants import Constants, constants_of
from synth.joint.descent import descended
from synth.joint.passing import Claims, passing
from synth.joint.quadratic import quadratic
from synth.joint.signals import Listener, Signal, Signals
from synth.picking import Fronts
from synth.price import priced_probes

SWEEPS = 3

Choices = Sequence[LayerChoice]


@dataclass(frozen=True, eq=False)
class Refiner:
    """Refines the points of a chooser."""

    chooser: Chooser
    seed: int

    def refined(self, point: Point) -> Point:
        """`point` with its constants moved, or as it is where select says that nothing is gained.

        Bits and nats are weighed by the multiplier of the point, as when its programs were chosen.
        """
        found = passing(self.chooser, point, self._swept(point))
        return point if found is None or _price(found) >= _price(point) else found

    def _swept(self, point: Point) -> Choices:
        """The choices after the last sweep that lowers what bits and nats cost on fit.

        At first a nat is worth what the multiplier says; of the softened divergence as much is, in
        all.
        """
        signals = self._heard(point.choices)
        if min(signals.kl, signals.softened) <= 0:
            return point.choices  # nothing is lost
        pay = point.multiplier * signals.kl / signals.softened
        best, choices, least = point.choices, point.choices, math.inf
        for sweep in range(SWEEPS + 1):
            price = source_bits(choices, self.chooser.grammar) + pay * signals.softened
            if price >= least:
                break
            best, least = choices, price
            if sweep < SWEEPS:
                choices = self._sweep(choices, signals, pay)
                signals = self._heard(choices)
        return best

    def _sweep(self, choices: Choices, signals: Signals, pay: float) -> Choices:
        """All units once; `pay` are bits for a nat of the softened divergence."""
        some = next(iter(signals.layers.values())).slopes
        done = torch.zeros(some.shape[:2], dtype=torch.float64)
        return [
            self._layer(fronts, choice, signals.layers[choice.layer.name], done, pay)
            for fronts, choice in zip(self.chooser.fronts, choices, strict=True)
        ]

    def _layer(
        self, fronts: Fronts, choice: LayerChoice, signal: Signal, done: Tensor, pay: float
    ) -> LayerChoice:
        """The units of a layer once; what their moves do to the answers is added to `done`.

        Where prices do not tell all, as behind a jump, nothing moves.
        """
        grammar, layer = self.chooser.grammar, choice.layer
        free = [] if fronts.bound else constants_of(choice, grammar)
        if not free:
            return choice
        claims = Claims(self.chooser, self.chooser.evidence(layer))
        patches, original = layer.geometry.patches(signal.source), self._listener.units[layer.name]
        units = {unit.channel: unit for unit in choice.units}
        for constants in free:
            channel = constants.channel
            costs = quadratic(constants, patches, signal, original[:, channel], done, grammar)
            values = descended(constants, costs, pay, partial(claims.hold, constants))
            moved = self._moved(choice, units[channel], constants, values)
            if moved.bits - units[channel].bits + pay * costs.nats(values) < 0:
                units[channel] = moved
                done += costs.effects @ torch.from_numpy(values - constants.values)
        return replace(choice, units=tuple(units.values()))

    def _moved(
        self, choice: LayerChoice, unit: UnitChoice, constants: Constants, values: np.ndarray
    ) -> UnitChoice:
        """A unit with other constants."""
        program, scope = constants.program_of(values), choice.scope.of(unit.channel)
        bits = program_bits(program, scope, self.chooser.grammar)
        short = is_short(program, bits, len(scope.columns))
        status = Status.PROGRAM if short else Status.ROUNDED
        return replace(unit, program=program, bits=bits, status=status)

    def _heard(self, choices: Choices) -> Signals:
        modules = {c.layer.name: bank_module(c, self.chooser.grammar) for c in choices}
        return self._listener.heard(modules)

    @cached_property
    def _listener(self) -> Listener:
        network = self.chooser.network
        return Listener.of(network, priced_probes(network, self.chooser.probes.fit), self.seed)


def _price(point: Point) -> float:
    return point.bits + point.multiplier * point.kl
