"""A network over inputs of few values as circuits: the original, its replacement, deep programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import fx

from grammars.grammar import Grammar, load_grammar
from grammars.primitive import Primitive
from grammars.program import Node, tap
from oracles.circuits import Circuit, Domain, deciding
from synth.assembly import LayerChoice, own_program
from synth.errors import InputError
from synth.layers import Layer
from synth.network import Network
from synth.nodes import is_identity, is_reshape, schema_name
from synth.outputs import Reading

MONOTONE = frozenset({"softmax", "log_softmax", "_softmax", "_log_softmax"})
"""Operations behind which the largest output is the same."""

LEVELS: Mapping[Reading, float] = {Reading.LOGIT: 0.0, Reading.PROBABILITY: 0.5}
"""Above which a single output is a yes."""


@dataclass(frozen=True, eq=False)
class Discrete:
    """A network whose inputs are of few `values`, and the `level` above which an output is a yes.

    A level of None stands for the largest of several outputs. Raises InputError, with all reasons,
    for a network that is no circuit: its layers have space, or read what no layer computes, or a
    head has no exact meaning.
    """

    network: Network
    grammar: Grammar
    values: tuple[float, ...]
    level: float | None

    def __post_init__(self) -> None:
        problems = tuple(dict.fromkeys(self._problems()))
        if problems:
            raise InputError(*(f"network.values: {problem}." for problem in problems))

    @cached_property
    def primitives(self) -> Mapping[str, Primitive]:
        """Those of the grammar, and the core: heads, and what decisions are written in."""
        return {**load_grammar(installed=False), **self.grammar}

    @cached_property
    def domain(self) -> Domain:
        """All inputs."""
        read = (la for la in self.network.layers if la.source in self.network.input_names)
        columns = dict.fromkeys(column for la in read for column in la.scope.columns)
        return Domain(dict.fromkeys(columns, self.values))

    @property
    def words(self) -> str:
        """What is decided, in words."""
        return "the largest output" if self.level is None else f"each output above {self.level:g}"

    @cached_property
    def original(self) -> Circuit:
        """The network itself, to its outputs."""
        return self.circuit({})

    def circuit(self, instead: Mapping[str, Sequence[Node]]) -> Circuit:
        """The network with programs in the place of some layers, by their names."""
        banks = {
            la.name: tuple(instead[la.name]) if la.name in instead else _own(la)
            for la in self.network.layers
        }
        return Circuit(banks | self._views, self._outputs)

    def replaced(self, choices: Sequence[LayerChoice]) -> Circuit:
        """The network of the chosen programs."""
        return self.circuit({c.layer.name: c.expanded(self.grammar) for c in choices})

    def decisions(self, circuit: Circuit) -> Circuit:
        """What a circuit decides, as zeros and ones."""
        return deciding(circuit, self.level)

    @cached_property
    def _views(self) -> dict[str, tuple[Node, ...]]:
        """Sources that are no layers themselves, but the values of one."""
        found = {}
        for layer in self.network.layers:
            origin = self._origin(layer)
            if origin is not None and origin.name != layer.source:
                found[layer.source] = tuple(tap(origin.name, c) for c in range(origin.units))
        return found

    @cached_property
    def _outputs(self) -> tuple[Node, ...]:
        layer = self._judged
        assert layer is not None  # a problem otherwise
        return tuple(tap(layer.name, c) for c in range(layer.units))

    @property
    def _judged(self) -> Layer | None:
        """The layer whose units are the judged output, or decide alike."""
        node = self.network.output_nodes[self.network.judged]
        while self.level is None and schema_name(node) in MONOTONE:
            (node,) = node.all_input_nodes
        return self._behind(node)

    def _origin(self, layer: Layer) -> Layer | None:
        """The layer whose units a layer reads; None if it reads an input, or something else."""
        return self._behind(self.network.runner.source(layer.name))

    def _behind(self, node: fx.Node) -> Layer | None:
        """The layer whose units a node holds, maybe in another shape."""
        cuts = {self.network.banks[la.name]: la for la in self.network.layers}
        while node.name not in cuts and (is_identity(node) or is_reshape(node)):
            node = node.all_input_nodes[0]
        return cuts.get(node.name)

    def _problems(self) -> Iterator[str]:
        if self._judged is None:
            yield "the judged output is not computed by a layer, but by what comes behind one"
        inexact = {p.name for p in self.primitives.values() if {"z3", "rational"} & p.gaps}
        for layer in self.network.layers:
            if layer.out_shape[1:] != (1, 1) or any(layer.geometry.padding):
                yield f"layer {layer.name!r} has maps, and proofs are of layers without space"
            if self._origin(layer) is None and layer.source not in self.network.input_names:
                yield f"layer {layer.name!r} reads {layer.source!r}, which no layer computes"
            for op in sorted({head.op for head in layer.heads} & inexact):
                yield f"layer {layer.name!r} has the head {op}, which has no exact meaning"


def level_of(reading: Reading, threshold: float | None, outputs: int) -> float | None:
    """The level of a network's decisions: the user's, or that of a single output."""
    return threshold if threshold is not None or outputs > 1 else LEVELS[reading]


def _own(layer: Layer) -> tuple[Node, ...]:
    return tuple(own_program(layer, channel) for channel in range(layer.units))
