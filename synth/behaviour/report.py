"""All that `synth validate --full` says of a replacement: `behaviour.json`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from synth.assembly import LayerChoice, bank_module
from synth.batches import Inputs
from synth.behaviour.answers import Answers
from synth.behaviour.corruption import corruptions
from synth.behaviour.interchange import halves
from synth.behaviour.interventions import Effect, drawn, effects
from synth.controls import unit_statistics
from synth.figures import distances, finite
from synth.outputs import accuracy, as_rows, reading_of, run_batches
from synth.threads import each

if TYPE_CHECKING:
    from synth.job import Job

EXAMINED = 1000  # probes of held-out that are corrupted, and seen by halves,
INTERFERED = 128  # and that interventions are tried on: at most

Row = dict[str, Any]


class Examination:
    """The programs of a finished run on held-out, and on what is made of it."""

    def __init__(self, job: "Job", choices: Sequence[LayerChoice]) -> None:
        self.job, self.network, self.seed = job, job.network, job.config.run.seed
        self.choices = [c for c in choices if not c.is_opaque]
        self.modules = {c.layer.name: bank_module(c, job.grammar) for c in self.choices}
        self.replaced = job.network.replaced(self.modules)

    def document(self) -> Row:
        """Everything, as JSON; an infinite figure is null."""
        answers = self._answers
        interventions = self.interventions() if self.choices else []
        return finite(
            {
                "n": len(answers.original),
                "classes": answers.by_class(),
                "changed": answers.changed(),
                "worst": answers.worst(),
                "corrupted": list(self.corrupted()),
                "halves": list(self.halves()) if self.choices else [],
                "interventions": [_effect_row(e) for e in interventions],
                "r2_interventions": together(interventions),
            }
        )

    def corrupted(self) -> Iterable[Row]:
        """Both networks on corrupted probes, and how far apart they are."""
        inputs, labels = self._some
        if self.job.config.network.values:
            return  # inputs of few values have no noise between them
        for corruption in corruptions(inputs, self.seed):
            changed = corruption.of(inputs)
            original, replaced = self._outputs(changed)
            row = {"kind": corruption.kind, "strength": corruption.strength}
            before = None if labels is None else accuracy(original, labels, reading_of(original))
            far = distances(original, replaced, labels)
            far["accuracy_replaced"] = far.pop("accuracy")
            yield row | {"accuracy_original": before} | far

    def halves(self) -> Iterable[Row]:
        """Networks of which a random half of the units are replaced."""
        inputs, labels = self._some
        pick = self.network.judge
        original = run_batches(self.network.module, inputs, pick=pick)
        for modules in halves(self.choices, self.modules, self.seed):
            yield distances(original, self.mixed(inputs, modules), labels)

    def interventions(self) -> list[Effect]:
        """Units interfered with, in both networks alike."""
        layers = [c.layer.name for c in self.choices]
        known = unit_statistics(self.network, layers, self.job.parts.fit.inputs)
        asked = list(drawn(self.choices, known, self.seed))
        inputs = self.taken(INTERFERED)[0]
        return effects(self.network, self.modules, asked, inputs.batch())

    @cached_property
    def _answers(self) -> Answers:
        held_out = self.job.parts.held_out
        outputs = self._outputs(held_out.inputs)
        return Answers(*outputs, held_out.labels, held_out.inputs.rows.tolist())

    @cached_property
    def _some(self) -> tuple[Inputs, Tensor | None]:
        return self.taken(EXAMINED)

    def taken(self, most: int) -> tuple[Inputs, Tensor | None]:
        """Some probes of held-out, drawn once, and their labels."""
        held_out = self.job.parts.held_out
        generator = np.random.default_rng(self.seed)
        places = np.sort(generator.permutation(len(held_out.inputs))[:most])
        labels = None if held_out.labels is None else held_out.labels[torch.from_numpy(places)]
        return held_out.inputs.take(places), labels

    def _outputs(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """The outputs (n, K) of original and replacement."""
        pick = self.network.judge
        modules = self.network.module, self.replaced
        first, second = (run_batches(module, inputs, pick=pick) for module in modules)
        return first, second

    def mixed(self, inputs: Inputs, modules: Mapping[str, nn.Module]) -> Tensor:
        """The outputs (n, K) with some modules in the places of layers."""

        def rows(part: Inputs) -> Tensor:
            found = self.network.record(part.batch(), [], modules=modules)["output"]
            return as_rows(found).float().cpu()

        return torch.cat(each(rows, inputs.cut()))


def _effect_row(effect: Effect) -> Row:
    done = effect.intervention
    return {
        "layer": done.layer,
        "channel": done.channel,
        "kind": done.kind,
        "moved": effect.moved,
        "r2": effect.r2,
    }


def together(found: Sequence[Effect]) -> float | None:
    """R² over all interventions, each counted by how far it moves the outputs."""
    moved = sum(e.moved for e in found)
    return 1 - sum(e.missed for e in found) / moved if moved > 0 else None
