"""Tuning: what units and their programs say to synthetic pictures, and how far they agree.

Stimuli lie off the distribution that programs were fitted on, so their agreement is evidence of
what a program is, beside the held-out probes; it is no proof.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from grammars.grammar import Grammar
from synth.assembly import LayerChoice, bank_module
from synth.figures import finite
from synth.network import Network
from synth.stimuli.families import FAMILIES, Stimuli
from synth.stimuli.field import Field, up_to
from synth.stimuli.screen import Screen

KINDS = ("unit", "program", "in_situ")
EVERY = "all"  # the families together
FLAT = 1e-6  # of the largest response: less is the rounding of float32 sums


@dataclass(frozen=True, eq=False)
class Responses:
    """What U units say to S stimuli at one place, (S, U) float64 each.

    `unit` in the original network, `program` in the unit's place on the original sources, `in_situ`
    in the replacement network. No phase or position is averaged away: each is a stimulus of its
    own, because a program may be right in the mean and wrong in each.
    """

    stimuli: Stimuli
    unit: np.ndarray
    program: np.ndarray
    in_situ: np.ndarray


@dataclass(frozen=True, eq=False)
class LayerTuning:
    """The responses of the units `channels` of one layer, a family at a time."""

    choice: LayerChoice
    channels: tuple[int, ...]
    field: Field
    families: tuple[Responses, ...]


@dataclass(frozen=True)
class Agreement:
    """Between a unit and what stands for it, over `count` stimuli.

    `r2` is 1 − FVU with the unit's variance over the stimuli: 1 or −∞ where it has none. `pearson`
    is None where either has none.
    """

    count: int
    r2: float
    pearson: float | None


def tune(
    network: Network,
    choices: Sequence[LayerChoice],
    grammar: Grammar,
    screen: Screen,
    layer: str,
    channels: Sequence[int],
    field: Field,
) -> LayerTuning:
    """The responses of some units of a layer to all families, in the middle of its maps."""
    short = up_to(network, layer)
    modules = {
        c.layer.name: bank_module(c, grammar) for c in choices if c.layer.name in short.nodes
    }
    choice = next(c for c in choices if c.layer.name == layer)
    families = []
    for family in FAMILIES:
        stimuli = family.stimuli(field.side)
        parts = [
            _responses(short, choice, modules, batch[0], field)
            for batch in screen.batches(stimuli, field.centre)
        ]
        together = np.concatenate(parts, axis=1)[:, :, list(channels)]
        families.append(Responses(stimuli, *together))
    return LayerTuning(choice, tuple(channels), field, tuple(families))


def agreement(unit: np.ndarray, other: np.ndarray) -> Agreement:
    """Of two responses (S,) to the same stimuli."""
    error, both = float(((other - unit) ** 2).mean()), _varies(unit) and _varies(other)
    if _varies(unit):
        r2 = 1 - error / float(unit.var())
    else:
        r2 = 1.0 if np.allclose(unit, other, rtol=FLAT, atol=FLAT) else -np.inf
    return Agreement(len(unit), r2, float(np.corrcoef(unit, other)[0, 1]) if both else None)


def preferred(responses: Responses, kind: str, unit: int) -> dict[str, float] | None:
    """The parameters of the stimulus with the largest response; None if all are equal."""
    values = getattr(responses, kind)[:, unit]
    if not _varies(values):
        return None
    return responses.stimuli.parameters(int(values.argmax()))


def curve(responses: Responses, unit: int) -> dict[str, Any]:
    """A tuning curve: the responses as the family's axis alone moves from the unit's preferred
    stimulus, so that all three stand for the same pictures."""
    stimuli, axis = responses.stimuli, responses.stimuli.family.axis
    best = stimuli.values[responses.unit[:, unit].argmax()]
    others = [i for i, name in enumerate(stimuli.names) if name != axis]
    same = np.flatnonzero((stimuli.values[:, others] == best[others]).all(1))
    moved = stimuli.column(axis)
    assert moved is not None
    found = {kind: getattr(responses, kind)[same, unit].tolist() for kind in KINDS}
    return {"axis": axis, "values": moved[same].tolist()} | found


def rows_of(tuning: LayerTuning, known: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What `tuning.json` says of each unit, its agreement a family at a time and in all.

    `known` are the rows of programs.json by channel: which programs were compared is kept beside.
    """
    beside = {"field": asdict(tuning.field)}
    kept = ("layer", "name", "channel", "status", "program")
    return [
        finite({key: known[channel][key] for key in kept} | beside | _row(tuning, place))
        for place, channel in enumerate(tuning.channels)
    ]


def _varies(values: np.ndarray) -> bool:
    return bool(np.ptp(values) > FLAT * np.abs(values).max())


def _row(tuning: LayerTuning, place: int) -> dict[str, Any]:
    families = {r.stimuli.family.name: r for r in tuning.families}
    best = max(families, key=lambda name: families[name].unit[:, place].max())
    return {
        "prefers": best,
        EVERY: _agreements(tuning.families, place),
        "families": {
            family: _agreements([found], place)
            | {"preferred": {kind: preferred(found, kind, place) for kind in KINDS}}
            | {"curve": curve(found, place)}
            for family, found in families.items()
        },
    }


def _agreements(found: Sequence[Responses], place: int) -> dict[str, Any]:
    unit, program, in_situ = (
        np.concatenate([getattr(r, kind)[:, place] for r in found]) for kind in KINDS
    )
    local, placed = agreement(unit, program), agreement(unit, in_situ)
    return {
        "stimuli": local.count,
        "r2": local.r2,
        "pearson": local.pearson,
        "r2_in_situ": placed.r2,
        "pearson_in_situ": placed.pearson,
    }


def _responses(
    network: Network,
    choice: LayerChoice,
    modules: Mapping[str, nn.Module],
    pictures: torch.Tensor,
    field: Field,
) -> np.ndarray:
    """(3, S, U) float64: unit, program and in situ at the field's place."""
    name, source = choice.layer.name, choice.layer.source
    original = network.record(pictures, [source, name], to_end=False)
    replaced = network.record(pictures, [name], modules=modules, to_end=False)[name]
    with torch.no_grad():
        program = modules[name](original[source])
    row, column = field.place
    maps = (original[name], program, replaced)
    return np.stack([m[:, :, row, column].cpu().double().numpy() for m in maps])
