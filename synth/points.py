"""Points of a network's trade-off between bits and faithfulness, kept under keys of their content.

A point depends on the fronts, their prices and what units must hold, and not on what is asked of
the network as a whole: what was weighed for one question answers the next one too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from synth.choice import Chooser, Point
from synth.fingerprint import code_digest
from synth.fronts import Candidate, figures
from synth.keys import content_key
from synth.progress import Tell
from synth.store import Store

if TYPE_CHECKING:
    from synth.job import Job

CHOICE = "choice"  # the kind under which a store keeps points


def kept_points(
    job: "Job", chooser: Chooser, store: Store, progress: Tell
) -> Callable[[float], Point]:
    """`chooser.at`, of which `store` keeps every answer; what it holds is not chosen again."""
    records, layers = job.records, chooser.network.layers
    base, done = _key(chooser), list[float]()

    def at(multiplier: float) -> Point:
        progress("choice", len(done), 0)
        done.append(multiplier)
        key = content_key(base, multiplier)
        known = store.get(CHOICE, key)
        if known is not None:
            return records.read_point(known, layers)
        point = chooser.at(multiplier)
        store.put(CHOICE, key, records.point(point), f"{multiplier:.4g} bits per nat")
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
