"""Modules, parameters and inputs of any name are read by that name."""

import pytest
import torch
from architectures import randomised
from torch import Tensor, nn

from synth.modules import layer_module
from synth.network import Network, ReadError, read_network


class Named(nn.Module):
    """A chain of children of the given names, some of them in a dict; one called twice."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            self.add_module(name, nn.Linear(3, 3))
        self.table = nn.ModuleDict({"if": nn.Linear(3, 3), "two words": nn.Linear(3, 3)})
        self.register_parameter("lambda", nn.Parameter(torch.randn(3)))
        self.names = names

    def forward(self, x: Tensor) -> Tensor:
        for name in self.names:
            x = torch.relu(self.get_submodule(name)(x))
        x = self.table["two words"](torch.relu(self.table["if"](x)))
        return getattr(self, "lambda") * self.get_submodule(self.names[0])(x)


NAMES = ("class", "class_", "class__", "for", "3x", "a b", "output", "x", "relu", "linear", "None")


def read() -> tuple[nn.Module, Network]:
    torch.manual_seed(0)
    module = randomised(Named(*NAMES))
    return module, read_network(module, torch.zeros(1, 3))


def test_every_name_is_kept():
    """Keywords, digits, spaces and names that others have are the banks' names."""
    module, network = read()
    named = ["output_" if name == "output" else name for name in NAMES]
    expected = [*named, "table.if", "table.two words", "class@2"]
    assert [layer.name for layer in network.layers] == expected
    x = torch.randn(4, 3)
    replaced = network.replaced({la.name: layer_module(la) for la in network.layers})
    torch.testing.assert_close(network(x), module(x))
    torch.testing.assert_close(replaced(x), module(x))


def test_weights_do_not_change_places():
    """Names that differ by an underscore only keep each its own weights."""
    module, network = read()
    for name in ("class", "class_", "class__"):
        weight = module.get_submodule(name).weight.detach().numpy()  # type: ignore[union-attr]
        assert (network.layer(name).weight == weight).all()


def test_bad_weights_are_named_as_the_module_names_them():
    """The error for a number that is not finite says class.weight, not what stands for it."""
    module = Named(*NAMES)
    with torch.no_grad():
        module.get_parameter("class.weight")[1, 2] = torch.nan
    with pytest.raises(ReadError, match=r"class\.weight: 1 of 9"):
        read_network(module, torch.zeros(1, 3))


class WritesThrough(nn.Module):
    """A keyword's module before a write through shared memory."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("class", nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = self.get_submodule("class")(x)
        y.view(-1, 2, 2).relu_()
        return y * 2


def test_keywords_survive_functionalisation():
    """A graph whose writes torch must untangle keeps the names as well."""
    module = WritesThrough().eval()
    network = read_network(module, torch.zeros(1, 4))
    assert [layer.name for layer in network.layers] == ["class"]
    x = torch.randn(3, 4)
    torch.testing.assert_close(network(x), module(x))
