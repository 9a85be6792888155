"""The search of one network's layers, one after another: what is told of it, and what failed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from synth.engines.kernel import KernelEngine
from synth.evidence import LayerEvidence
from synth.families.kin import Kin, kin_of
from synth.fronts import Candidate, figures
from synth.keys import content_key
from synth.layers import Layer
from synth.leftovers import FOLDER
from synth.progress import Tally, Tell
from synth.schedule import EngineTally
from synth.search import UnitFailure, evidence_key, search_layer
from synth.store import FAILURES, KIN, Store
from synth.unit_workers import UnitWorkers

if TYPE_CHECKING:
    from synth.job import Job

FAMILIES = "search of families"


class Effort:
    """Fronts of a job's layers, kept in a store under `kind`; `failures` has units that something
    was not found for, and `engines` what was done for the others."""

    def __init__(self, job: "Job", store: Store, kind: str, tell: Tell) -> None:
        layers = [la for la in job.network.layers if la.name in job.layers]
        self.job, self.store, self.kind, self.tell = job, store, kind, tell
        self.tally = Tally(tell, "units", sum(la.units for la in layers), store.count(kind))
        self.failures: list[UnitFailure] = []
        self.engines = EngineTally()

    def fronts(self, evidence: LayerEvidence, files: Path) -> tuple[tuple[Candidate, ...], ...]:
        """The fronts of a layer whose evidence is also in `files`.

        Empty ones for a layer that no run into this folder asked for.
        """
        job, layer = self.job, evidence.layer
        if layer.name not in job.layers and not self._known(evidence):
            return ((),) * layer.units
        found: dict[int, tuple[Candidate, ...]] = {}
        self.tell(layer.name, 0, layer.units)
        for channel, unit in search_layer(
            evidence,
            job.settings,
            self.store,
            job.records,
            workers=job.workers,
            kind=self.kind,
            failures=self.failures,
            searched=self.tally.add,
            files=files,
            only_known=job.known,
        ):
            found[channel] = unit.front
            self.engines.add(unit)
            self.tell(layer.name, len(found), layer.units)
        return tuple(found[c] for c in range(layer.units))

    def kin(
        self,
        evidence: LayerEvidence,
        files: Path,
        fronts: Sequence[Sequence[Candidate]],
        max_fvu: float,
    ) -> tuple[Kin, ...]:
        """Families that the units of a layer may be in, known or found from their fronts.

        None without the engine of kernels, which is to fit their programs again in the choice.
        Units that workers fail at are in none of them, and among the `failures`.
        """
        job, layer = self.job, evidence.layer
        wanted = job.config.search.families and KernelEngine.name in job.settings.engines
        if not wanted or not any(fronts):
            return ()
        shown = [figures(front) for front in fronts]
        base = evidence_key(evidence, job.settings)
        key = content_key(base, shown, max_fvu)
        failed = self._failed(base, layer)
        known = self.store.get(KIN[self.kind], key)
        if known is not None and (job.known or not failed):  # else those are tried again
            self.failures += failed
            return job.records.read_kin(known)
        tasks = self._workers(evidence, files, base)
        found = kin_of(evidence, fronts, job.grammar, max_fvu, tasks)
        with self.store.batch():
            self.store.put(KIN[self.kind], key, job.records.kin(found), layer.name)
            self._keep_failed(base, layer, tasks.failures)
        return found

    def _workers(self, evidence: LayerEvidence, files: Path, key: str) -> UnitWorkers:
        job, folder = self.job, self.store.path.parent / FOLDER
        how = evidence, files, key, job.settings.grammar, job.workers, folder
        return UnitWorkers(*how, FAMILIES, [])

    def _keep_failed(self, base: str, layer: Layer, failures: Sequence[UnitFailure]) -> None:
        """Commit which units families were found without, in place of those of a search before."""
        self.failures += failures
        kind, failed = FAILURES[self.kind], {f.channel: f for f in failures}
        for channel, key in enumerate(_unit_keys(content_key(base, FAMILIES), layer)):
            self.store.remove(kind, key)
            if channel in failed:
                text = json.dumps(asdict(failed[channel]))
                self.store.put(kind, key, text, f"{layer.name}[{channel}]")

    def _failed(self, base: str, layer: Layer) -> list[UnitFailure]:
        """The units that known families were found without."""
        keys = _unit_keys(content_key(base, FAMILIES), layer)
        rows = (self.store.get(FAILURES[self.kind], key) for key in keys)
        return [UnitFailure(**json.loads(row)) for row in rows if row is not None]

    def _known(self, evidence: LayerEvidence) -> bool:
        keys = _unit_keys(evidence_key(evidence, self.job.settings), evidence.layer)
        return all(self.store.get(self.kind, key) is not None for key in keys)


def _unit_keys(key: str, layer: Layer) -> Iterator[str]:
    """A key for each unit of a layer that has one."""
    return (content_key(key, channel) for channel in range(layer.units))
