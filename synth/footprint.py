"""The memory that a run is expected to take on this machine, and what to set where it has less."""

import bisect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from synth.engines import load_engine, memory_of
from synth.errors import InputError, Problems, listing
from synth.machine import available, held
from synth.needs import BATCH, GRADIENTS, MAPS, Load, Memory, Need, Place
from synth.sizes import weigh
from synth.splits import patches_needed

if TYPE_CHECKING:
    from synth.job import Job

MIB, GIB = 2**20, 2**30
ON_DEVICE = frozenset({MAPS, GRADIENTS, BATCH})
TOLD = 0.05  # of a peak: smaller parts are not named


@dataclass(frozen=True)
class Peak:
    """The most memory that all processes are expected to hold at once, in bytes, and what for.

    `base` is what this process holds before; `limit` what all may hold, None if nothing says.
    """

    memory: float
    layer: str
    step: str
    parts: Mapping[str, float]
    base: int
    limit: float | None


def check_memory(job: "Job") -> None:
    """Raises InputError, with what to set, if a run is expected to take more than it may."""
    problem = Footprint(job).problem
    if problem:
        raise InputError(problem)


def memory_text(size: float) -> str:
    """Bytes as a person reads them, to about two digits: they are estimates."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"


class Footprint:
    """What a job would hold at each step, on this machine."""

    def __init__(self, job: "Job") -> None:
        self.config, self.load, self.base = job.config, _load(job), held()
        sizes = weigh(job.network, job.parts.fit.inputs)
        budget, engines = job.config.search.budget, _engine_bytes(job)
        joint = job.config.accept.joint
        self.memory = Memory(tuple(_places(job)), sizes, budget, engines, joint)

    @cached_property
    def limit(self) -> float | None:
        """Bytes that all processes may take together; None if nothing says."""
        if given := self.config.run.max_memory_mib:
            return given * MIB
        free = available()
        return None if free is None else free + self.base

    @cached_property
    def peak(self) -> Peak:
        """The step that takes most."""
        most = max(self.memory.needs(self.load), key=self._total)
        total = self._total(most)
        return Peak(total, most.layer, most.step, most.parts, self.base, self.limit)

    def of(self, place: Place) -> float:
        """The most that a step at a layer takes."""
        return self._by_layer[place.layer.name]

    @cached_property
    def _by_layer(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for need in self.memory.needs(self.load):
            found[need.layer] = max(found.get(need.layer, 0.0), self._total(need))
        return found

    @property
    def problem(self) -> str | None:
        """Why the run does not fit, and what to set."""
        peak, given = self.peak, self.config.run.max_memory_mib
        if peak.limit is None or peak.memory <= peak.limit:
            return None
        largest = sorted(peak.parts.items(), key=lambda part: -part[1])
        named = [(name, size) for name, size in largest if size > TOLD * peak.memory]
        parts = ", ".join(
            f"{memory_text(size)} for {name}"
            for name, size in [("what is loaded", peak.base), *named]
        )
        bar = f"run.max_memory_mib is {given}" if given else f"{memory_text(peak.limit)} are there"
        return (
            f"{f'layer {peak.layer}: ' if peak.layer else ''}{peak.step} is expected to take "
            f"{memory_text(peak.memory)} in all ({parts}), but {bar}: {self._advice()}. "
            "If this is too careful, set run.max_memory_mib to what the run may take."
        )

    def _advice(self) -> str:
        """Each thing that is enough if it is done alone; else fewer probes and workers together."""
        found = list(self._alone())
        if not found and self.load.here > 1:
            one = replace(self.load, jobs=1, here=1)
            probes = self._probes(one)
            found = [f"set run.jobs = 1 and give at most {probes:,} probes"] if probes else []
        return ", or ".join(found) or "no fewer probes or workers would do"

    def _alone(self) -> Iterator[str]:
        load = self.load
        jobs = _most(load.here - 1, lambda n: self._fits(replace(load, jobs=n, here=n)))
        if jobs:
            yield f"set run.jobs = {jobs}"
        if probes := self._probes(load):
            yield f"give at most {probes:,} probes"
        if large := self._too_large():
            yield f"leave {listing(large, limit=5)} out by search.layers"

    def _probes(self, load: Load) -> int:
        """The most probes in all that fit and are still enough for every layer; 0 if none are."""
        own = self.config.probes.test_inputs is not None
        count = load.walked + (0 if own else load.held_out)
        most = _most(count - 1, lambda n: self._fits(_scaled(load, n / count)))
        return most if self._enough(_scaled(load, most / count)) else 0

    def _too_large(self) -> list[str]:
        """The layers without whose search the run would fit, if any other is searched then."""
        places, limit = self.memory.places, self.limit or 0.0
        large = [p.layer.name for p in places if p.searched and self.of(p) > limit]
        left = [replace(p, searched=p.searched and p.layer.name not in large) for p in places]
        smaller = replace(self.memory, places=tuple(left))
        return large if any(p.searched for p in left) and self._fits(self.load, smaller) else []

    def _fits(self, load: Load, memory: Memory | None = None) -> bool:
        needs = (memory or self.memory).needs(load)
        return self.limit is None or max(map(self._total, needs)) <= self.limit

    def _enough(self, load: Load) -> bool:
        ratio = self.config.search.patches_per_weight
        searched = (p for p in self.memory.places if p.searched)
        return all(load.fit * p.positions >= patches_needed(p.layer.fan, ratio) for p in searched)

    def _total(self, need: Need) -> float:
        """Bytes of all processes; what is on a device of its own is not here."""
        if self.config.run.device == "cpu":
            return self.base + need.total
        here = {name: size for name, size in need.parts.items() if name not in ON_DEVICE}
        return self.base + replace(need, parts=here).total


def _places(job: "Job") -> Iterator[Place]:
    for layer in job.network.layers:
        yield Place(layer, layer.name, layer.name in job.layers)
    for directions in job.directions:
        yield Place(directions.layer, directions.of.name, True)


def _engine_bytes(job: "Job") -> float:
    """What the dearest of the engines may hold for one unit; those that cannot be had are told
    elsewhere."""
    plugins, problems = job.config.search.plugins, Problems()
    tried = (problems.attempt(load_engine, n, plugins=plugins) for n in job.settings.engines)
    return max((memory_of(engine) for engine in tried if engine), default=0.0)


def _load(job: "Job") -> Load:
    fit, select, held_out = (
        len(p.inputs) for p in (job.parts.fit, job.parts.select, job.parts.held_out)
    )
    workers = job.workers
    here = 0 if workers.scheduler else workers.jobs
    return Load(fit, select, held_out, workers.jobs, here, not workers.here)


def _scaled(load: Load, share: float) -> Load:
    fit, select, held_out = (max(1, int(n * share)) for n in (load.fit, load.select, load.held_out))
    return replace(load, fit=fit, select=select, held_out=held_out)


def _most(most: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `most` that fits, where all below fit too; 0 if 1 does not."""
    return bisect.bisect_left(range(1, most + 1), True, key=lambda n: not fits(n))
