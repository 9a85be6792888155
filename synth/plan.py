"""The plan of a run: what would be searched and what it would take, before any of it is done.

Everything is counted from shapes (`synth.needs`, `synth.durations`), so a plan takes a few seconds
whatever the run takes, and nothing is written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synth.durations import Durations
from synth.footprint import Footprint, Peak
from synth.layers import Geometry, Shape
from synth.needs import Place
from synth.reading import Opaque
from synth.speed import measure
from synth.splits import patches_needed

if TYPE_CHECKING:
    from synth.job import Job


@dataclass(frozen=True)
class LayerPlan:
    """One layer, or the directions of one: geometry, evidence, bytes at its peak and seconds.

    A unit has `weights`, the bias aside; `patches` are those of fit. `source` is the bank it reads.
    """

    name: str
    source: str
    searched: bool
    units: int
    weights: int
    geometry: Geometry
    groups: int
    in_shape: Shape
    out_shape: Shape
    patches_needed: int
    patches: int
    memory: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What a run would do; `dataclasses.asdict` makes it JSON.

    `probes` are the sizes of the parts. `stages` are expected seconds, and `seconds` the bounds of
    their sum. `problems` are those for which the run would not start.
    """

    network: str
    out: str
    jobs: int
    probes: Mapping[str, int]
    layers: tuple[LayerPlan, ...]
    opaque: tuple[Opaque, ...]
    memory: Peak
    stages: Mapping[str, float]
    seconds: tuple[float, float]
    problems: tuple[str, ...]


def plan_of(job: "Job", *, problems: Iterable[str] = ()) -> Plan:
    """The plan of a job of which some problems may be known already; on this machine."""
    config, footprint = job.config, Footprint(job)
    load, memory = footprint.load, footprint.memory
    durations = Durations(memory, measure(job.grammar), config.search.budget)
    shuffled = "shuffled" in config.run.controls
    too_large = footprint.problem
    return Plan(
        network=config.network.source,
        out=str(config.out),
        jobs=config.run.jobs,
        probes={"fit": load.fit, "select": load.select, "held_out": load.held_out},
        layers=tuple(_layer(job, place, footprint, durations) for place in memory.places),
        opaque=job.network.opaque,
        memory=footprint.peak,
        stages=durations.stages(load, shuffled=shuffled),
        seconds=durations.bounds(load, shuffled=shuffled),
        problems=(*problems, *([too_large] if too_large else [])),
    )


def _layer(job: "Job", place: Place, footprint: Footprint, durations: Durations) -> LayerPlan:
    layer = place.layer
    return LayerPlan(
        name=layer.name,
        source=layer.source,
        searched=place.searched,
        units=layer.units,
        weights=layer.fan,
        geometry=layer.geometry,
        groups=layer.groups,
        in_shape=layer.in_shape,
        out_shape=layer.out_shape,
        patches_needed=patches_needed(layer.fan, job.config.search.patches_per_weight),
        patches=footprint.load.fit * place.positions,
        memory=footprint.of(place),
        seconds=sum(durations.layer(place, footprint.load).values()),
    )
