"""Emission: a replacement as source code that a person reads, and the weights beside it.

`decompiled.py` needs torch and nothing else. Each unit is one assignment, whose right side is the
text of its program; what text cannot hold (units that keep their weights, parameters of nodes that
we do not read) comes from `replacement.safetensors`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from torch import fx, nn

from grammars.grammar import Grammar
from grammars.names import Names, identifier
from grammars.primitive import Primitive
from grammars.program import PRE, Node, taps_of
from synth.assembly import LayerChoice, original_bits
from synth.emission.blocks import BlockWriter
from synth.emission.graph import GraphWriter, constant_text
from synth.emission.helpers import (
    KERNEL,
    MODULES,
    check_names,
    hidden_builtins,
    names_loaded,
    needed,
    primitive_source,
    renamed,
    support_sources,
    uses_of,
)
from synth.emission.kernels import KernelTexts, in_order, is_kernel, kernel_source
from synth.emission.layers import LayerWriter, status_counts
from synth.emission.layout import docstring
from synth.emission.maps import CONV
from synth.emission.names import Identifiers
from synth.emission.plan import Plan
from synth.emission.rows import WEIGHTS
from synth.emission.stored import WEIGHTS_FILE, graph_constants, stored_key
from synth.network import Network


def emit(
    network: Network,
    choices: Sequence[LayerChoice],
    grammar: Grammar,
    names: Names,
    *,
    notes: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """The text of `decompiled.py`: the network with the layers of `choices` as source code.

    `names` are those of all channels that the programs read or are, and of common values; `notes`
    (how it was made, what was measured) are printed at the top. The same arguments give the same
    text. ValueError for what cannot be written: a primitive without text, a graph node that is no
    operation of torch.
    """
    return _Emission(network, tuple(choices), grammar, names, notes).text()


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
        check_names(self.primitives, self.names, self.carried)
        writers = [self.writer(c) for c in self.choices]
        code = [*(w.source_text() for w in writers), self.forward()]
        code += list(self.tables(writers))
        used = _names_of(code)
        above = [self.stored_weights()] if WEIGHTS in used else []
        above = [*self.vocabulary(), *above]
        used |= _names_of(above)
        sources = support_sources(self.hidden, self.identifiers.support) | self.carried
        above = [*(sources[name] for name in needed(sources, used)), *above]
        used |= _names_of(above)
        imports = "\n".join(f"import {module}" for module in MODULES if module in used)
        head = f"{docstring(self.doc(), indent=0)}\n\n{imports}"
        return "\n\n\n".join([head, *above, *code]) + "\n"

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
        yield from self.reading_aid()

    def reading_aid(self) -> Iterator[str]:
        yield (
            "Each unit is one assignment, named after its layer and its channel; forward runs all "
            "layers."
        )
        if any(plan.values for plan in self.plans.values()):
            yield "What several units of a layer have in common is computed once, before them."
        if any(is_kernel(primitive) for primitive in self.primitives):
            yield (
                "Kernels are tables of weights by position, which conv cuts to the window of its "
                "layer and slides over maps: under conv, x[:, 0] is the whole map of channel 0 of "
                "x, and x_0 elsewhere its value where a window has its offset 0."
            )
        blocks = [block for plan in self.plans.values() for block in plan.blocks]
        if blocks:
            yield (
                "Many units of one form are one expression: over a table at the end of this file "
                f"or, where their weights are many, over rows of {WEIGHTS_FILE}."
            )

    def vocabulary(self) -> Iterator[str]:
        """The primitives that the programs use, as functions."""
        remember = any(str(t["bank"]).endswith(PRE) for p in self.programs for t in taps_of(p))
        support = self.identifiers.support
        for name, uses in uses_of(self.programs).items():
            primitive = self.grammar[name]
            if is_kernel(primitive):
                yield kernel_source(primitive, support[KERNEL], self.hidden)
            elif name != CONV:  # which each layer has for itself
                yield primitive_source(primitive, uses, support, remember=remember)

    def stored_weights(self) -> str:
        load = self.identifiers.support["load_weights"]
        return f'{WEIGHTS} = {load}(pathlib.Path(__file__).with_name("{WEIGHTS_FILE}"))'

    def writer(self, choice: LayerChoice) -> LayerWriter:
        """What writes the function of one layer."""
        network, layer, known = self.network, choice.layer, self.identifiers
        read, last = network.banks[layer.source], network.nodes[layer.name].last
        rank_in, rank_out = (network.node(n).meta["val"].dim() for n in (read, last))
        plan, stem = self.plans[layer.name], known.banks[layer.name].upper()
        return LayerWriter(
            plan=plan,
            names=self.names,
            function=known.banks[layer.name],
            source=known.banks[layer.source],
            ranks=(rank_in, rank_out),
            support=known.support,
            blocks=tuple(
                BlockWriter(plan, b, self.names, None if b.stored else known.table(stem))
                for b in plan.blocks
            ),
            taken=frozenset(known.taken),
        )

    def tables(self, writers: Iterable[LayerWriter]) -> Iterator[str]:
        """The tables of all layers: the last thing that people read."""
        helper = self.identifiers.support["table"]
        tables = (block.table for writer in writers for block in writer.blocks)
        yield from (table.source_text(helper) for table in tables if table is not None)

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
            path: constant_text(value, stored_key(path, self.choices), WEIGHTS)
            for path, value in graph_constants(module).items()
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
        inputs = [writer.text[n] for n in module.graph.nodes if n.op == "placeholder"]
        doc = docstring([f"{self.outputs()} of {self.inputs(inputs)}."])
        return "\n".join([f"def forward({', '.join(inputs)}):", doc, *lines])

    def inputs(self, names: Sequence[str]) -> str:
        """Which batches the network takes."""
        nodes = [node for node in self.network.graph.nodes if node.op == "placeholder"]
        shapes = [_batch_text(node) for node in nodes]
        pairs = (" ".join(pair) for pair in zip(names, shapes, strict=True))
        return f"a batch {shapes[0]}" if len(shapes) == 1 else f"batches {', '.join(pairs)}"

    def outputs(self) -> str:
        """What it makes of them."""
        shapes = [_batch_text(node) for node in self.network.output_nodes]
        if len(shapes) == 1:
            return f"Outputs {shapes[0]}"
        pairs = (" ".join(pair) for pair in zip(self.network.output_names, shapes, strict=True))
        return f"Outputs {', '.join(pairs)}"

    # what they are made from

    @cached_property
    def choices(self) -> tuple[LayerChoice, ...]:
        """In the order of the network."""
        by_name = {c.layer.name: c for c in self.chosen}
        return tuple(by_name[la.name] for la in self.network.layers if la.name in by_name)

    @cached_property
    def plans(self) -> dict[str, Plan]:
        return {c.layer.name: Plan(c, self.kernels) for c in self.choices}

    @cached_property
    def kernels(self) -> KernelTexts:
        return KernelTexts(self.grammar)

    @cached_property
    def programs(self) -> tuple[Node, ...]:
        return tuple(program for plan in self.plans.values() for program in plan.texts)

    @cached_property
    def primitives(self) -> tuple[Primitive, ...]:
        return tuple(self.grammar[name] for name in uses_of(self.programs))

    @cached_property
    def hidden(self) -> dict[str, str]:
        return hidden_builtins(self.primitives)

    @cached_property
    def carried(self) -> dict[str, str]:
        """What the functions of kernels refer to, as source by name."""
        found = (self.kernels.carried[p.name] for p in self.primitives if is_kernel(p))
        parts = {name: text for parts in found for name, text in parts.items()}
        return {name: renamed(text, self.hidden) for name, text in in_order(parts).items()}

    @cached_property
    def identifiers(self) -> Identifiers:
        return Identifiers.of(self.network, self.names, self.primitives, self.carried)


def _names_of(parts: Iterable[str]) -> frozenset[str]:
    return frozenset().union(*map(names_loaded, parts))


def _batch_text(node: fx.Node) -> str:
    """The shape of a node's value with a batch of N."""
    sizes = [str(size) if isinstance(size, int) else "N" for size in node.meta["val"].shape]
    return f"({', '.join(sizes)})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _one_line(value: object) -> str:
    return " ".join(str(value).split())
