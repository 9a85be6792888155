"""What engines make of all units of a layer at once, in the process of the run, before workers
search each of them: on a device one large batch takes less than many small ones.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from grammars.grammar import Grammar
from synth.disk import telling_full
from synth.evidence import LayerEvidence
from synth.leftovers import AHEAD

CHANNELS = "channels"  # the name of the array that says whose rows the others have


class Foresighted(Protocol):
    """An engine that begins with all units of a layer at once."""

    def ahead(
        self, evidence: LayerEvidence, channels: Sequence[int], grammar: Grammar, *, seed: int
    ) -> Mapping[str, np.ndarray]:
        """Arrays by names of its own whose first axis are the channels; or none."""
        ...


def made_ahead(
    engines: Sequence["Foresighted"],
    evidence: LayerEvidence,
    channels: Sequence[int],
    grammar: Grammar,
    seed: int,
) -> dict[str, np.ndarray]:
    """The arrays that engines with an `ahead` make, with a first axis of channels; or none."""
    found: dict[str, np.ndarray] = {}
    for engine in engines:
        found |= engine.ahead(evidence, channels, grammar, seed=seed)
    return found and {CHANNELS: np.array(channels), **found}


def save(arrays: Mapping[str, np.ndarray], folder: Path) -> Path:
    """Write the arrays into `folder`. Raises `Stopped` on a full disk."""
    path = folder / AHEAD
    with telling_full(folder):
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def rows_of(path: str, channel: int) -> dict[str, np.ndarray]:
    """What was made of one unit, by name."""
    channels, arrays = _read(path)
    row = channels.index(channel)
    return {name: values[row] for name, values in arrays.items()}


@lru_cache(maxsize=1)
def _read(path: str) -> tuple[list[int], dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    return arrays.pop(CHANNELS).tolist(), arrays
