"""How long the stages of a run will take: counts from shapes, times constants that were fitted.

Products count by their operations, everything else by constants of one machine that `Speed` scales.
They were fitted on runs of small networks and on a block of GoogLeNet; what cannot be foreseen is
how many candidates of a unit are tried before one passes on replaced sources.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from synth import survey
from synth.joint.refine import SWEEPS
from synth.multiplier import EXPECTED, MOST
from synth.needs import Load, Memory, Place, answers, moments_bytes, priced, sampled
from synth.search_costs import (
    CANDIDATES,
    DOUBLE,
    FLOAT,
    MS,
    NARROW,
    NS,
    US,
    layer_seconds,
    unit_seconds,
)
from synth.speed import Speed

SPREAD = 1.6  # what the whole may differ by, either way
EASY = 0.5  # of the speed of products that convolutions of small maps reach
TRIALS = 1.5  # candidates of a unit that are tried at one multiplier, if most pass
HARD, HARD_WIDE = 4, 2  # times as long where few pass; of wide units most is not trials
STAIRS = 500  # units of a network up to which all points are tried that the search may try
PASSES = 6  # of validation through the network

Seconds = Mapping[str, float]


@dataclass(frozen=True)
class Durations:
    """Seconds of a job's stages on a machine."""

    memory: Memory
    speed: Speed
    budget: int

    def layer(self, place: Place, load: Load) -> Seconds:
        """The stages of one layer that is visited once, without proofs."""
        own = place in self.memory.own
        return {
            "prices": self._costs(place, load) if own and place.searched else 0.0,
            "evidence": self._evidence(place, load),
            "fronts": self._fronts(place, load) if place.searched else 0.0,
            "choice": self._points * self._choose(place, load) if own else 0.0,
        }

    def stages(self, load: Load, *, shuffled: bool) -> Seconds:
        """All stages, in the order in which they come; a shuffled control repeats the search."""
        layers = [self.layer(place, load) for place in self.memory.places]
        found = {name: sum(la[name] for la in layers) for name in ("prices", "evidence")}
        found["prices"] += self._gradients(load)
        found |= {name: sum(la[name] for la in layers) for name in ("fronts", "choice")}
        again = sum(found.values()) if shuffled else 0.0
        proofs = sum(self._proofs(place) for place in self.memory.places if place.searched)
        return found | {
            "proofs": proofs / at_once(load),
            "validation": self._validation(load),
            "controls": again,
        }

    def bounds(self, load: Load, *, shuffled: bool) -> tuple[float, float]:
        """Between what seconds a whole run will lie, as a rule."""
        whole = sum(self.stages(load, shuffled=shuffled).values())
        hard = ((p, HARD if p.layer.fan <= NARROW else HARD_WIDE) for p in self.memory.own)
        more = sum((times - 1) * self.layer(place, load)["choice"] for place, times in hard)
        return whole / SPREAD, (whole + (1 + shuffled) * more) * SPREAD

    @property
    def _points(self) -> int:
        """Choices at one multiplier: few where the divergence is smooth."""
        units = sum(place.layer.units for place in self.memory.own)
        return EXPECTED if units > STAIRS else MOST

    def _evidence(self, place: Place, load: Load) -> float:
        layer, rows = place.layer, sampled(place, load).all
        fit, select = load.fit * place.positions, load.select * place.positions
        blocks, size = survey.blocks_of(layer)
        products = 2 * fit * blocks * (size + 1) ** 2
        products += 2 * (2 * fit + select + rows) * layer.fan * layer.units
        streamed = (28 * fit + 13 * select + 40 * rows) * layer.width
        streamed += (40 * fit + 15 * select + 80 * rows) * layer.units
        files = rows * (FLOAT * layer.width + 2 * DOUBLE * layer.units) + moments_bytes(layer)
        own = self.speed.slowness * NS * (streamed + 3 * files)
        return own + products / self.speed.double + load.walked * self._forward(place)

    def _fronts(self, place: Place, load: Load) -> float:
        layer, rows = place.layer, sampled(place, load)
        unit = unit_seconds(layer, rows, self.budget, self.speed)
        return layer_seconds(layer, self.speed) + layer.units * unit / at_once(load)

    def _gradients(self, load: Load) -> float:
        count, passes = self._priced(load), 1 + answers(self.memory.sizes.outputs)
        return passes * count * sum(map(self._forward, self.memory.own))

    def _costs(self, place: Place, load: Load) -> float:
        """All candidates on the probes that prices are measured on."""
        layer, count = place.layer, self._priced(load)
        numbers = CANDIDATES * count * place.positions
        unit = 4 * MS + layer.fan * 12 * US
        unit += numbers * (10 + answers(self.memory.sizes.outputs)) * NS
        own = layer.units * unit * self.speed.slowness
        products = layer.units * numbers * 2 * layer.width / (EASY * self.speed.single)
        return own + products

    def _choose(self, place: Place, load: Load) -> float:
        return self._pick(place, load) + self._refine(place, load)

    def _pick(self, place: Place, load: Load) -> float:
        """One multiplier: trials of every unit, and the walk on replaced sources."""
        layer, rows = place.layer, sampled(place, load).all
        if not place.searched:
            return load.walked * self._forward(place)
        if layer.fan <= NARROW:
            unit = TRIALS * (2 * MS + rows * (0.35 + 0.008 * layer.fan) * US)
        else:
            unit = 0.5 * MS + layer.fan * 4.5 * US + rows * 0.12 * US
        own = layer.units * unit + rows * layer.width * 10 * NS
        return own * self.speed.slowness + load.walked * self._forward(place)

    def _refine(self, place: Place, load: Load) -> float:
        """All units of a layer, as often as there are sweeps, at one multiplier."""
        if not (self.memory.joint and place.searched):
            return 0.0
        layer, count = place.layer, self._priced(load)
        numbers = count * layer.fan * (answers(self.memory.sizes.outputs) + place.positions)
        unit = 8 * MS * self.speed.slowness + 2 * numbers * layer.fan / self.speed.double
        return SWEEPS * (layer.units * unit + (count + load.walked) * self._forward(place))

    def _proofs(self, place: Place) -> float:
        """Exact arithmetic, and Z3 on two numbers."""
        unit = 15 * MS + place.layer.fan * 15 * US
        return place.layer.units * unit * self.speed.slowness

    def _validation(self, load: Load) -> float:
        patches = sum(p.positions * p.layer.width for p in self.memory.own)
        outside = load.held_out * patches * 12 * NS * self.speed.slowness
        passes = PASSES * load.held_out + load.fit
        return outside + passes * sum(map(self._forward, self.memory.own))

    def _forward(self, place: Place) -> float:
        """A sample through one layer and what stands around it."""
        layer = place.layer
        products = 2 * place.positions * layer.fan * layer.units / (EASY * self.speed.single)
        values = place.positions * layer.units + layer.width * place.positions / 4
        return products + 4 * values * NS * self.speed.slowness

    def _priced(self, load: Load) -> int:
        return priced([p.layer for p in self.memory.own], load)


def at_once(load: Load) -> int:
    """Workers that have a processor each; those of a cluster elsewhere all do."""
    return max(1, load.jobs - load.here + min(load.here, os.cpu_count() or 1))
