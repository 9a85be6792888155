"""Networks of several inputs and outputs: their names, the judged one, and modules in place."""

from collections import namedtuple
from typing import Any

import pytest
import torch
from architectures import mlp
from torch import Tensor, nn

from synth.modules import layer_module
from synth.network import Network, ReadError, read_network

Pair = namedtuple("Pair", ("logits", "embedding"))


class Two(nn.Module):
    """Features and a map in; what `give` makes of logits and an embedding out."""

    def __init__(self, give: Any) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(3, 4), nn.Conv2d(1, 4, 2), nn.Linear(4, 2)
        self.give = give

    def forward(self, features: Tensor, image: Tensor) -> Any:
        hidden = torch.relu(self.a(features)) + self.b(image).mean((2, 3))
        return self.give(self.out(hidden), hidden)


EXAMPLE = (torch.zeros(1, 3), torch.zeros(1, 1, 4, 4))


def read(give: Any, judged: int | str | None = None) -> tuple[nn.Module, Network]:
    torch.manual_seed(0)
    module = Two(give).eval()
    return module, read_network(module, EXAMPLE, judged=judged)


GIVEN = {
    "tensor": (lambda logits, hidden: logits, ("output",)),
    "tuple": (lambda logits, hidden: (logits, hidden), ("output", "output_1")),
    "list": (lambda logits, hidden: [logits, hidden], ("output", "output_1")),
    "dict": (lambda logits, hidden: {"logits": logits, "h": hidden}, ("logits", "h")),
    "nested": (lambda logits, hidden: (logits, {"aux": {"h": hidden}}), ("output", "aux.h")),
    "none": (lambda logits, hidden: (logits, None, hidden), ("output", "output_1")),
    "named": (Pair, ("output", "output_1")),
    "twice": (lambda logits, hidden: (logits, hidden, hidden), ("output", "output_1", "output_2")),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_outputs_are_named_and_judged(kind: str):
    """Every form of several outputs has names, and each output can be the judged one."""
    give, names = GIVEN[kind]
    x = (torch.randn(5, 3), torch.randn(5, 1, 4, 4))
    for place, name in enumerate(names):
        module, network = read(give, judged=name)
        assert (network.output_names, network.judged) == (names, place)
        with torch.no_grad():
            expected = network.judge(module(*x))
            assert torch.equal(network(*x), expected)
            assert torch.equal(network.record(x, [])["output"], expected)
            outputs = network.module(*x)
            assert torch.equal(network.judge(outputs), expected)
            assert isinstance(outputs, Tensor) == (len(names) == 1)
            replaced = network.replaced({la.name: layer_module(la) for la in network.layers})
            torch.testing.assert_close(network.judge(replaced(*x)), expected)


def test_the_first_output_is_judged_by_default():
    """Without a choice the first is judged; a place chooses as a name does."""
    _, network = read(GIVEN["dict"][0])
    assert network.judged == 0
    _, network = read(GIVEN["dict"][0], judged=1)
    assert network.output_names[network.judged] == "h"


@pytest.mark.parametrize("judged", [2, -1, "labels"])
def test_an_unknown_output_is_refused(judged):
    """A place or name that no output has is refused with the names that there are."""
    with pytest.raises(ReadError, match=r"is no output .* below 2 or one of the names logits, h"):
        read(GIVEN["dict"][0], judged=judged)


def test_inputs_have_names_and_shapes():
    """Inputs are banks by the names of forward's arguments, in order."""
    _, network = read(GIVEN["tuple"][0])
    assert network.input_names == ("features", "image")
    assert network.input_shapes == ((3,), (1, 4, 4))
    x = (torch.randn(2, 3), torch.randn(2, 1, 4, 4))
    maps = network.record(x, network.input_names)
    assert torch.equal(maps["image"], x[1])
    assert [layer.source for layer in network.layers] == ["features", "image", "add"]


def test_a_lone_tensor_is_a_batch_of_one_input():
    """A network of one input takes a tensor wherever a batch is taken."""
    module = mlp().eval()
    network, x = read_network(module, torch.zeros(1, 6)), torch.randn(3, 6)
    assert torch.equal(network.record(x, [])["output"], network.record((x,), [])["output"])
    assert torch.equal(network(x), module(x))


class Any_(nn.Module):
    """Any number of inputs, the last of which nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        return self.fc(first + others[0])


def test_arguments_by_star_are_inputs():
    """Arguments that forward takes by a star are inputs like others, read or not."""
    example = tuple(torch.zeros(1, size) for size in (3, 3, 7))
    network = read_network(Any_().eval(), example)
    x = tuple(torch.randn(4, size) for size in (3, 3, 7))
    assert len(network.input_names) == 3 and network(*x).shape == (4, 2)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ((torch.zeros(1, 3), torch.tensor(1.0)), r"input 2 of 2 has shape \(\)"),
        ((torch.zeros(1, 3),), "cannot trace Two"),
    ],
)
def test_examples_that_do_not_fit_are_refused(example, message):
    """An input without a batch axis, or one too few, gives an error that says so."""
    with pytest.raises(ReadError, match=message):
        read_network(Two(GIVEN["tensor"][0]), example)
