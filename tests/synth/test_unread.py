"""Dead code goes where nothing reads it, changes no output, and stays where anything might."""

from dataclasses import replace

import pytest
import torch
from architectures import Branches, Residual, randomised
from small import CORE, as_they_are, chosen, random_probes, read, seeded
from torch import Tensor, nn

from grammars.program import Node, call, const, linear, tap
from synth.assembly import LayerChoice, Status, assemble, own_program
from synth.network import Network
from synth.unread import without_unread


def mlp() -> nn.Module:
    return seeded(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))


def flattened() -> nn.Module:
    return seeded(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)
    )


def stacked() -> nn.Module:
    return seeded(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Dropout(), nn.Conv2d(4, 3, 2), nn.Tanh()
    )


def reading(network: Network, choices: list[LayerChoice], layer: int, channels: set[int]):
    """The choices with programs of a layer that read some channels of its source only."""
    la = network.layers[layer]
    pairs = [(i, where) for i, where in enumerate(la.columns()) if where[0] in channels]
    programs = [
        linear([(float(la.weight[u, i]), tap(la.source, *where)) for i, where in pairs])
        for u in range(la.units)
    ]
    return [chosen(la, programs) if i == layer else c for i, c in enumerate(choices)]


def constants(choice: LayerChoice) -> set[int]:
    return {u.channel for u in choice.units if u.program == const(0.0)}


def equal_outputs(network: Network, one: list[LayerChoice], other: list[LayerChoice]) -> bool:
    """Whether both compute the same, in float64: fewer rows may be summed in another order."""
    x = [t.double() for t in random_probes(*network.input_shapes, fit=50).fit.batch()]
    modules = (assemble(network, choices, CORE).double() for choices in (one, other))
    with torch.no_grad():
        here, there = (module(*x) for module in modules)
    return torch.allclose(here, there, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "shape", "reader"),
    [(mlp, (4,), 1), (flattened, (1, 4, 4), 1), (stacked, (1, 8, 8), 1)],
    ids=["mlp", "flattened", "stacked"],
)
def test_unread_units_become_zero(make, shape, reader):
    """Channels that no reader's program taps are ablated, and the outputs stay."""
    network = read(make(), shape)
    before = reading(network, as_they_are(network), reader, {0, 2})
    after = without_unread(network, before, CORE)
    assert constants(after[0]) == set(range(network.layers[0].units)) - {0, 2}
    assert all(u.status is Status.ABLATED for u in after[0].units if u.program == const(0.0))
    assert [c.units for c in after[1:]] == [c.units for c in before[1:]]
    assert equal_outputs(network, before, after)


def test_dead_code_goes_from_the_last_layer_back():
    """What only dead units read is dead too."""
    network = read(mlp(), (4,))
    choices = reading(network, as_they_are(network), 2, {1})
    la = network.layers[1]
    programs = [own_program(la, c) for c in range(la.units)]
    programs[1] = call("relu", linear([(0.5, tap(la.source, 3))], 0.25))
    choices[1] = chosen(la, programs)
    after = without_unread(network, choices, CORE)
    assert constants(after[1]) == {0, 2, 3} and constants(after[0]) == {0, 1, 2, 4}
    assert equal_outputs(network, choices, after)


@pytest.mark.parametrize(
    "reference", [tap("0", 4), call("relu", linear([(-1.0, tap("0:pre", 4))]))]
)
def test_siblings_read_too(reference: Node):
    """A unit that a read sibling refers to stays; one that only a dead sibling refers to goes."""
    network = read(mlp(), (4,))
    choices = reading(network, as_they_are(network), 1, {0, 1})
    programs = list(choices[0].programs())
    programs[1] = reference
    programs[2] = tap("0", 3)
    choices[0] = chosen(network.layers[0], programs)
    after = without_unread(network, choices, CORE)
    assert constants(after[0]) == {2, 3}
    assert equal_outputs(network, choices, after)


def test_inactive_units_keep_their_status():
    """A unit that is constant anyway stays inactive, and an opaque one that is unread goes."""
    network = read(mlp(), (4,))
    choices = reading(network, as_they_are(network), 1, {0})
    units = list(choices[0].units)
    units[3] = replace(units[3], status=Status.INACTIVE, program=const(0.5))
    units[4] = replace(units[4], status=Status.OPAQUE, program=None)
    choices[0] = replace(choices[0], units=tuple(units))
    after = without_unread(network, choices, CORE)[0].units
    assert (after[3].status, after[3].program) == (Status.INACTIVE, const(0.5))
    assert (after[4].status, after[4].program) == (Status.ABLATED, const(0.0))


class Concatenated(nn.Module):
    """A convolution that a layer reads and that goes to the output besides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.fc = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.conv(x))
        return torch.cat([self.fc(a.flatten(1)), a.mean((2, 3))], 1)


class Sorted(nn.Module):
    """An operation between two layers that we do not know."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.sort(torch.relu(self.fc(x)), 1)[0])


@pytest.mark.parametrize(
    ("make", "shape"),
    [(Residual, (2, 6, 6)), (Branches, (1, 6, 6)), (Concatenated, (1, 4, 4)), (Sorted, (4,))],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_other_readers_keep_everything(make, shape):
    """Where a sum, a concatenation or an unknown operation reads a bank, no unit of it goes."""
    torch.manual_seed(0)
    network = read(randomised(make()), shape)
    zeros = [chosen(la, [const(0.0)] * la.units) for la in network.layers]
    before = [as_they_are(network)[0], *zeros[1:]]  # no layer's program reads the first bank
    assert without_unread(network, before, CORE)[0] is before[0]


def test_the_output_is_read():
    """Units of the last layer stay, although no program reads them."""
    network = read(mlp(), (4,))
    assert without_unread(network, as_they_are(network), CORE)[-1].units[0].program != const(0.0)


def test_layers_that_are_not_chosen_read():
    """Without a choice for its reader a layer keeps all units."""
    network = read(mlp(), (4,))
    first = as_they_are(network)[:1]
    assert without_unread(network, first, CORE) == first
