"""What `synth assemble` asks of a network, in the place of what its run was to hold on select."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from synth.rivals import Criteria


@dataclass(frozen=True)
class Asked:
    """Limits of a choice among the fronts of `run`, the path of its folder from that of the choice.

    What is not given is no limit; where none is, those of the run hold. `bits` are of the whole
    network, as `summary.json` counts them, of which opaque nodes take those `beside` in any choice.
    `hand` are the programs of units that were written by hand, which are tried as well; with
    `hand_first` they alone, where they hold.
    """

    run: str
    bits: int | None = None
    max_kl: float | None = None
    min_agreement: float | None = None
    short: bool = False
    beside: int = 0
    hand: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hand_first: bool = False

    def criteria(self, own: Criteria) -> Criteria:
        """What a choice must hold instead of a run's `own` criteria; units must hold the same."""
        own = replace(own, short=own.short or self.short, free=own.nothing)
        if not self._limits and own.most_bits is None:
            return own
        bits = None if self.bits is None else self.bits - self.beside
        return replace(
            own,
            max_kl=math.inf if self.max_kl is None else self.max_kl,
            min_agreement=0.0 if self.min_agreement is None else self.min_agreement,
            most_bits=bits if self._limits else own.most_bits,
        )

    def __str__(self) -> str:
        """In words."""
        limits = self._limits or ["the limits of the run"]
        short = ["short programs first"] if self.short else []
        return ", ".join([*limits, *short, *(["written by hand first"] if self.hand_first else [])])

    @property
    def _limits(self) -> list[str]:
        """Those that are given, in words."""
        given = (
            ("at most {:,} bits", self.bits),
            ("KL ≤ {} nats", self.max_kl),
            ("agreement ≥ {}", self.min_agreement),
        )
        return [text.format(value) for text, value in given if value is not None]
