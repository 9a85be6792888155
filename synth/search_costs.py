"""What the linear engine takes for one unit, by the manner in which it searches a layer's units.

Constants were fitted on units of 4 to 4,608 weights and 1,000 to 40,000 patches. The bounds between
the manners are those of `synth.engines.linear`; a test holds them equal.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from synth import survey
from synth.dead_zone import ROWS
from synth.fronts import BLOCK
from synth.layers import Layer
from synth.schedule import CHUNK
from synth.speed import Speed

FLOAT, DOUBLE = 4, 8
NS, US, MS = 1e-9, 1e-6, 1e-3
NARROW, FEW, TELLING = 128, 1e6, 256
CAUTIONS, GRIDS, FINE = 3, 8, 3
ROUNDINGS = 72  # that wide units get from two passes over all their weights,
GROWN = 400  # and from one support of those that tell most after the other
JUDGED = 5  # arrays of the outputs of all candidates that are there at once
PROPOSED = 100  # candidates that are left of the roundings of a wide unit
CANDIDATES = 90  # of a front, as a rule


class Manner(StrEnum):
    """How supports are found: weight by weight, or in steps."""

    EXACT = "exact"
    WIDE = "wide"


@dataclass(frozen=True)
class Rows:
    """Patches that are kept of a layer."""

    fit: int
    select: int

    @property
    def all(self) -> int:
        return self.fit + self.select


def manner_of(layer: Layer) -> Manner:
    """How the units of a layer are searched."""
    exact = layer.fan <= NARROW or layer.units * layer.fan**2 <= FEW
    return Manner.EXACT if exact else Manner.WIDE


def candidates(layer: Layer, budget: int) -> int:
    """How many programs of a unit are judged."""
    if manner_of(layer) is Manner.WIDE:
        return min(budget, PROPOSED)
    sizes = min(layer.fan, 6) + 1 + max(0, math.ceil(math.log(max(layer.fan, 6) / 6, 1.4)))
    return min(budget, CAUTIONS * (sizes * GRIDS + FINE) + 10)


def search_bytes(layer: Layer, rows: Rows, budget: int) -> float:
    """What the search of a unit holds beside the evidence: patches in float64 and their metric."""
    fan, width = layer.fan, layer.width
    patches = DOUBLE * (rows.all * width + rows.fit * layer.units)
    judged = JUDGED * DOUBLE * min(rows.all, BLOCK) * min(CHUNK, candidates(layer, budget))
    if manner_of(layer) is Manner.EXACT:
        gated = rows.fit * (FLOAT * (width + fan) + 2 * DOUBLE * (fan + 1))
        return patches + max(judged, gated + 6 * DOUBLE * (fan + 1) ** 2)
    told, used = min(fan, TELLING), min(rows.fit, ROWS)
    pursued = DOUBLE * (2 * used * told + 2 * told * fan + 4 * GROWN * fan)
    pursued += DOUBLE * survey.blocks_of(layer)[1] ** 2
    if fan <= TELLING:
        return patches + max(judged, pursued)
    rebiased = used * (FLOAT * (width + fan) + 12 * ROUNDINGS)
    kept = 2 * DOUBLE * GROWN * fan  # of the first roundings, while the others are made
    count, size = survey.blocks_of(layer)
    factors = DOUBLE * (2 * count // layer.groups + 3) * (size + 1) ** 2
    return patches + factors + max(judged, pursued, kept + rebiased)


def unit_seconds(layer: Layer, rows: Rows, budget: int, speed: Speed) -> float:
    """One unit: what it takes to propose candidates, and to judge them on all rows."""
    fan, count, used = layer.fan, candidates(layer, budget), min(rows.fit, ROWS)
    products = 2.0 * rows.all * count * fan
    own = rows.all * count * 20 * NS + used * fan * 5 * NS
    if manner_of(layer) is Manner.EXACT:
        products += rows.fit * (fan + 1) ** 2 + 400 * fan**3
        own += 50 * MS + fan * 2.7 * MS
        return own * speed.slowness + products / speed.double
    told = min(fan, TELLING)
    products += (used + fan) * told**2 + 20 * told**3
    own += 80 * MS + told * 0.4 * MS + fan * 0.03 * MS
    if fan <= TELLING:
        return own * speed.slowness + products / speed.double
    products += 2 * ROUNDINGS * survey.blocks_of(layer)[1] * fan
    single = 2 * used * ROUNDINGS * fan / speed.single
    own += used * ROUNDINGS * 10 * NS
    return own * speed.slowness + products / speed.double + single


def layer_seconds(layer: Layer, speed: Speed) -> float:
    """Once in every worker: the inverse of a Cholesky factor for each block and caution."""
    if layer.fan <= TELLING or manner_of(layer) is Manner.EXACT:
        return 0.0
    blocks, size = survey.blocks_of(layer)
    return 2 * blocks * 2 * size**3 / speed.double
