"""The whole chain on one page: network → probes → fronts → choice → proofs → validation → files."""

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from synth.assembly import LayerChoice, source_bits
from synth.backends import connected
from synth.choice import Chooser, Point
from synth.common.choose import with_common
from synth.common.records import names_in, read_common
from synth.deep.search import DeepPrograms, search_deep
from synth.direction_search import DirectionPrograms, search_directions
from synth.emission import emit, save_weights
from synth.errors import InputError
from synth.evidence import Ranges, gather
from synth.files import write_atomic
from synth.folder import DEEP
from synth.footprint import check_memory
from synth.job import Job
from synth.leftovers import working
from synth.multiplier import search_points
from synth.naming import names_given
from synth.network import Network
from synth.picking import Criteria
from synth.points import assembled_points, kept_points
from synth.preference import best_of
from synth.prepared import prepared
from synth.progress import Tell
from synth.proofs import UnitProof, save_certificates, settled
from synth.schedule import EngineTally
from synth.search import UnitFailure
from synth.spread import search_curve
from synth.stopwatch import Stopwatch
from synth.store import FRONT, Store
from synth.threads import numeric_threads
from synth.unmet import check_met
from synth.validation import Validation

Progress = Tell
Choose = Callable[[Callable[[float], Point], Criteria], tuple[Point, ...]]
"""Points of a network, the chosen one last, from what gives one at a multiplier."""


@dataclass(frozen=True, eq=False)
class Searched:
    """What is known of one network's layers in the end, and the choices among their fronts.

    Of the points that were not chosen only the figures are kept. `failures` are the units that
    no worker found a front of: they stay opaque; or families for. `engines` is what was done for
    the others. `directions` are searched beside the layers, and nothing is chosen by them; nor by
    `deep`, programs over an earlier bank. `nats` is the price of each unit, by layer, and
    `assembled` the chosen point before its constants were refined together, if they were.
    """

    ranges: dict[str, Ranges]
    points: tuple[Point, ...]
    failures: tuple[UnitFailure, ...] = ()
    engines: EngineTally = field(default_factory=EngineTally)
    directions: tuple[DirectionPrograms, ...] = ()
    deep: tuple[DeepPrograms, ...] = ()
    nats: Mapping[str, Sequence[float]] = field(default_factory=dict)
    assembled: Point | None = None

    @property
    def point(self) -> Point:
        return self.points[-1]


def run(job: Job, *, progress: Progress = lambda *_: None) -> dict[str, object]:
    """Do the whole job into its run folder and return the summary that is written there.

    What the folder's store already holds is not done again. Raises InputError where the machine
    has not the memory that it is expected to take, where the folder belongs to another run or a
    process works there, `Unmet` where no choice is as was asked, and `Stopped` on a full disk.
    """
    from synth.summary import summarise

    check_memory(job)
    config, watch = job.config, Stopwatch()
    units = {la.name: la.units for la in job.network.layers if la.name in job.layers}
    threads = numeric_threads(config.run.jobs)
    with working(config.out), connected(job.workers), Store(config.out) as store, threads:
        store.claim_identity(job.digest, job.description, units=units)
        choose = search_points if job.asked is None else search_curve
        searched = search(job, job.network, store, watch, choose=choose, progress=progress)
        check_met(job, searched)
        with watch.stage("directions"):
            directions = tuple(search_directions(job, store, progress=progress))
            searched = replace(searched, directions=directions)
        with watch.stage("deep"):
            deep = tuple(search_deep(job, store, progress=progress))
            searched = replace(searched, deep=deep)
        with watch.stage("proofs"):
            searched, proofs = _proved(job, searched)
        check_met(job, searched)  # what is taken back costs bits
        summary = summarise(job, searched, proofs, store, watch, progress=progress)
        with watch.stage("emission"):
            write_results(job, searched, proofs, summary)
        spent = searched.engines.seconds
        write_atomic(config.out / "timing.json", watch.record(config.run.jobs, spent))
    return summary


def search(
    job: Job,
    network: Network,
    store: Store,
    watch: Stopwatch,
    *,
    criteria: Criteria | None = None,
    kind: str = FRONT,
    choose: Choose = search_points,
    progress: Progress = lambda *_: None,
) -> Searched:
    """Evidence, fronts and choice for a network that may be a control of the job's own."""
    known = prepared(job, network, store, watch, criteria=criteria, kind=kind, progress=progress)
    with known as found, watch.stage("choice"), _unswept():
        (*others, chosen), assembled = _chosen(job, found.chooser, store, choose, progress)
    points = (*(replace(point, choices=()) for point in others), chosen)  # programs are large
    nats = {f.layer.name: f.nats_at(chosen.multiplier) for f in found.chooser.fronts}
    told = found.ranges, points, tuple(found.failures), found.engines
    return Searched(*told, nats=nats, assembled=assembled)


def _chosen(
    job: Job, chooser: Chooser, store: Store, choose: Choose, progress: Progress
) -> tuple[list[Point], Point | None]:
    """All points, the chosen one last, and what that was before it was refined.

    Refined points are beside the others: what select likes by luck may be worse when it has moved.
    """
    criteria, at = chooser.criteria, assembled_points(job, chooser, store, progress)
    *others, chosen = choose(at, criteria)
    if not criteria.joint:
        return [*others, chosen], None
    *refined, last = choose(kept_points(job, chooser, store, progress), criteria)
    best, other = (last, chosen) if best_of([chosen, last], criteria) is last else (chosen, last)
    return [*others, *refined, other, best], at(best.multiplier)


def write_results(
    job: Job, searched: Searched, proofs: Sequence[UnitProof], summary: dict[str, object]
) -> None:
    """The files of a run folder, each written whole or not at all."""
    from synth.deep.report import deep_rows
    from synth.direction_report import direction_rows
    from synth.summary import notes_of, program_rows

    out, choices = job.config.out, searched.point.choices
    records = job.named(names_given(choices, job.records.names, job.grammar))
    names = records.names
    (out / "summary.json").unlink(missing_ok=True)  # it comes back last: a run with it is whole
    text = emit(job.network, choices, job.grammar, names, notes=notes_of(job, summary))
    write_atomic(out / "decompiled.py", text)
    save_weights(job.network, choices, job.grammar, out / "replacement.safetensors")
    beside = searched.directions
    ranges = searched.ranges | {d.choice.layer.name: d.ranges for d in beside}
    claimed = (*choices, *(d.choice for d in beside)), ranges
    proved = (*proofs, *(proof for d in beside for proof in d.proofs))
    save_certificates(out, *claimed, proved, names, job.grammar)
    write_atomic(out / "programs.json", _json(program_rows(job, searched, proofs, records)))
    if beside:
        write_atomic(out / "directions.json", _json(direction_rows(job, searched, proofs, records)))
    if searched.deep:
        write_atomic(out / DEEP, _json(deep_rows(searched.deep, records)))
    write_atomic(out / "summary.json", _json(summary))


def _proved(job: Job, searched: Searched) -> tuple[Searched, list[UnitProof]]:
    """Proofs of the choice, after every refuted program has been taken back; what is left has its
    common values named."""
    choices, proofs = settled(
        searched.point.choices,
        searched.ranges,
        job.grammar,
        max_error=job.criteria.max_error,
        jobs=job.config.run.jobs,
    )
    choices = with_common(choices, job.grammar)
    point = replace(searched.point, choices=choices, bits=source_bits(choices, job.grammar))
    return replace(searched, points=(*searched.points[:-1], point)), proofs


def load_choices(job: Job, folder: Path) -> tuple[LayerChoice, ...]:
    """The chosen programs of a finished run. Raises InputError where they are not of this job."""
    path = folder / "programs.json"
    by_layer: dict[str, list[dict[str, Any]]] = {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        for row in stored["units"]:
            by_layer.setdefault(row["layer"], []).append(row)
        called = {(r["layer"], r["channel"]): r["name"] for rows in by_layer.values() for r in rows}
        common = stored.get("common", [])
        records = job.named(called | names_in(common))
        choices = records.read_choices(by_layer, job.network.layers)
        return tuple(read_common(c, by_layer[c.layer.name], common, records) for c in choices)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no programs of this network: {error}") from error


def validate_again(job: Job, choices: Sequence[LayerChoice]) -> Validation:
    """What held-out says of the programs of a finished run."""
    from synth.summary import validated

    with numeric_threads(job.config.run.jobs):
        spoken = {c.layer.name for c in choices if not c.is_opaque}
        found = gather(job.network, job.probes, seed=job.config.run.seed, layers=spoken)
        return validated(job, choices, {e.layer.name: e.ranges for e in found})


@contextmanager
def _unswept() -> Iterator[None]:
    """Leave what there is to the garbage collector's later runs: fronts are millions of nodes, no
    cycle among them, and it would walk through all of them again and again."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
