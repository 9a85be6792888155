"""The engine protocol: an engine proposes programs, and is never believed.

Every proposal is evaluated again by our own interpreter (`synth.fronts`). An engine is a class in a
file of its own, `ENGINE` in a module of `synth.engines` or of an installed package.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from grammars.grammar import Grammar
from grammars.program import Node, call, sum_of_taps
from grammars.scope import Scope
from synth.evidence import LayerEvidence
from synth.layers import Head


@dataclass(frozen=True, eq=False)
class UnitEvidence:
    """What an engine may know of one unit: its layer's evidence, its channel and the grammar.

    `replaced` (n, width) are the patches of the same rows on replaced sources, for a `refit`, and
    `ahead` are the unit's rows of what engines have made of the whole layer, by name.
    """

    layer: LayerEvidence
    channel: int
    grammar: Grammar
    replaced: np.ndarray | None = None
    ahead: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def head(self) -> Head:
        return self.layer.layer.heads[self.channel]

    @property
    def scope(self) -> Scope:
        """What the unit's programs may read."""
        return self.layer.scope.of(self.channel)


class EngineFailed(Exception):
    """What `propose` raises where it cannot go on, with the reason in a sentence. What it has
    proposed before stays, and the search goes on without it."""


class Engine(Protocol):
    """Proposes programs for a unit; deterministic in (evidence, budget, seed).

    A class may have a static `unable(grammar, layers)`, which says in a sentence why it would find
    nothing in any of some layers, or None, and a static `missing()`, which says what is to be
    installed before it can be used: a run asks before it starts. A static `memory()` gives the
    bytes that it may hold for a unit beside what the linear engine does, in processes of its own
    too: a plan counts them. It is made without arguments, or with those fields of
    `synth.search.SearchSettings` that it names in `settings`. One with a `tier` above 0 is dear: it
    is asked where those below leave a gap (`synth.schedule`). A method `ahead`
    (`synth.ahead`) is asked once for the units of a layer, in the process of the run, and `propose`
    finds the rows of its unit in `evidence.ahead`, if anybody has asked.
    """

    name: str

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Programs for the unit, at most `budget` of them, cheap and rough ones first."""
        ...

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """`program` with its constants fitted again on this evidence; None where it has none."""
        ...


def with_head(head: Head, pre: Node, **changed: float) -> Node:
    """A unit's head over a pre-activation, with some parameters changed."""
    if head.op == "identity":
        return pre
    return call(head.op, pre, **{name: changed.get(name, v) for name, v in head.params})


def weighted_taps(scope: Scope, constants: np.ndarray) -> Node:
    """Σ constants[i] · tap of column i + the last constant, for (F+1,) dyadic constants."""
    used = np.flatnonzero(constants[:-1])
    taps = scope.taps
    return sum_of_taps(constants[used].tolist(), [taps[i] for i in used], float(constants[-1]))
