"""Which answers of held-out a replacement changes: by class, from what to what, and where most."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from synth.outputs import answers, kl_divergence, reading_of

WORST = 10  # probes of the largest divergence that are told

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Answers:
    """Outputs (N, K) of original and replacement, labels (N,) if there are any, and the places
    (N,) of the probes among those that the user gave."""

    original: Tensor
    replaced: Tensor
    labels: Tensor | None
    places: Sequence[int]

    @cached_property
    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """The answers (N,) of both."""
        reading = reading_of(self.original)
        before, after = (answers(o, reading).numpy() for o in (self.original, self.replaced))
        return before, after

    @property
    def truth(self) -> np.ndarray:
        """The labels, or else the original's answers."""
        return self.pair[0] if self.labels is None else self.labels.cpu().numpy()

    def by_class(self) -> list[Row]:
        """Of each class of probes how many there are, both accuracies and the agreement."""
        before, after = self.pair
        rows = []
        for label in np.unique(self.truth):
            own = self.truth == label
            row: Row = {"class": int(label), "n": int(own.sum())}
            row["accuracy_original"] = float((before[own] == label).mean())
            row["accuracy_replaced"] = float((after[own] == label).mean())
            row["agreement"] = float((before[own] == after[own]).mean())
            rows.append(row)
        return rows

    def changed(self) -> list[Row]:
        """From which answer to which, how often, and how many of these were and are right; the
        most frequent first."""
        before, after = self.pair
        moved = np.flatnonzero(before != after)
        pairs = Counter((int(before[i]), int(after[i])) for i in moved)
        rows = []
        for (first, then), count in sorted(pairs.items(), key=lambda kv: (-kv[1], kv[0])):
            own = (before == first) & (after == then)
            right = (int((self.truth[own] == answer).sum()) for answer in (first, then))
            rows.append({"from": first, "to": then, "n": count}
                        | dict(zip(("were_right", "are_right"), right, strict=True)))  # fmt: skip
        return rows

    def worst(self) -> list[Row]:
        """The probes on which the distributions differ most, the worst first."""
        before, after = self.pair
        divergence = kl_divergence(self.original, self.replaced).numpy()
        order = np.argsort(-divergence, kind="stable")[:WORST]
        known = self.labels is not None
        return [
            {
                "place": int(self.places[i]),
                "kl": float(divergence[i]),
                "original": int(before[i]),
                "replaced": int(after[i]),
                "label": int(self.truth[i]) if known else None,
            }
            for i in order
        ]
