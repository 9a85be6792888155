"""Emission: a replacement as source code that a person reads, and the weights beside it.

`decompiled.py` needs torch and nothing else. Each unit is one assignment, whose right side is the
text of its program; what text cannot hold (units that keep their weights, parameters of nodes that
we do not read) comes from `replacement.safetensors`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from safetensors.torch import save
from torch import Tensor, fx, nn

from grammars.grammar import Grammar
from grammars.names import Names, identifier
from grammars.primitive import Primitive
from grammars.program import PRE, Node, taps_of
from synth.assembly import LayerChoice, bank_module, original_bits
from synth.emission_graph import GraphWriter, constant_text, inlined
from synth.emission_helpers import (
    MODULES,
    check_names,
    names_loaded,
    needed,
    primitive_source,
    support_sources,
    uses_of,
)
from synth.emission_layers import Kept, LayerWriter, status_counts, written_programs
from synth.emission_names import Identifiers
from synth.emission_windows import WEIGHTS
from synth.files import write_atomic
from synth.layout import docstring
from synth.network import Network

WEIGHTS_FILE = "replacement.safetensors"


def emit(
    network: Network,
    choices: Sequence[LayerChoice],
    grammar: Grammar,
    names: Names,
    *,
    notes: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """The text of `decompiled.py`: the network with the layers of `choices` as source code.

    `names` are those of all channels that the programs read or are; `notes` (how it was made, what
    was measured) are printed at the top. The same arguments give the same text. ValueError for what
    cannot be written: a primitive without text, a graph node that is no operation of torch.
    """
    return _Emission(network, tuple(choices), grammar, names, notes).text()


def save_weights(
    network: Network,
    choices: Sequence[LayerChoice],
    grammar: Grammar,
    path: str | os.PathLike[str],
) -> None:
    """Write `replacement.safetensors`: each chosen layer's `<layer>.weight` and `<layer>.bias`
    (the affine rows of its programs), and constants of the remaining graph under their own paths.
    """
    tensors: dict[str, Tensor] = {}
    for choice in choices:
        module = bank_module(choice, grammar)
        tensors[f"{choice.layer.name}.weight"] = module.weight
        tensors[f"{choice.layer.name}.bias"] = module.bias
    remaining = _constants(_replaced(network, choices))
    kept = {_key(path, choices): v for path, v in remaining.items() if not inlined(v)}
    tensors |= {key: value.detach().cpu().clone() for key, value in kept.items()}
    write_atomic(path, save({key: value.contiguous() for key, value in tensors.items()}))


def constants_beside(network: Network) -> dict[str, Tensor]:
    """What the graph holds beside its layers, by path: the weights of opaque nodes."""
    return _constants(network.replaced({la.name: nn.Identity() for la in network.layers}))


def _replaced(network: Network, choices: Sequence[LayerChoice]) -> fx.GraphModule:
    """The graph with a module of the right place and name for each chosen layer."""
    return network.replaced({c.layer.name: nn.Identity() for c in choices})


def _constants(module: fx.GraphModule) -> dict[str, Tensor]:
    """What the graph reads beside its input, by path. ValueError for what is no tensor."""
    found: dict[str, Tensor] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            path = str(node.target)
            parent, _, leaf = path.rpartition(".")
            value = getattr(module.get_submodule(parent), leaf)
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"the graph node {node.name!r} reads a {type(value).__name__}, which cannot be "
                    "written as source: avoid control flow such as torch.cond in forward"
                )
            found[path] = value
    return found


def _key(path: str, choices: Sequence[LayerChoice]) -> str:
    """Where a constant of the graph is stored: under its path, unless rows of a layer are."""
    taken = {f"{c.layer.name}.{kind}" for c in choices for kind in ("weight", "bias")}
    while path in taken:
        path = f"original.{path}"
    return path


@dataclass(frozen=True, eq=False)
class _Emission:
    """The pieces of one emitted file."""

    network: Network
    chosen: tuple[LayerChoice, ...]
    grammar: Grammar
    names: Names
    notes: Mapping[str, object]

    def text(self) -> str:
        """The whole file."""
        check_names(self.primitives, self.names)
        code = [*(self.writer(c).source_text() for c in self.choices), self.forward()]
        if any(WEIGHTS in names_loaded(part) for part in code):
            code = [self.stored_weights(), *code]
        code = [*self.vocabulary(), *code]
        sources = support_sources(self.primitives, self.identifiers.support)
        code = [*(sources[n] for n in needed(sources, code)), *code]
        used = set().union(*map(names_loaded, code))
        imports = "\n".join(f"import {module}" for module in MODULES if module in used)
        head = f"{docstring(self.doc(), indent=0)}\n\n{imports}"
        return "\n\n\n".join([head, *code]) + "\n"

    # parts of the file, from the top

    def doc(self) -> Iterator[str]:
        layers = [c.layer for c in self.choices]
        units = sum(layer.units for layer in layers)
        size = f"{_count(units, 'unit')} in {_count(len(layers), 'layer')}"
        yield f"The source of a trained network: {size}."
        yield (
            f"Units by status: {status_counts(self.choices) or 'none'}. "
            f"Their weights took {original_bits(layers):,} bits in the original."
        )
        if self.network.opaque:
            nodes = ", ".join(f"{o.node} ({o.operation})" for o in self.network.opaque)
            yield f"Operations that were not read and stay as they were: {nodes}."
        if self.notes:
            yield "\n".join(f"    {key}: {_one_line(value)}" for key, value in self.notes.items())
        yield (
            "Each unit is one assignment, named after its layer and its channel; forward(x) runs "
            "all layers."
        )

    def vocabulary(self) -> Iterator[str]:
        """The primitives that the programs use, as functions."""
        remember = any(str(t["bank"]).endswith(PRE) for p in self.programs for t in taps_of(p))
        for name, uses in uses_of(self.programs).items():
            support = self.identifiers.support
            yield primitive_source(self.grammar[name], uses, support, remember=remember)

    def stored_weights(self) -> str:
        load = self.identifiers.support["load_weights"]
        return f'{WEIGHTS} = {load}(pathlib.Path(__file__).with_name("{WEIGHTS_FILE}"))'

    def writer(self, choice: LayerChoice) -> LayerWriter:
        """What writes the function of one layer."""
        network, layer, known = self.network, choice.layer, self.identifiers
        read, last = network.banks[layer.source], network.nodes[layer.name].last
        rank_in, rank_out = (network.node(n).meta["val"].dim() for n in (read, last))
        return LayerWriter(
            choice=choice,
            kept=self.kept[layer.name],
            grammar=self.grammar,
            names=self.names,
            function=known.banks[layer.name],
            source=known.banks[layer.source],
            ranks=(rank_in, rank_out),
            support=known.support,
            taken=frozenset(known.taken),
        )

    def forward(self) -> str:
        """The function that runs the layers and what is between them."""
        network, known = self.network, self.identifiers
        slots = {c.layer.name: nn.Identity() for c in self.choices}
        module = network.replaced(slots)
        layers = {id(slot): name for name, slot in slots.items()}
        calls = {
            str(n.target): layers[id(module.get_submodule(str(n.target)).module)]
            for n in module.graph.nodes
            if n.op == "call_module"
        }
        constants = {
            path: constant_text(value, _key(path, self.choices), WEIGHTS)
            for path, value in _constants(module).items()
        }
        banks = {node: bank for bank, node in network.banks.items()}

        def name(node: fx.Node) -> str:
            if node.op == "call_module":
                return known.free(f"{known.banks[calls[str(node.target)]]}_units")
            bank = banks.get(node.name)
            return known.banks[bank] if bank else known.free(identifier(node.name))

        functions = {target: known.banks[layer] for target, layer in calls.items()}
        writer = GraphWriter(functions, constants, name)
        lines = list(writer.statements(module.graph))
        argument = next(writer.text[n] for n in module.graph.nodes if n.op == "placeholder")
        shapes = (_batch_text(n) for n in _ends(network.graph))
        doc = docstring(["Outputs {1} of a batch {0}.".format(*shapes)])
        return "\n".join([f"def forward({argument}):", doc, *lines])

    # what they are made from

    @cached_property
    def choices(self) -> tuple[LayerChoice, ...]:
        """In the order of the network."""
        by_name = {c.layer.name: c for c in self.chosen}
        return tuple(by_name[la.name] for la in self.network.layers if la.name in by_name)

    @cached_property
    def kept(self) -> dict[str, Kept]:
        return {c.layer.name: Kept.of(c, self.grammar) for c in self.choices}

    @cached_property
    def programs(self) -> tuple[Node, ...]:
        written = (written_programs(c, self.kept[c.layer.name]) for c in self.choices)
        return tuple(program for programs in written for program in programs)

    @cached_property
    def primitives(self) -> tuple[Primitive, ...]:
        return tuple(self.grammar[name] for name in uses_of(self.programs))

    @cached_property
    def identifiers(self) -> Identifiers:
        return Identifiers.of(self.network, self.names, self.primitives)


def _ends(graph: fx.Graph) -> tuple[fx.Node, fx.Node]:
    """The input of a graph and the node that it returns."""
    nodes = list(graph.nodes)
    return next(n for n in nodes if n.op == "placeholder"), nodes[-1].args[0]


def _batch_text(node: fx.Node) -> str:
    """The shape of a node's value with a batch of N."""
    sizes = [str(size) if isinstance(size, int) else "N" for size in node.meta["val"].shape]
    return f"({', '.join(sizes)})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _one_line(value: object) -> str:
    return " ".join(str(value).split())
