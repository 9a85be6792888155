"""Controls: what a replacement is compared with, so that its figures mean something.

The network with its weights shuffled within each layer, random programs of equal bits, and
ablations, in which every replaced unit says nothing about the input any more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, fx, nn

from grammars.coding import program_bits
from grammars.common import Common
from grammars.grammar import Grammar
from grammars.primitive import Parameter, Real
from grammars.program import PRE, Node, Sort, Value, leaves, linear, tap, taps_of, terms_of
from grammars.scope import Column, Scope
from grammars.siblings import references
from synth.assembly import LayerChoice, UnitChoice
from synth.batches import Inputs, batch_size
from synth.layers import Layer
from synth.modules import OnMaps, layer_module
from synth.network import LayerNodes, Network
from synth.threads import each

DRAWS = 12  # random programs drawn for a unit, from which that of the nearest bits is taken


# the same network without structure


def shuffled(network: Network, *, seed: int) -> Network:
    """The network with the weights of each layer permuted among themselves, and its biases too.

    Batch norm is in the weights; heads stay. Banks, layers and opaque nodes keep their names, but
    for views that only fed a dense layer and are not computed any more.
    """
    layers = tuple(_permuted(la, [seed, i]) for i, la in enumerate(network.layers))
    modules = {la.name: layer_module(la) for la in layers}
    module = network.replaced(modules)
    names = _replacements(module, modules)
    nodes = {node.name for node in module.graph.nodes}
    banks = {bank: names.get(bank, node) for bank, node in network.banks.items()}
    banks = {bank: node for bank, node in banks.items() if node in nodes}
    return replace(
        network,
        module=module,
        layers=layers,
        views=tuple(view for view in network.views if view.name in banks),
        opaque=tuple(node for node in network.opaque if node.node in nodes),
        banks=banks,
        nodes={
            la.name: LayerNodes(names[la.name], names[la.name], banks[la.source]) for la in layers
        },
    )


def _permuted(layer: Layer, seed: Sequence[int]) -> Layer:
    generator = np.random.default_rng(seed)
    weight = generator.permutation(layer.weight.ravel()).reshape(layer.weight.shape)
    return replace(layer, weight=weight, bias=generator.permutation(layer.bias))


def _replacements(module: fx.GraphModule, modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """The graph node that computes each replaced layer."""
    layers = {id(part): name for name, part in modules.items()}
    found = {}
    for node in module.graph.nodes:
        part = module.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(part, OnMaps) and id(part.module) in layers:
            found[layers[id(part.module)]] = node.name
    return found


# the same bits without meaning


def random_program(
    choices: Sequence[LayerChoice], grammar: Grammar, *, seed: int
) -> list[LayerChoice]:
    """Choices of the same forms and nearly the same bits that compute something else.

    Each sum keeps its bias, its number of terms and the sizes of its coefficients, which change
    places and signs; taps move to random columns, and references to other siblings; kernels get
    other parameters. Of a few draws for a unit, the one is taken that keeps the bits so far nearest
    to the original's. Opaque and constant units stay.
    """
    generator = np.random.default_rng(seed)
    result, ahead = [], 0
    for choice in choices:
        units = []
        for unit in choice.units:
            drawn = _drawn_unit(choice, unit, grammar, generator, ahead)
            ahead += drawn.bits - unit.bits
            units.append(drawn)
        result.append(replace(choice, units=tuple(units), common=Common()))
    return result


def _drawn_unit(
    choice: LayerChoice,
    unit: UnitChoice,
    grammar: Grammar,
    generator: np.random.Generator,
    ahead: int,
) -> UnitChoice:
    """A random unit of the form of `unit`, with `ahead` bits too many spent before it."""
    if unit.program is None or not leaves([unit.program]):
        return unit
    scope = choice.scope.of(unit.channel)
    shuffle = _Shuffle(scope, _plain(choice, unit.channel), grammar, generator)
    drawn = [shuffle.node(unit.program) for _ in range(DRAWS)]
    others = [p for p in drawn if p != unit.program] or drawn
    priced = [(program_bits(p, scope, grammar), p) for p in others]
    bits, program = min(priced, key=lambda pair: abs(ahead + pair[0] - unit.bits))
    nan = float("nan")
    return replace(
        unit,
        program=program,
        bits=bits,
        fvu_local=nan,
        fvu_in_situ=nan,
        engine="random",
        family=None,  # without meaning there is nothing that its members have in common
    )


def _plain(choice: LayerChoice, channel: int) -> list[int]:
    """The siblings of a unit that refer to no sibling themselves, so that it may refer to them."""
    programs = [(u.channel, u.program) for u in choice.units if u.channel != channel]
    return [c for c, p in programs if p is not None and not references(p, choice.layer.name)]


@dataclass(frozen=True, eq=False)
class _Shuffle:
    """Draws programs of the form of others: over `scope`, with references to `siblings`."""

    scope: Scope
    siblings: Sequence[int]
    grammar: Grammar
    generator: np.random.Generator

    def node(self, node: Node) -> Node:
        """A random program of the same form."""
        if node.op == "tap":
            return self.taps([node])[0]
        if node.op == "linear":
            return self.sum(node)
        if self.grammar[node.op].result is Sort.WEIGHTS:
            return Node(node.op, tuple(map(self.node, node.args)), self.params(node))
        below = self if Sort.WEIGHTS not in self.grammar[node.op].args else self.under(node)
        return Node(node.op, tuple(map(below.node, node.args)), node.params)

    def under(self, node: Node) -> "_Shuffle":
        """What draws the sources of a kernel: channels where they are, if it reads no others."""
        columns = tuple(column for column in self.scope.columns if column[2:] == (0, 0))
        middle = Scope(self.scope.bank, self.scope.channels, columns)
        apart = not all(_key(tap_) in middle.index for tap_ in taps_of(node))
        return self if apart else replace(self, scope=middle)

    def params(self, node: Node) -> tuple[tuple[str, Value], ...]:
        """Values from anywhere on the grids, for those that are not at their default."""
        specs = dict(self.grammar[node.op].parameters)
        pairs = ((name, specs[name], value) for name, value in node.params)
        return tuple((n, v if v == s.default else self.value(s)) for n, s, v in pairs)

    def value(self, spec: Parameter) -> Value:
        if isinstance(spec, Real):
            return spec.value(int(self.generator.integers(spec.size)))
        return int(self.generator.integers(spec.low, spec.high + 1))

    def sum(self, node: Node) -> Node:
        terms, bias = terms_of(node)
        sizes = self.generator.permutation([abs(w) for w, _ in terms])
        signs = self.generator.choice([-1.0, 1.0], size=len(terms))
        taps = iter(self.taps([a for _, a in terms if a.op == "tap"]))
        atoms = [next(taps) if a.op == "tap" else self.node(a) for _, a in terms]
        weights = (float(v) for v in sizes * signs)
        return linear(zip(weights, atoms, strict=True), bias)

    def taps(self, taps: Sequence[Node]) -> list[Node]:
        """As many different taps: of siblings for taps of siblings, of columns for all others."""
        own = [[t for t in taps if t["bank"] == b] for b in self._own()]
        moved = {t: m for inside in own for t, m in zip(inside, self.moved(inside), strict=True)}
        outside = [self.scope.index[_key(t)] for t in taps if t not in moved]
        fresh = iter(tap(*self.scope.columns[i]) for i in self.columns(outside))
        return [moved[t] if t in moved else next(fresh) for t in taps]

    def columns(self, old: Sequence[int]) -> Sequence[int]:
        """As many different columns: any, or every other time at permuted distances.

        Supports of trained units lie close together, and close positions take fewer bits.
        """
        size = len(self.scope.columns)
        if self.generator.random() < 0.5:
            return self.generator.choice(size, size=len(old), replace=False).tolist()
        steps = self.generator.permutation(np.diff([-1, *sorted(old), size]))
        return (np.cumsum(steps)[:-1] - 1).tolist()

    def moved(self, taps: Sequence[Node]) -> Sequence[Node]:
        """As many different taps of siblings; the same where there are not so many."""
        if len(self.siblings) < len(taps):
            return taps
        channels = self.generator.choice(self.siblings, size=len(taps), replace=False)
        return [tap(str(t["bank"]), int(c)) for t, c in zip(taps, channels, strict=True)]

    def _own(self) -> tuple[str, str]:
        return self.scope.bank, f"{self.scope.bank}{PRE}"


def _key(node: Node) -> Column:
    bank, channel, dy, dx = (value for _, value in node.params)
    return str(bank), int(channel), int(dy), int(dx)  # type: ignore[arg-type]


# the same network without its replaced units


class Ablated(nn.Module):
    """A layer in which some channels are `values`, and the others are computed as ever.

    `values` broadcasts to (N, len(channels), h, w).
    """

    def __init__(self, layer: Layer, channels: Sequence[int], values: Tensor) -> None:
        super().__init__()
        self.own, self.shape = layer_module(layer), layer.out_shape
        self.channels = list(channels)  # sorted
        self.register_buffer("values", values)

    def forward(self, maps: Tensor) -> Tensor:
        values = self.get_buffer("values").to(maps)
        if len(self.channels) == self.shape[0]:
            return values.expand(len(maps), *self.shape)
        result = self.own(maps).clone()
        result[:, self.channels] = values
        return result


@dataclass(frozen=True, eq=False)
class UnitStatistics:
    """`mean` and `variance` (U,) float64 of a layer's units over probes and positions."""

    mean: np.ndarray
    variance: np.ndarray


def unit_statistics(
    network: Network, layers: Sequence[str], inputs: Inputs
) -> dict[str, UnitStatistics]:
    """Statistics of layers on probes, streamed; a constant unit has variance 0."""

    def sums(part: Inputs) -> list[np.ndarray]:
        maps = network.record(part.batch(), layers, to_end=False)
        return [_sums(maps[name]) for name in layers]

    held = sum(math.prod(network.layer(name).out_shape) for name in layers)
    found = zip(*each(sums, inputs.cut(batch_size(held))), strict=True)
    return {name: _statistics(np.stack(own)) for name, own in zip(layers, found, strict=True)}


def _sums(maps: Tensor) -> np.ndarray:
    """(5, U): the count, sum, sum of squares, minimum and maximum of each channel."""
    rows = maps.double().permute(1, 0, 2, 3).flatten(1).cpu().numpy()
    count = np.full(len(rows), float(rows.shape[1]))
    return np.stack([count, rows.sum(1), (rows**2).sum(1), rows.min(1), rows.max(1)])


def _statistics(parts: np.ndarray) -> UnitStatistics:
    count, total, squares = parts[:, :3].sum(0)
    mean = total / count
    spread = np.maximum(squares / count - mean**2, np.finfo(float).tiny)
    varies = parts[:, 4].max(0) > parts[:, 3].min(0)
    return UnitStatistics(mean, np.where(varies, spread, 0.0))


def replaced_channels(choice: LayerChoice) -> list[int]:
    """The channels of a layer that programs stand for: all but the opaque ones."""
    return [u.channel for u in choice.units if u.program is not None]


def mean_ablation(
    choices: Sequence[LayerChoice], means: Mapping[str, np.ndarray]
) -> dict[str, nn.Module]:
    """Modules in which all replaced units of all layers are `means[layer]` (U,), everywhere."""
    result = {}
    for choice in choices:
        channels = replaced_channels(choice)
        values = torch.from_numpy(means[choice.layer.name][channels])[:, None, None]
        result[choice.layer.name] = Ablated(choice.layer, channels, values)
    return result


def resample_ablation(
    choices: Sequence[LayerChoice], donors: Mapping[str, Tensor], generator: np.random.Generator
) -> dict[str, nn.Module]:
    """Modules for one batch in which each replaced unit is what it is on a random donor probe.

    `donors[layer]` (N, U, h, w) are activations on N donors for a batch of N; every unit of every
    probe draws its own donor, so that units say nothing about the input or one another.
    """
    result = {}
    for choice in choices:
        maps, channels = donors[choice.layer.name], replaced_channels(choice)
        drawn = generator.integers(len(maps), size=(len(maps), len(channels)))
        values = maps[torch.from_numpy(drawn), torch.tensor(channels, dtype=torch.long)]
        result[choice.layer.name] = Ablated(choice.layer, channels, values)
    return result
