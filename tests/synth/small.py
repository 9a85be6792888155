"""Small layers and networks with their evidence: what the tests of search and choice share."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from grammars.evaluation import evaluate
from grammars.grammar import load_grammar
from grammars.interpreters.torch import TorchAlgebra
from grammars.program import Node, linear, tap
from synth.assembly import LayerChoice, Status, UnitChoice, own_program
from synth.batches import Inputs
from synth.choice import Chooser
from synth.engine import UnitEvidence, with_head
from synth.engines.linear import LinearEngine
from synth.evidence import LayerEvidence, Probes, Walks, gather
from synth.layers import Geometry, Head, Layer
from synth.metric import Metric, unit_metrics
from synth.network import Network, read_network
from synth.picking import Criteria, Fronts
from synth.price import costs, gradients, priced_probes
from synth.schedule import search_unit

CORE = load_grammar(installed=False)
BANK = "input_1"  # the bank that an nn.Sequential's first layer reads

IDENTITY, RELU = Head("identity"), Head("relu")
HEADS = (
    IDENTITY,
    RELU,
    Head("leaky_relu", (("slope", 0.125),)),
    Head("prelu", (("slope", 0.25),)),
    Head("clip", (("low", 0.0), ("high", 1.0))),
    Head("sigmoid"),
    Head("tanh"),
)


def correlated(rows: int, columns: int, correlation: float, seed: int) -> np.ndarray:
    """(rows, columns) standard normal features, each pair of them with that correlation."""
    generator = np.random.default_rng(seed)
    common = generator.standard_normal((rows, 1))
    own = generator.standard_normal((rows, columns))
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own


def random_probes(
    *shapes: tuple[int, ...], fit: int = 300, select: int = 120, seed: int = 0
) -> Probes:
    """Probes of uniform values between −0.5 and 1, with an input of each shape."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.rand(fit + select, *s, generator=generator) * 1.5 - 0.5 for s in shapes]
    return Probes(Inputs([t[:fit] for t in drawn]), Inputs([t[fit:] for t in drawn]))


def read(module: nn.Module, shape: tuple[int, ...]) -> Network:
    return read_network(module, torch.zeros(1, *shape))


def seeded(*parts: nn.Module) -> nn.Sequential:
    """A sequential network whose weights depend on nothing but its shape."""
    generator = torch.Generator().manual_seed(1)
    module = nn.Sequential(*parts)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return module


def dense_layer(
    weights: Sequence[np.ndarray], biases: Sequence[float], heads: Sequence[Head]
) -> Layer:
    """A layer "fc1" of units over the input of a dense network."""
    columns, units = len(weights[0]), len(weights)
    shapes = (columns, 1, 1), (units, 1, 1)
    return Layer(
        "fc1", BANK, *shapes, Geometry((1, 1)), np.array(weights), np.array(biases), tuple(heads)
    )


def dense_evidence(layer: Layer, probes: Probes | None = None, *, seed: int = 0) -> LayerEvidence:
    """Evidence of a `dense_layer`."""
    columns = layer.in_shape[0]
    walks = Walks(_dense(columns), probes or random_probes((columns,)))
    return walks.evidence(layer, seed=seed)


@cache
def _dense(columns: int) -> Network:
    """A network whose first layer reads so many inputs; its weights do not matter."""
    network = read(nn.Sequential(OrderedDict(fc1=nn.Linear(columns, 1))), (columns,))
    assert network.input_names == (BANK,)
    return network


def pictures(count: int, channels: int, side: int, *, seed: int) -> np.ndarray:
    """Noise whose amplitude falls as 1/f, as in photographs: (count, channels, side, side)."""
    generator = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / side)
    shape = (count, channels, *amplitude.shape)
    spectrum = amplitude * (generator.normal(size=shape) + 1j * generator.normal(size=shape))
    noise = np.fft.irfft2(spectrum, s=(side, side))
    return (noise / noise.std()).astype(np.float32)


def unit_evidence(evidence: LayerEvidence, channel: int = 0) -> UnitEvidence:
    return UnitEvidence(evidence, channel, CORE)


def planted(head: Head, weights: dict[int, float], bias: float) -> Node:
    """The program of a planted unit: weights by column of a dense layer."""
    return with_head(head, linear([(w, tap(BANK, c)) for c, w in weights.items()], bias))


def by_taps(program: Node, evidence: LayerEvidence) -> np.ndarray:
    """(n,) values of a program on the evidence, each tap read by itself."""
    layer, patches = evidence.layer, torch.from_numpy(evidence.patches.astype(np.float64))
    place = {(layer.source, *where): i for i, where in enumerate(layer.columns())}

    def value(bank: str, channel: int, dy: int, dx: int) -> Tensor:
        if bank == layer.name:
            return torch.from_numpy(evidence.target[:, channel])
        if bank == f"{layer.name}:pre":
            return torch.from_numpy(evidence.pre[:, channel])
        return patches[:, place[bank, channel, dy, dx]]

    result = evaluate(program, TorchAlgebra(value), CORE)
    return torch.as_tensor(result, dtype=torch.float64).expand(len(patches)).numpy()


def evidence_of(network: Network, probes: Probes) -> dict[str, LayerEvidence]:
    return {e.layer.name: e for e in gather(network, probes, seed=0)}


def fronts_of(network: Network, probes: Probes, *, budget: int = 400) -> tuple[Fronts, ...]:
    """Fronts and prices of all layers."""
    priced = gradients(network, priced_probes(network, probes.fit), seed=0)
    result = []
    for evidence in gather(network, probes, seed=0):
        layer = evidence.layer
        units = tuple(
            search_unit(unit_evidence(evidence, c), [LinearEngine()], budget=budget, seed=0).front
            for c in range(layer.units)
        )
        prices = costs(layer, units, priced[layer.name], CORE)
        result.append(Fronts(layer, units, tuple(prices)))
    return tuple(result)


def chooser_of(
    network: Network,
    probes: Probes,
    fronts: tuple[Fronts, ...],
    *,
    max_fvu: float = 0.05,
    max_error: float = 0.25,
    max_kl: float = 0.01,
    min_agreement: float = 0.99,
) -> Chooser:
    criteria = Criteria(max_fvu, max_error, max_kl, min_agreement)
    known = evidence_of(network, probes)
    engines = {"linear": LinearEngine()}
    return Chooser(network, fronts, lambda la: known[la.name], probes, criteria, CORE, engines)


def chosen(layer: Layer, programs: Sequence[Node | None]) -> LayerChoice:
    """A choice of given programs, None for an opaque unit."""
    units = (
        UnitChoice(c, Status.OPAQUE if p is None else Status.PROGRAM, p, 1, 0.0, 0.0, "hand")
        for c, p in enumerate(programs)
    )
    return LayerChoice(layer, layer.scope, tuple(units))


def as_they_are(network: Network) -> list[LayerChoice]:
    """Every unit of every layer as the program of its own weights."""
    return [chosen(la, [own_program(la, c) for c in range(la.units)]) for la in network.layers]


def unit_metric(evidence: LayerEvidence, channel: int, *, caution: float = 0.0) -> Metric:
    """The metric of one unit at one caution."""
    return next(unit_metrics(evidence, channel, [caution]))
