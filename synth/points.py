"""Points of a network's trade-off between bits and faithfulness, kept under keys of their content.

A point depends on the fronts, their prices and what units must hold, and not on what is asked of
the network as a whole: what was weighed for one question answers the next one too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synth.choice import Chooser, Point
from synth.fingerprint import code_digest
from synth.fronts import Candidate, figures
from synth.joint.refine import Refiner
from synth.keys import content_key
from synth.progress import Tell
from synth.records import Records
from synth.store import Store

if TYPE_CHECKING:
    from synth.job import Job

CHOICE, JOINT = "choice", "joint refinement"  # the kinds under which a store keeps points


At = Callable[[float], Point]
"""The point at a multiplier."""


def kept_points(job: "Job", chooser: Chooser, store: Store, progress: Tell) -> At:
    """The points of a chooser, of which `store` keeps every one; what it holds is not made again.

    With `criteria.joint` their constants are refined together.
    """
    assembled = assembled_points(job, chooser, store, progress)
    if not chooser.criteria.joint:
        return assembled
    refiner = Refiner(chooser, job.config.run.seed)
    kept = _Kept(job.records, chooser, store, progress, JOINT, refiner.seed)
    return kept.points(lambda multiplier: refiner.refined(assembled(multiplier)))


def assembled_points(job: "Job", chooser: Chooser, store: Store, progress: Tell) -> At:
    """The points as they are chosen, before anything is refined."""
    return _Kept(job.records, chooser, store, progress, CHOICE).points(chooser.at)


@dataclass(frozen=True, eq=False)
class _Kept:
    """Points in a store: what is made of a chooser's fronts is not made again."""

    records: Records
    chooser: Chooser
    store: Store
    progress: Tell
    kind: str
    seed: int | None = None

    def points(self, make: At) -> At:
        """`make`, of which every point is kept."""
        own = [] if self.seed is None else [self.seed]
        base, done = _key(self.chooser), list[float]()

        def at(multiplier: float) -> Point:
            self.progress(self.kind, len(done), 0)
            done.append(multiplier)
            key = content_key(base, multiplier, *own)
            known = self.store.get(self.kind, key)
            if known is not None:
                return self.records.read_point(known, self.chooser.network.layers)
            point = make(multiplier)
            name = f"{multiplier:.4g} bits per nat"
            self.store.put(self.kind, key, self.records.point(point), name)
            return point

        return at


def _key(chooser: Chooser) -> str:
    """A key of all that a point depends on beside its multiplier."""
    criteria, probes, network = chooser.criteria, chooser.probes, chooser.network
    searched = [[figures(unit) for unit in f.units] for f in chooser.fronts]
    prices = [list(f.costs) for f in chooser.fronts]
    kin = [[_kin_figures(queues) for queues in f.kin] for f in chooser.fronts]
    bars = [criteria.max_fvu, criteria.max_error, criteria.nothing, criteria.short]
    inputs = [part.digest() for part in (probes.fit, probes.select)]
    weights = [[la.weight, la.bias] for la in network.layers]
    code = [network.module.code, code_digest()]
    return content_key(searched, prices, kin, bars, inputs, weights, code)


def _kin_figures(queues: Mapping[int, Sequence[tuple[Candidate, float]]]) -> list[object]:
    """What stands for the candidates of a family in a key."""
    return [[c, figures([k for k, _ in own]), [n for _, n in own]] for c, own in queues.items()]
