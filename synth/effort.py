"""The search of one network's layers, one after another: what is told of it, and what failed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from synth.engines.kernel import KernelEngine
from synth.evidence import LayerEvidence
from synth.families.kin import Kin, kin_of
from synth.fronts import Candidate, figures
from synth.keys import content_key
from synth.leftovers import FOLDER
from synth.progress import Tally, Tell
from synth.schedule import EngineTally
from synth.search import UnitFailure, evidence_key, search_layer
from synth.store import KIN, Store
from synth.unit_workers import UnitWorkers

if TYPE_CHECKING:
    from synth.job import Job


class Effort:
    """Fronts of a job's layers, kept in a store under `kind`; `failures` has units without one, and
    `engines` what was done for the others."""

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
        """
        job, layer = self.job, evidence.layer
        wanted = job.config.search.families and KernelEngine.name in job.settings.engines
        if not wanted or not any(fronts):
            return ()
        shown = [figures(front) for front in fronts]
        base = evidence_key(evidence, job.settings)
        key = content_key(base, shown, max_fvu)
        known = self.store.get(KIN[self.kind], key)
        if known is not None:
            return job.records.read_kin(known)
        folder = self.store.path.parent / FOLDER
        tasks = UnitWorkers(evidence, files, base, job.settings.grammar, job.workers, folder)
        found = kin_of(evidence, fronts, job.grammar, max_fvu, tasks)
        self.store.put(KIN[self.kind], key, job.records.kin(found), layer.name)
        return found

    def _known(self, evidence: LayerEvidence) -> bool:
        base = evidence_key(evidence, self.job.settings)
        keys = (content_key(base, c) for c in range(evidence.layer.units))
        return all(self.store.get(self.kind, key) is not None for key in keys)
