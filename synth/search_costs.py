"""What the linear engine takes for one unit, by the manner in which it searches a layer's units.

Constants were fitted on units of 4 to 4,608 weights and 1,000 to 40,000 patches. The bounds between
the manners are those of `synth.engines.linear`; a test holds them equal.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from synth import survey
from synth.dead_zone import ROWS
from synth.fronts import BLOCK, CHUNK
from synth.layers import Layer
from synth.speed import Speed

FLOAT, DOUBLE = 4, 8
NS, US, MS = 1e-9, 1e-6, 1e-3
NARROW, FEW, THIN = 128, 4e6, 1e10
CAUTIONS, GRIDS, FINE = 3, 8, 3
ROUNDINGS = 72  # that the widest units get from two passes
GROWN = 340  # and those of a layer of fewer weights, from one support after the other
JUDGED = 5  # arrays of the outputs of all candidates that are there at once
PROPOSED = 45, 80  # candidates that are left of roundings, for the widest units and others
CANDIDATES = 45  # of a front, as a rule


class Manner(StrEnum):
    """How supports are found: weight by weight, in steps, or by the metric of the whole layer."""

    EXACT = "exact"
    THIN = "thin"
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
    if layer.fan <= NARROW or layer.units * layer.fan**2 <= FEW:
        return Manner.EXACT
    return Manner.THIN if layer.units * layer.fan**3 <= THIN else Manner.WIDE


def candidates(layer: Layer, budget: int) -> int:
    """How many programs of a unit are judged."""
    manner = manner_of(layer)
    if manner is not Manner.EXACT:
        return min(budget, PROPOSED[manner is Manner.THIN])
    sizes = min(layer.fan, 6) + 1 + max(0, math.ceil(math.log(max(layer.fan, 6) / 6, 1.4)))
    return min(budget, CAUTIONS * (sizes * GRIDS + FINE) + 10)


def search_bytes(layer: Layer, rows: Rows, budget: int) -> float:
    """What the search of a unit holds beside the evidence: patches in float64 and their metric."""
    fan, width = layer.fan, layer.width
    patches = DOUBLE * (rows.all * width + rows.fit * layer.units)
    judged = JUDGED * DOUBLE * min(rows.all, BLOCK) * min(CHUNK, candidates(layer, budget))
    gated = (
        rows.fit * (FLOAT * (width + fan) + 2 * DOUBLE * (fan + 1)) + 6 * DOUBLE * (fan + 1) ** 2
    )
    many = GROWN if manner_of(layer) is Manner.THIN else ROUNDINGS
    rebiased = ROWS * (FLOAT * (width + fan) + 12 * many) + 4 * DOUBLE * many * fan
    if manner_of(layer) is Manner.EXACT:
        return patches + max(judged, gated)
    if manner_of(layer) is Manner.THIN:
        return patches + max(judged, gated, rebiased)
    count, size = survey.blocks_of(layer)
    factors = DOUBLE * (2 * count // layer.groups + 3) * (size + 1) ** 2
    return patches + factors + max(judged, rebiased)


def unit_seconds(layer: Layer, rows: Rows, budget: int, speed: Speed) -> float:
    """One unit: what it takes to propose candidates, and to judge them on all rows."""
    fan, count, used = layer.fan, candidates(layer, budget), min(rows.fit, ROWS)
    products = 2.0 * rows.all * count * fan
    own = rows.all * count * 20 * NS + used * fan * 5 * NS
    single = 0.0
    match manner_of(layer):
        case Manner.EXACT:
            products += CAUTIONS * rows.fit * (fan + 1) ** 2 + 400 * fan**3
            own += 50 * MS + fan * 2.7 * MS
        case Manner.THIN:
            products += rows.fit * (fan + 1) ** 2 + 10 * fan**3
            single += 2 * used * GROWN * fan
            own += 60 * MS + fan * 0.5 * MS + used * GROWN * 10 * NS
        case Manner.WIDE:
            products += 2 * ROUNDINGS * survey.blocks_of(layer)[1] * fan
            single += 2 * used * ROUNDINGS * fan
            own += 20 * MS + fan * 0.06 * MS + used * ROUNDINGS * 10 * NS
    return own * speed.slowness + products / speed.double + single / speed.single


def layer_seconds(layer: Layer, speed: Speed) -> float:
    """Once in every worker: the inverse of a Cholesky factor for each block and caution."""
    if manner_of(layer) is not Manner.WIDE:
        return 0.0
    blocks, size = survey.blocks_of(layer)
    return 2 * blocks * 2 * size**3 / speed.double
