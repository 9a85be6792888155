"""Tasks over the units of a layer, done by the workers that have searched them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from synth.attempts import Answer
from synth.backends import Workers
from synth.engine import UnitEvidence
from synth.evidence import LayerEvidence
from synth.leftovers import NOTES
from synth.search import GrammarSpec, UnitFailure, mapped, scratch
from synth.unit_tasks import Task, done
from synth.workers import each


@dataclass(frozen=True, eq=False)
class UnitWorkers:
    """An `EachUnit` of a layer whose evidence is also in `files`, under a `key` of its content.

    `folder` is where workers leave notes. A unit that no attempt has an answer for is added to
    `failures`, with what it was done for: the `purpose`.
    """

    evidence: LayerEvidence
    files: Path
    key: str
    grammar: GrammarSpec
    workers: Workers
    folder: Path
    purpose: str
    failures: list[UnitFailure]

    def __call__(self, task: Task, channels: Sequence[int]) -> dict[int, Any]:
        answers = {a.unit: a for part in self._answers(task, channels) for a in part}
        ordered = [answers[channel] for channel in channels]
        self.failures.extend(self._failure(a) for a in ordered if a.reason is not None)
        return {a.unit: a.value for a in ordered if a.reason is None}

    def _answers(self, task: Task, channels: Sequence[int]) -> Iterator[list[Answer]]:
        if self.workers.here:
            here = _Here(self.evidence, self.grammar, task)
            with threadpool_limits(limits=1):
                yield from each(here, channels, self.workers, None)
            return
        sent = _Sent(str(self.files), self.key, self.grammar, task)
        with scratch(self.folder) as place:
            notes = place / NOTES
            notes.mkdir()
            yield from each(sent, channels, self.workers, notes)

    def _failure(self, answer: Answer) -> UnitFailure:
        reason = f"{self.purpose}: {answer.reason}"
        return UnitFailure(self.evidence.layer.name, answer.unit, reason, answer.tries)


@dataclass(frozen=True, eq=False)
class _Here:
    """A task as it is done in this process."""

    evidence: LayerEvidence
    grammar: GrammarSpec
    task: Task

    def __call__(self, channel: int) -> Any:
        return done(self.task, UnitEvidence(self.evidence, channel, self.grammar.load()))


@dataclass(frozen=True, eq=False)
class _Sent:
    """A task as it is sent: `files` is the folder that holds the evidence."""

    files: str
    key: str
    grammar: GrammarSpec
    task: Task

    def __call__(self, channel: int) -> Any:
        return _Here(mapped(self.files, self.key), self.grammar, self.task)(channel)
