"""What happens to both networks where a user interferes with units: `synth what-if`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from synth.assembly import LayerChoice
from synth.behaviour.interventions import Intervention, moved_and_missed
from synth.behaviour.report import EXAMINED, Examination
from synth.controls import unit_statistics
from synth.figures import finite
from synth.modules import layer_module
from synth.outputs import Reading, answers, kl_divergence, reading_of

if TYPE_CHECKING:
    from synth.job import Job

Row = dict[str, Any]

ABLATED, SCALED = "ablated", "scaled"


def interventions(job: "Job", scales: Mapping[tuple[str, int], float | None]) -> list[Intervention]:
    """What is asked of units, by layer and channel: a factor, or None to set one to its mean on
    fit."""
    ablated = sorted({layer for (layer, _), factor in scales.items() if factor is None})
    known = unit_statistics(job.network, ablated, job.parts.fit.inputs) if ablated else {}
    return [
        Intervention(layer, channel, ABLATED, 0.0, float(known[layer].mean[channel]))
        if factor is None
        else Intervention(layer, channel, SCALED, factor, 0.0)
        for (layer, channel), factor in scales.items()
    ]


def what_if(job: "Job", choices: Sequence[LayerChoice], asked: Sequence[Intervention]) -> Row:
    """How the outputs of original and replacement move on held-out probes, if all that is asked is
    done to both at once.

    `r2` is 1 − Σ(Δreplacement − Δoriginal)² over Σ(Δoriginal − mean)², over probes and outputs;
    None where the original does not move.
    """
    found = Examination(job, choices)
    inputs, _ = found.taken(EXAMINED)
    own = {i.layer: layer_module(job.network.layer(i.layer)) for i in asked}
    before = found.mixed(inputs, {}), found.mixed(inputs, found.modules)
    after = (
        found.mixed(inputs, _interfered(own, asked)),
        found.mixed(inputs, found.modules | _interfered(own | found.modules, asked)),
    )
    reading = reading_of(before[0])
    changes = [(b.double() - a.double()) for a, b in zip(before, after, strict=True)]
    moved, missed = moved_and_missed(*changes)
    told = [[answers(o, reading).numpy() for o in pair] for pair in zip(before, after, strict=True)]
    document = {
        "n": len(inputs),
        "r2": 1 - missed / moved if moved > 0 else None,
        "same_answers": float((told[0][1] == told[1][1]).mean()),
        "original": _moved(before[0], after[0], reading),
        "replacement": _moved(before[1], after[1], reading),
        "classes": _classes(*told),
    }
    return finite(document)


def _interfered(
    modules: Mapping[str, nn.Module], asked: Sequence[Intervention]
) -> dict[str, nn.Module]:
    """The modules of all layers that are interfered with."""
    found: dict[str, nn.Module] = {}
    for one in asked:
        found[one.layer] = one.on(found.get(one.layer, modules[one.layer]))
    return found


def _moved(before: Tensor, after: Tensor, reading: Reading) -> Row:
    """How far one network's distributions move, and which of its answers change into which."""
    divergence = kl_divergence(before, after, reading)
    first, then = (answers(o, reading).numpy() for o in (before, after))
    pairs = Counter(zip(first.tolist(), then.tolist(), strict=True))
    changed = [(pair, n) for pair, n in pairs.items() if pair[0] != pair[1]]
    return {
        "kl_mean": float(divergence.mean()),
        "kl_max": float(divergence.max()),
        "changed": float((first != then).mean()),
        "answers": [
            {"from": a, "to": b, "n": n}
            for (a, b), n in sorted(changed, key=lambda one: (-one[1], one[0]))
        ],
    }


def _classes(original: Sequence[np.ndarray], replacement: Sequence[np.ndarray]) -> list[Row]:
    """For each answer of the original, before, how many of its probes get another answer."""
    rows = []
    for answer in np.unique(original[0]).tolist():
        own = original[0] == answer
        rows.append(
            {
                "class": answer,
                "n": int(own.sum()),
                "original": int((original[0] != original[1])[own].sum()),
                "replacement": int((replacement[0] != replacement[1])[own].sum()),
            }
        )
    return rows
