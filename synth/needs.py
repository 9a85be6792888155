"""How much memory the steps of a run hold, counted from shapes before any of it is done.

The chain holds one layer at a time: what a walk keeps of all probes, the layer's moments, a sample
of patches, and what searching its units takes in every worker. Temporaries are counted as multiples
of the arrays that they are made of; the multiples were counted in the code and checked on runs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from synth import price, survey, validation
from synth.evidence import kept_rows
from synth.layers import Layer
from synth.search_costs import CANDIDATES, DOUBLE, FLOAT, Rows, search_bytes
from synth.sizes import Sizes

WORKER = 120 * 2**20  # a process that has loaded the package, without what it shares
REST = 60 * 2**20  # code that is loaded on the way
SLACK = 1.3  # freed memory is not given back at once: so much more was measured

MAPS, GRADIENTS, MOMENTS = "maps of all probes", "gradients", "moments"
SAMPLE, SEARCH, PROGRAMS = "sampled patches", "search of units", "programs"
BATCH, OWN = "one batch", "what engines hold of their own"


@dataclass(frozen=True)
class Place:
    """A layer to be visited, where a walk stands before the network's layer `at`."""

    layer: Layer
    at: str
    searched: bool

    @property
    def positions(self) -> int:
        """Patches of one sample."""
        return self.layer.out_shape[1] * self.layer.out_shape[2]


@dataclass(frozen=True)
class Load:
    """Probes of each part, and how many units are searched at once: `here` of them on this machine,
    in `processes` of their own or in that of the run."""

    fit: int
    select: int
    held_out: int
    jobs: int = 1
    here: int = 1
    processes: bool = False

    @property
    def walked(self) -> int:
        return self.fit + self.select


@dataclass(frozen=True)
class Need:
    """Bytes that one step holds at a layer, by what they are for."""

    layer: str
    step: str
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return REST + SLACK * sum(self.parts.values())


def sampled(place: Place, load: Load) -> Rows:
    """Uniform patches, and on fit the extremes of each unit that are not among them."""
    layer, kept = place.layer, kept_rows(place.layer)
    fit, select = load.fit * place.positions, load.select * place.positions
    extremes = min(2 * survey.EXTREMES * layer.units, survey.extreme_rows(layer))
    extra = min(round(extremes * (1 - kept / fit)), fit - kept) if fit > kept else 0
    return Rows(min(fit, kept) + extra, min(select, kept))


def priced(layers: Sequence[Layer], load: Load) -> int:
    """Probes that prices are measured on."""
    numbers = price.CLASSES * sum(math.prod(la.out_shape) for la in layers)
    return min(load.fit, price.PROBES, max(price.LEAST, price.HELD // numbers))


def answers(outputs: int) -> int:
    """Answers whose gradients are held."""
    return max(outputs, 2) if outputs <= price.CLASSES else price.DRAWS


@dataclass(frozen=True)
class Memory:
    """What the steps of a run hold beside what the process holds before it.

    `places` are visited in order; those whose layer is the network's own also in choice. `engines`
    are the bytes that the dearest engine may hold for a unit beside the evidence. With `joint`,
    constants are refined together behind every choice.
    """

    places: tuple[Place, ...]
    sizes: Sizes
    budget: int
    engines: float = 0.0
    joint: bool = False

    def needs(self, load: Load) -> Iterator[Need]:
        """Every step at every layer; the largest is the peak of the run."""
        yield self._gradients(load)
        programs, last, priced = 0.0, 0.0, 0.0
        for place, after in zip(self.places, [*self.places[1:], None], strict=True):
            yield self._survey(place, load, programs, last)
            yield self._sample(place, load, programs, last)
            if place.searched:
                programs += place.layer.units * program_bytes(place.layer)
                yield self._search(place, load, programs, self._beside(place, after, load, priced))
                yield self._prices(place, load, programs)
                priced = self._priced_batch(place, load)
            last = held_bytes(place, sampled(place, load))  # let go when the next one is there
        for place in self.own:
            yield self._choice(place, load, programs)
        yield self._validation(load)

    def _gradients(self, load: Load) -> Need:
        """Each answer's gradients are stacked once more; a backward pass keeps all values."""
        batch = 2 * self._priced(load) * self.sizes.every
        return Need("", "gradients", {GRADIENTS: 2 * self._slopes(load), BATCH: batch})

    def _survey(self, place: Place, load: Load, programs: float, last: float) -> Need:
        parts = self._surveyed(place, load) | {SAMPLE: last}
        if load.jobs > 1:  # select is read beside fit
            parts[BATCH] += self._chunk(place, load.select)
        return self._at(place, load, "moments of patches", programs, parts)

    def _surveyed(self, place: Place, load: Load) -> dict[str, float]:
        batch = max(self._chunk(place, load.fit), self._moving)
        return {MOMENTS: 2 * moments_bytes(place.layer), BATCH: batch}

    def _chunk(self, place: Place, probes: int) -> float:
        """The patches of some probes that are read at once, with the units there."""
        layer = place.layer
        numbers = max(survey.CHUNK_FLOATS, place.positions * layer.width)
        numbers = min(numbers, place.positions * layer.width * probes)
        rows = numbers / layer.width
        return numbers * (2 * FLOAT + DOUBLE) + 6 * DOUBLE * rows * layer.units

    def _sample(self, place: Place, load: Load, programs: float, last: float) -> Need:
        parts = self._taken(place, load)
        parts[SAMPLE] += last
        return self._at(place, load, "sample of patches", programs, parts)

    def _taken(self, place: Place, load: Load) -> dict[str, float]:
        layer, rows = place.layer, sampled(place, load).all
        patches = rows * (2 * FLOAT + DOUBLE) * layer.width + 3 * DOUBLE * rows * layer.units
        return {MOMENTS: 2 * moments_bytes(layer), SAMPLE: patches}

    def _beside(self, place: Place, after: Place | None, load: Load, priced: float) -> float:
        """What is done while workers search a layer: `priced` is for the programs of the one before
        it; then the evidence of the one `after` it is gathered, for which the walk has gone on."""
        if not load.processes or after is None:
            return priced if load.processes else 0.0
        steps = self._surveyed(after, load), self._taken(after, load)
        more = max(0.0, self.sizes.kept[after.at] - self.sizes.kept[place.at])
        return max(priced, load.walked * more + max(sum(step.values()) for step in steps))

    def _search(self, place: Place, load: Load, programs: float, beside: float) -> Need:
        rows = sampled(place, load)
        unit = search_bytes(place.layer, rows, self.budget) + (WORKER if load.processes else 0)
        parts = self._here(place, rows) | {
            SEARCH: load.here * unit,
            OWN: load.here * self.engines,
            BATCH: beside,
        }
        return self._at(place, load, "search of units", programs, parts)

    def _prices(self, place: Place, load: Load, programs: float) -> Need:
        """What a front costs, unit by unit; workers wait, with what they keep of the layer."""
        rows = sampled(place, load)
        kept = WORKER + rows.all * DOUBLE * place.layer.width if load.processes else 0.0
        batch = {SEARCH: load.here * kept, BATCH: self._priced_batch(place, load)}
        parts = self._here(place, rows) | batch
        return self._at(place, load, "prices of programs", programs, parts)

    def _priced_batch(self, place: Place, load: Load) -> float:
        layer, count = place.layer, self._priced(load)
        position = FLOAT * place.positions
        numbers = 2 * layer.width + 6 * CANDIDATES  # at a position
        siblings = count * (self.sizes.every + position * 4 * layer.units)
        return siblings + min(count, price.AT_ONCE) * position * numbers

    def _choice(self, place: Place, load: Load, programs: float) -> Need:
        layer, rows = place.layer, sampled(place, load)
        replaced = rows.all * 2 * FLOAT * layer.width
        judged = rows.select * DOUBLE * (2 * layer.width + 6 * layer.units)
        here = self._here(place, rows)
        moving = load.jobs * self._moving + self.joint * self._refined(place, load)
        parts = here | {SAMPLE: here[SAMPLE] + replaced + judged, BATCH: moving}
        return self._at(place, load, "choice of programs", programs, parts)

    def _refined(self, place: Place, load: Load) -> float:
        """The layer's patches, what a unit's constants do to each answer, and a batch of values for
        a backward pass; the gradients themselves take the place of those that prices had."""
        layer, count = place.layer, self._priced(load)
        patches = FLOAT * place.positions * layer.width
        effects = 2 * DOUBLE * layer.fan * (answers(self.sizes.outputs) + 2 * place.positions)
        return count * (patches + effects + 2 * self.sizes.every)

    def _validation(self, load: Load) -> Need:
        """Batches are made so large that they take HELD numbers, if there are so many probes."""
        layers = [p.layer for p in self.own]
        maps = sum(math.prod(la.in_shape) + math.prod(la.out_shape) for la in layers)
        patches = max((la.width * math.prod(la.out_shape[1:]) for la in layers), default=0)
        sample = FLOAT * (2 * maps + patches)
        count = min(load.held_out, load.jobs * max(1, validation.HELD * FLOAT // sample))
        return Need("", "validation", {BATCH: count * (sample + self.sizes.every)})

    def _here(self, place: Place, rows: Rows) -> dict[str, float]:
        """The evidence of a layer in the process of the run."""
        numbers = FLOAT * place.layer.width + 2 * DOUBLE * place.layer.units
        return {MOMENTS: moments_bytes(place.layer), SAMPLE: rows.all * numbers}

    @property
    def _moving(self) -> float:
        """A batch on its way to the next layer: a few of the largest values at once."""
        return 3 * self.sizes.batch * self.sizes.largest

    def _at(
        self, place: Place, load: Load, step: str, programs: float, parts: Mapping[str, float]
    ) -> Need:
        kept = {
            MAPS: load.walked * self.sizes.kept[place.at],
            GRADIENTS: self._slopes(load),
            PROGRAMS: programs,
        }
        return Need(place.layer.name, step, kept | dict(parts))

    def _slopes(self, load: Load) -> float:
        """Gradients of every answer, and the maps of the layers and of their sources."""
        layers = [p.layer for p in self.own]
        sources = {la.source: math.prod(la.in_shape) for la in layers}
        numbers = (answers(self.sizes.outputs) + 1) * sum(math.prod(la.out_shape) for la in layers)
        return FLOAT * self._priced(load) * (numbers + sum(sources.values()))

    def _priced(self, load: Load) -> int:
        return priced([p.layer for p in self.own], load)

    @cached_property
    def own(self) -> list[Place]:
        """The layers of the network itself."""
        return [p for p in self.places if p.layer.name == p.at]


def held_bytes(place: Place, rows: Rows) -> float:
    """The sample of a layer, with its patches in float64 too."""
    return rows.all * ((FLOAT + DOUBLE) * place.layer.width + 2 * DOUBLE * place.layer.units)


def moments_bytes(layer: Layer) -> int:
    """The Gram matrix in blocks, and the products with the units."""
    count, size = survey.blocks_of(layer)
    return DOUBLE * (count * (size + 1) ** 2 + (layer.fan + 1) * layer.units)


def program_bytes(layer: Layer) -> int:
    """The front of one unit: about fifteen times its weights in terms."""
    return 60_000 + 350 * layer.fan
