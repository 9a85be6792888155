"""Tasks over the units of a layer, done by the workers that have searched them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth.backends import Workers
from synth.engine import UnitEvidence
from synth.evidence import LayerEvidence
from synth.leftovers import NOTES
from synth.search import GrammarSpec, mapped, scratch
from synth.unit_tasks import Task, done, one_by_one
from synth.workers import each


@dataclass(frozen=True, eq=False)
class UnitWorkers:
    """An `EachUnit` of a layer whose evidence is also in `files`, under a `key` of its content.

    `folder` is where workers leave notes.
    """

    evidence: LayerEvidence
    files: Path
    key: str
    grammar: GrammarSpec
    workers: Workers
    folder: Path

    def __call__(self, task: Task, channels: Sequence[int]) -> dict[int, Any]:
        if self.workers.here:
            return one_by_one(self.evidence, self.grammar.load())(task, channels)
        sent = _Sent(str(self.files), self.key, self.grammar, task)
        with scratch(self.folder) as place:
            notes = place / NOTES
            notes.mkdir()
            answers = [a for part in each(sent, channels, self.workers, notes) for a in part]
        found = {a.unit: a.value for a in answers if a.reason is None}
        return {channel: found[channel] for channel in channels if channel in found}


@dataclass(frozen=True, eq=False)
class _Sent:
    """A task as it is sent: `files` is the folder that holds the evidence."""

    files: str
    key: str
    grammar: GrammarSpec
    task: Task

    def __call__(self, channel: int) -> Any:
        evidence = mapped(self.files, self.key)
        return done(self.task, UnitEvidence(evidence, channel, self.grammar.load()))
