"""Whole networks and their replacements, certified: no run lies outside of what is said."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from small import CORE, read
from torch import Tensor, nn
from torch.nn import functional as F

from grammars.program import Node, const, linear, tap
from oracles.difference.answers import difference_bound
from oracles.difference.curves import NoTransformer
from oracles.difference.rounding import FLOAT32, FLOAT64
from oracles.difference.zonotope import box
from synth.assembly import LayerChoice, Status, UnitChoice, bank_module, opaque_layer
from synth.batches import Inputs
from synth.certify.proofs import Ball, prove_balls, prove_box
from synth.certify.walk import Certifier
from synth.engine import weighted_taps, with_head
from synth.layers import Layer
from synth.network import Network
from synth.outputs import Reading

Program = Callable[[Layer, int], Node | None]


class Pooled(nn.Module):
    """Strides, padding, groups, both poolings, a residual sum, a concatenation and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.bent = nn.PReLU(4)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.mean = nn.AvgPool2d(2, stride=1)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bent(self.first(x))
        x = F.relu6(self.grouped(x) + x)
        x = torch.cat([self.pool(x), self.mean(x)], 1).mean((2, 3))
        return torch.softmax(self.out(x / 3 - 0.25), 1)


class Heads(nn.Module):
    """A sequence of one dimension, smooth heads, moves and an elementwise maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 4, 3, padding=1)
        self.second = nn.Conv1d(4, 4, 3)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.first(x))
        a, b = F.silu(self.second(x)).chunk(2, 1)
        x = torch.maximum(a, torch.tanh(b)).transpose(1, 2)
        x = F.max_pool1d(x.transpose(1, 2), 2)
        return self.out(1 - x.reshape(x.size(0), -1))


def dense() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 5), nn.LeakyReLU(0.1), nn.Linear(5, 3)
    )


def flat() -> nn.Module:
    """A dense layer that reads maps through a flatten and nothing else."""
    convolution = nn.Conv2d(1, 3, 3, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3))


NETWORKS = {
    "dense": (dense, (6,)),
    "flat": (flat, (1, 4, 4)),
    "pooled": (Pooled, (2, 7, 7)),
    "heads": (Heads, (1, 10)),
}


def network(name: str) -> Network:
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    return read(make(), shape)


def rounded(layer: Layer, unit: int) -> Node | None:
    """The unit with weights on a grid of 1/8."""
    constants = np.append(layer.weight[unit], layer.bias[unit]).astype(np.float64)
    taps = weighted_taps(layer.scope.of(unit), np.round(constants * 8) / 8)
    return with_head(layer.heads[unit], taps)


def mixed(layer: Layer, unit: int) -> Node | None:
    """Rounded, opaque, constant, and trees of a maximum, of a product and of another head."""
    first, second, *_ = (tap(*key) for key in layer.scope.of(unit).columns)
    trees = [
        const(0.25),
        Node("max", (first, linear([(0.5, second)], 0.125))),
        linear([(0.5, Node("abs", (first,))), (1.0, Node("relu", (second,)))], 0.25),
    ]
    return {1: None, 2: trees[0], 3: trees[1], 4: trees[2]}.get(unit % 5, rounded(layer, unit))


def replaced(net: Network, program: Program) -> list[LayerChoice]:
    return [
        LayerChoice(
            layer,
            layer.scope,
            tuple(
                UnitChoice(u, Status.ROUNDED if p else Status.OPAQUE, p, 1, 0.0, 0.0, "test")
                for u, p in ((u, program(layer, u)) for u in range(layer.units))
            ),
        )
        for layer in net.layers
    ]


def runs(net: Network, choices: list[LayerChoice], x: Tensor, kind: torch.dtype) -> list[Tensor]:
    """Outputs of both networks; without their softmax, if they have one."""
    modules = {c.layer.name: bank_module(c, CORE) for c in choices}
    both = [net.replaced({}), net.replaced(modules)]
    if kind == torch.float64:
        double = net.double()
        both = [double.replaced({}), double.replaced({n: m.double() for n, m in modules.items()})]
    with torch.no_grad():
        found = [module(x.to(kind)) for module in both]
    return [out.log().double() if "softmax" in str(net.graph) else out.double() for out in found]


def within(outputs: Tensor, bounds: Tensor, softmax: bool) -> bool:
    """Whether differences (N, K) lie within bounds (1, K); through a softmax, those of logits."""
    if softmax:  # logits are known up to a constant: differences of differences are not
        apart = outputs - outputs[:, :1]
        return bool((apart.abs() <= bounds + bounds[:, :1] + 1e-5).all())
    return bool((outputs.abs() <= bounds).all())


@pytest.mark.parametrize("program", [rounded, mixed])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("radius", [0.0, 0.05])
def test_no_run_is_outside(name: str, program: Program, radius: float) -> None:
    """Differences of float64 runs in a ball lie within the bound, whatever stands for the units."""
    net = network(name)
    choices = replaced(net, program)
    center = torch.rand(1, *net.input_shapes[0], generator=torch.Generator().manual_seed(1))
    center = center.double()
    pair = Certifier.of(net, choices, CORE, FLOAT64)([box(center - radius, center + radius)])
    noise = torch.rand(200, *net.input_shapes[0], generator=torch.Generator().manual_seed(2))
    points = center + radius * (2 * noise.double() - 1).sign() * noise.double().round(decimals=1)
    original, other = runs(net, choices, points, torch.float64)
    softmax = name == "pooled"
    bound = difference_bound(pair)
    assert bound.isfinite().all() and within(other - original, bound, softmax)
    assert bound.max() > 1e-3  # the replacement does differ
    if not softmax:
        for values, known in ((original, pair.original), (other, pair.replaced)):
            assert ((values >= known.lower) & (values <= known.upper)).all()


def test_float32_runs() -> None:
    """Float32 runs of both networks lie within the bounds that are said to hold for them."""
    net = network("dense")
    choices = replaced(net, mixed)
    x = torch.rand(300, 6, generator=torch.Generator().manual_seed(3))
    pair = Certifier.of(net, choices, CORE, FLOAT32)([box(x.double(), x.double())])
    original, other = runs(net, choices, x, torch.float32)
    for values, known in ((original, pair.original), (other, pair.replaced)):
        assert ((values >= known.lower) & (values <= known.upper)).all()
    assert ((other - original).abs() <= difference_bound(pair)).all()


def test_equal_networks() -> None:
    """Units that keep their weights differ by nothing, through everything that is walked."""
    for name in NETWORKS:
        net = network(name)
        certifier = Certifier.of(net, [opaque_layer(la) for la in net.layers], CORE)
        x = torch.zeros(2, *net.input_shapes[0], dtype=torch.float64)
        assert difference_bound(certifier([box(x - 0.1, x + 0.1)])).max() < 1e-9


class Strange(nn.Module):
    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.out, self.between = nn.Linear(4, 4), nn.Linear(4, 2), between

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.between(self.first(x)))


@pytest.mark.parametrize(
    ("between", "said"),
    [
        (lambda x: x.cumsum(1), "cumsum"),
        (lambda x: x * x, "it multiplies two values"),
        (lambda x: F.pad(x, (1, 0), value=2.0)[:, :4], "a number other than 0"),
        (lambda x: x.half().float(), "rounds to other floats"),
        (lambda x: torch.softmax(x, 1), "softmax"),
    ],
)
def test_what_nothing_encloses(between: Callable[[Tensor], Tensor], said: str) -> None:
    """An operation without a sound transformer is named, with its node and what is lost."""
    net = read(Strange(between), (4,))
    with pytest.raises(NoTransformer, match=said) as caught:
        Certifier.of(net, [opaque_layer(la) for la in net.layers], CORE)(
            [box(torch.zeros(1, 4).double(), torch.ones(1, 4).double())]
        )
    assert "Nothing can be claimed" in str(caught.value)


def test_rows_of_probes() -> None:
    """Each probe's row says what its ball certifies, and no more probes are claimed than seen."""
    net = network("dense")
    inputs = Inputs([torch.rand(30, 6, generator=torch.Generator().manual_seed(4))])
    certifier = Certifier.of(net, replaced(net, rounded), CORE)
    rows = prove_balls(certifier, inputs, Ball(0.01), Reading.LOGITS)
    answers = net(*inputs.batch()).argmax(1).tolist()
    assert [row["answer"] for row in rows] == answers
    assert [row["probe"] for row in rows] == list(range(30))
    assert any(row["same"] for row in rows)
    wide = prove_balls(certifier, inputs, Ball(3.0), Reading.LOGITS)
    assert not any(row["original"] for row in wide)
    assert prove_balls(certifier, inputs, Ball(0.0), Reading.LOGITS, seconds=0.0) == []
    cut = prove_balls(certifier, inputs, Ball(3.0, within=(0.0, 1.0)), Reading.LOGITS)
    round_ = prove_balls(certifier, inputs, Ball(0.01, 2.0), Reading.LOGITS)
    assert all(a["bound"] < b["bound"] for a, b in zip(cut, wide, strict=True))
    assert all(a["bound"] <= b["bound"] for a, b in zip(round_, rows, strict=True))


def test_one_output_has_two_answers() -> None:
    """The sign of one number is an answer that can change."""
    torch.manual_seed(1)
    net = read(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1, bias=False)), (3,))
    certifier = Certifier.of(net, [opaque_layer(la) for la in net.layers], CORE)
    inputs = Inputs([torch.randn(40, 3, generator=torch.Generator().manual_seed(5))])
    rows = prove_balls(certifier, inputs, Ball(0.2), Reading.LOGIT)
    positive = (net(*inputs.batch())[:, 0] > 0).long().tolist()
    assert [row["answer"] for row in rows] == positive and 0 < sum(positive) < 40
    assert 0 < sum(row["same"] for row in rows) < 40


def test_a_box_is_split() -> None:
    """Splitting proves what one pass does not; a box that time is too short for proves nothing."""
    net = network("dense")
    certifier = Certifier.of(net, replaced(net, rounded), CORE)
    lower, upper = torch.zeros(6), torch.ones(6)
    whole = difference_bound(certifier([box(lower[None].double(), upper[None].double())])).max()
    found = prove_box(certifier, lower, upper, epsilon=0.8 * float(whole), seconds=60)
    assert found["boxes"] > 1 and not found["left"]
    assert math.isclose(found["share"], 1.0) and found["bound"] <= 0.8 * float(whole)
    x = torch.rand(2000, 6, generator=torch.Generator().manual_seed(6)).double()
    original, other = runs(net, replaced(net, rounded), x, torch.float64)
    assert (other - original).abs().max() <= found["bound"]
    never = prove_box(certifier, lower, upper, epsilon=0.0, seconds=0.2)
    assert never["bound"] is None and never["left"]
