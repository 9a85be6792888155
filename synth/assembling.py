"""Assembling: another choice among the fronts of a finished run, in a folder of its own.

Fronts, what engines did for them and points that are known are taken over into the new folder's
store, and the chain of a run goes through it; all that is left to do is to choose, to prove and to
validate. So the new folder has all that a run's has, and a process that is killed goes on as a run.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.by_hand.edits import hand_programs, take_over
from synth.chain import Progress
from synth.chain import run as chain
from synth.clean import clean_all
from synth.leftovers import working
from synth.origin import KIND, flags_of, job_of, record
from synth.store import Store
from synth.unmet import Unmet

if TYPE_CHECKING:
    from synth.asked import Asked
    from synth.folder import Finished
    from synth.job import Job


def assemble(
    run: "Finished",
    asked: "Asked",
    out: Path,
    *,
    config: Path | None = None,
    jobs: int | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """Choose as `asked` among the fronts of a run, into the folder `out`; the summary.

    Raises Unmet, and leaves nothing, where no choice is as asked. Raises InputError where the input
    is not that of the run, fronts are missing, or `out` holds another run.
    """
    job = known_job(run, config)
    given = replace(job.config.run, out=str(out), jobs=jobs or job.config.run.jobs)
    asked = replace(asked, hand=job.hand)
    job = replace(job, asked=asked, config=replace(job.config, run=given))
    whole = (out / "summary.json").exists()
    _take_over(run.folder, job)
    take_over(run.folder, out)
    try:
        summary = chain(job, progress=progress)
    except Unmet:
        if not whole:
            clean_all(out)
        raise
    record(job.config, flags_of(run.folder), asked)
    return summary


def known_job(run: "Finished", config: Path | None = None) -> "Job":
    """The job of a finished run, whose fronts are all there: with the layers that it has searched,
    the deep programs and the controls that it had, and what was written by hand since."""
    job = job_of(run.folder, config)
    with Store(run.folder, create=False) as store:
        searched = store.layers()
    layers = tuple(la.name for la in job.network.layers if la.name in searched)
    deep = tuple(reach for reach in job.deep if reach.of.name in run.summary["deep"])
    had = run.summary["controls"] | {"shuffled": run.summary["shuffled_control"]}
    controls = tuple(name for name, found in had.items() if found is not None)
    given = replace(job.config, run=replace(job.config.run, controls=controls))
    hand = hand_programs(run.folder)
    return replace(job, config=given, layers=layers, deep=deep, known=True, hand=hand)


def path_from(out: Path, run: Path) -> str:
    """How a folder calls that of the run it comes from; it holds where both are moved together."""
    return os.path.relpath(run.absolute(), out.absolute())


def _take_over(source: Path, job: "Job") -> None:
    """All that a run has found, in the store of a job's own folder."""
    units = {la.name: la.units for la in job.network.layers if la.name in job.layers}
    out = job.config.out
    with working(out), Store(source, create=False) as known, Store(out) as store, store.batch():
        store.claim_identity(job.digest, job.description, units=units)
        store.take(known, without=KIND)
