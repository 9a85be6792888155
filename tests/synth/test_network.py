"""Reading a network: every layer is found, read back exactly, and can be replaced."""

import copy

import numpy as np
import pytest
import torch
from architectures import CASES, convolutional, mlp, randomised, read_case
from torch import Tensor, nn
from torch.nn import functional as F

from synth.errors import InputError
from synth.layers import Head
from synth.modules import layer_module
from synth.network import Network, ReadError, read_network


def read_module(module: nn.Module, *shape: int) -> Network:
    return read_network(randomised(module), torch.randn(1, *shape))


def assert_close(found: Tensor, expected: Tensor, *, relative: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= relative * expected.abs().max()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_network_is_read_exactly(case):
    """The graph equals the module bit for bit, and layers read back equal it to rounding."""
    module, network = read_case(case)
    replaced = network.replaced({layer.name: layer_module(layer) for layer in network.layers})
    assert tuple(layer.name for layer in network.layers) == case.layers
    for batch in (1, 7):
        x = torch.randn(batch, *case.shape)
        with torch.no_grad():
            expected = module(x.clone())
            before = x.clone()
            assert torch.equal(network(x), expected) or not case.exact
            assert_close(replaced(x), expected)
            assert torch.equal(x, before)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_bank_can_be_recorded(case):
    """All banks are 4-D maps of the batch, and a layer is its weights on its source's patches."""
    _, network = read_case(case)
    x = torch.randn(3, *case.shape, dtype=torch.float64)
    maps = network.double().record(x, network.banks)
    assert set(maps) == {*network.banks, "output"}
    for layer in network.layers:
        source, found = maps[layer.source], maps[layer.name]
        assert tuple(source.shape) == (3, *layer.in_shape)
        assert tuple(found.shape) == (3, *layer.out_shape)
        assert_close(layer_module(layer).double()(source), found, relative=1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_names_and_sources_are_consistent(case):
    """Bank names are unique, and sources are banks that were made before."""
    _, network = read_case(case)
    assert len(set(network.banks.values())) == len(network.banks)
    order = {node.name: i for i, node in enumerate(network.graph.nodes)}
    for layer in network.layers:
        assert order[network.banks[layer.source]] < order[network.banks[layer.name]]
        spot = network.nodes[layer.name]
        assert network.banks[layer.name] == spot.last
        assert network.banks[layer.source] == spot.source
        assert network.node(spot.linear).op == "call_function"
    for view in network.views:
        assert network.banks[view.name] == view.node_name
        assert set(view.sources) <= set(network.banks)
    assert tuple(opaque.node for opaque in network.opaque) == case.opaque


@pytest.mark.parametrize("case", CASES, ids=str)
def test_replacement_exports_and_traces(case):
    """The replaced network is an ordinary module: torch exports it with a free batch size."""
    _, network = read_case(case)
    replaced = network.replaced({layer.name: layer_module(layer) for layer in network.layers})
    x = torch.randn(2, *case.shape)
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(replaced, (x,), dynamic_shapes=shapes)
    assert torch.equal(program.module()(torch.cat([x, x])), replaced(torch.cat([x, x])))


def test_batch_norm_and_heads_are_folded():
    """A convolution, its batch norm and its PReLU are one layer with a head per unit."""
    module, network = read_case(CASES[2])
    assert [layer.heads[0].op for layer in network.layers] == ["relu", "prelu", "identity"]
    scale = 1 / torch.sqrt(module[5].running_var.double() + module[5].eps)  # type: ignore[index]
    weight = module[4].weight.detach().double().flatten(1) * scale[:, None]  # type: ignore[index]
    np.testing.assert_array_equal(network.layer("4").weight, weight.numpy().astype(np.float32))


def test_heads_carry_their_parameters():
    """Slopes and limits of the activations are read, PReLU's per unit."""
    module, network = read_case(CASES[3])
    slopes = tuple(Head("prelu", (("slope", s),)) for s in module[1].weight.tolist())  # type: ignore[index,union-attr]
    assert network.layer("0").heads == slopes
    assert network.layer("2").heads[0] == Head("leaky_relu", (("slope", 0.2),))
    assert network.layer("5").heads[0] == Head("clip", (("low", 0.0), ("high", 6.0)))
    assert network.layer("9").heads[0] == Head("clip", (("low", -0.5), ("high", 0.25)))
    assert network.layer("13").heads[0] == Head("gelu")


def test_dense_layer_after_flatten_reads_the_map():
    """A linear layer behind flatten and dropout has the map as its source and as its window."""
    _, network = read_case(CASES[2])
    layer = network.layer("9")
    assert (layer.source, layer.in_shape, layer.geometry.window) == ("4", (5, 3, 3), (3, 3))
    assert layer.columns()[9][0] == 1


def test_geometry_is_read():
    """Stride, padding in numbers or words, and dilation are read per axis."""
    _, network = read_case(CASES[4])
    first, second, third = (layer.geometry for layer in network.layers)
    assert (first.window, first.stride, first.padding) == ((3, 2), (2, 1), (1, 0))
    assert (second.dilation, second.padding) == ((2, 2), (2, 2))
    assert third.padding == (0, 0)


def test_sequences_are_maps_of_one_row():
    """A one-dimensional convolution has a window of one row."""
    _, network = read_case(CASES[5])
    layer = network.layers[0]
    assert (layer.in_shape, layer.out_shape) == ((3, 1, 10), (4, 1, 5))
    assert (layer.geometry.stride, layer.geometry.padding) == ((1, 2), (0, 2))


def test_in_place_sum_and_activation_are_views():
    """A residual sum and the activation after it are views of the layers that they read."""
    _, network = read_case(CASES[6])
    views = {view.name: view for view in network.views}
    assert views["add"].sources == ("conv2", "conv1")
    assert views["relu_1"].sources == ("add",)
    assert network.layer("conv2").heads[0] == Head("identity")
    assert network.layer("output_").source == "pool"


def test_activation_is_not_folded_when_another_reads():
    """A unit with two readers is cut before its activations."""
    _, network = read_case(CASES[12])
    assert network.layer("conv").heads[0] == Head("identity")
    assert [view.operation for view in network.views[:2]] == ["relu", "mul"]


def test_modules_keep_their_names():
    """An input or a functional call of the same name as a module gives way to the module."""
    _, network = read_case(CASES[11])
    assert network.input_names[0] == "x_"
    assert [view.name for view in network.views] == ["add", "relu_"]
    _, network = read_case(CASES[16])
    assert network.layer("0").source == network.views[0].name == "pad"


def test_opaque_nodes_say_why():
    """Unknown operations are named with reasons, and layers between them are read."""
    _, network = read_case(CASES[9])
    sort, fft, _ = network.opaque
    assert (network.layer("grouped").groups, network.layer("grouped").fan) == (3, 18)
    assert sort.reason == "sort is unknown, and holds no unit"
    assert fft.bank == ""
    assert network.layer("fc").in_shape == (6, 6, 6)


def test_random_dropout_is_opaque():
    """Dropout that stays active in eval mode is no identity."""

    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(super().forward(x))

    network = read_module(Noisy(3, 2), 3)
    assert "random" in network.opaque[0].reason


def test_weights_that_are_not_finite_are_listed_together():
    """All tensors with NaN or infinite values are named in one error, with a place."""
    module = convolutional()
    with torch.no_grad():
        module[0].weight[1, 0, 2, 2] = float("nan")  # type: ignore[index,operator]
        module[1].running_var[3] = float("inf")  # type: ignore[index,operator]
        module[9].bias[:2] = float("-inf")  # type: ignore[index,operator]
    with pytest.raises(ReadError) as caught:
        read_network(module, torch.zeros(1, 1, 8, 8))
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, InputError)
    names = [problem.split(":")[0] for problem in caught.value.problems]
    assert sorted(names) == ["0.weight", "1.running_var", "9.bias"]
    assert "1 of 36" in str(caught.value) and "(1, 0, 2, 2)" in str(caught.value)


def test_infinite_mask_in_a_buffer_is_allowed():
    """A buffer that holds no weights may be infinite, as attention masks are."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.register_buffer("mask", torch.tensor([0.0, 0.0, -torch.inf]))

        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(self.fc(x) + self.mask, 1)

    assert [layer.name for layer in read_module(Masked(), 3).layers] == ["fc"]


class TwoAnswers(nn.Module):
    """A body and two heads, of which the body's maps are an answer too if `deep`."""

    def __init__(self, deep: bool) -> None:
        super().__init__()
        self.deep = deep
        self.body, self.left, self.right = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.body(x).relu()
        found = {"left": self.left(hidden), "right": self.right(hidden)}
        return {"hidden": hidden, "left": found["left"]} if self.deep else found


def test_layers_that_feed_an_output_which_is_not_judged():
    """What only the judged output reads is not among them; all that others depend on is."""
    network = read_network(TwoAnswers(False), torch.zeros(1, 3), judged="left")
    assert network.beside_judged == {"body", "right"}
    network = read_network(TwoAnswers(True), torch.zeros(1, 3), judged="left")
    assert network.beside_judged == {"body"}
    assert read_module(mlp(), 6).beside_judged == set()


class FixedBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 3)


class Number(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, float]:
        return x + 1, 2.5


@pytest.mark.parametrize(
    ("module", "example", "message"),
    [
        (FixedBatch(), torch.zeros(1, 3), "free batch size"),
        (Number(), torch.zeros(1, 3), r"returns 2\.5 among its outputs"),
        (mlp(), torch.zeros(6), r"\(6,\)"),
    ],
)
def test_what_cannot_be_exported_is_explained(module, example, message):
    """A fixed batch size, a number returned or a missing batch axis give an error that says so."""
    with pytest.raises(ReadError, match=message):
        read_network(module, example)


def test_the_module_that_is_read_is_not_changed():
    """Reading copies: mode, gradients and weights of the original stay, and later training of it
    does not reach the network."""
    module = convolutional().train()
    before = copy.deepcopy(module.state_dict())
    network = read_network(module, torch.randn(4, 1, 8, 8))
    assert module.training and all(p.requires_grad for p in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    x = torch.randn(2, 1, 8, 8)
    expected = network(x)
    with torch.no_grad():
        module[9].bias += 1  # type: ignore[index,operator]
    assert torch.equal(network(x), expected)


def test_recording_may_stop_behind_what_is_wanted():
    """The maps are the same, there is no output, and nothing behind them runs."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.Flatten()).eval()
    x = torch.randn(4, 1, 8, 8)
    network = read_network(net, x)
    ran: list[str] = []
    plain = type(network.runner).run
    network.runner.run = lambda node, values: (  # type: ignore[method-assign]
        ran.append(node.name) or plain(network.runner, node, values)
    )
    early = network.record(x, ["0"], to_end=False)
    assert set(early) == {"0"} and len(ran) == 2
    assert torch.equal(early["0"], network.record(x, ["0"])["0"])


def test_recording_does_not_see_later_writes():
    """What is recorded before an in-place operation keeps its values."""
    module, network = read_case(CASES[6])
    x = torch.randn(2, 2, 6, 6)
    with torch.no_grad():
        first = F.relu(module.bn1(module.conv1(x)))  # type: ignore[operator]
        second = module.bn2(module.conv2(first))  # type: ignore[operator]
    maps = network.record(x, ["conv1", "conv2", "add", "relu_1"])
    torch.testing.assert_close(maps["conv1"], first)
    torch.testing.assert_close(maps["conv2"], second)
    torch.testing.assert_close(maps["add"], first + second)
    torch.testing.assert_close(maps["relu_1"], F.relu(first + second))


def test_a_mutant_layer_changes_the_output_as_computed():
    """A replaced layer that negates one unit changes the output as the module itself says."""

    class Mutant(nn.Module):
        def __init__(self, original: nn.Module) -> None:
            super().__init__()
            self.original = original

        def forward(self, maps: Tensor) -> Tensor:
            done = self.original(maps)
            return torch.cat([-done[:, :1], done[:, 1:]], 1)

    module, network = read_case(CASES[2])
    x = torch.randn(3, 1, 8, 8)
    modules = {"4": Mutant(layer_module(network.layer("4")))}
    with torch.no_grad():
        maps = module[:7](x)  # type: ignore[index]
        maps[:, 0] *= -1
        expected = module[7:](maps)  # type: ignore[index]
        assert_close(network.replaced(modules)(x), expected)
        assert not torch.allclose(network(x), expected, rtol=1e-2)
    recorded = network.record(x, ["0", "4", "9"], modules=modules)
    assert_close(recorded["4"], maps)
    assert_close(recorded["output"], expected)


def test_replacing_leaves_the_network_alone():
    """Replacing copies: the replacement owns its weights and drops those of replaced layers."""
    _, network = read_case(CASES[2])
    x = torch.randn(2, 1, 8, 8)
    expected = network(x)
    replaced = network.replaced({"4": layer_module(network.layer("4"))})
    assert not any(name.startswith(("4.", "5.")) for name in replaced.state_dict())
    assert "layer_4.module.weight" in replaced.state_dict()
    for parameter in replaced.parameters():
        parameter.data.zero_()
    assert torch.equal(network(x), expected)


def test_replacement_of_the_wrong_shape_is_refused():
    """A module that returns maps of another shape is refused with both shapes."""
    _, network = read_case(CASES[0])
    replaced = network.replaced({"0": nn.Identity()})
    with pytest.raises(ValueError, match=r"\(6, 1, 1\), expected \(8, 1, 1\)"):
        replaced(torch.zeros(1, 6))


def test_output_can_be_differentiated_by_banks():
    """With grad=True the output depends on the recorded maps: gradients are the true ones."""
    module, network = read_case(CASES[2])
    x = torch.randn(2, 1, 8, 8)
    recorded = network.record(x, [network.input_names[0], "0", "4"], grad=True)
    loss = recorded["output"].square().sum()
    found = torch.autograd.grad(loss, [recorded["0"], recorded["4"]])
    maps = module[:3](x).detach().requires_grad_()  # type: ignore[index]
    later = module[3:7](maps)  # type: ignore[index]
    expected = torch.autograd.grad(module[7:](later).square().sum(), [maps, later])  # type: ignore[index]
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)
    assert not network.record(x, ["0"])["output"].requires_grad


def test_double_computes_in_float64():
    """The float64 copy differs from the float32 network by rounding only, and layers stay."""
    _, network = read_case(CASES[6])
    double = network.double()
    x = torch.randn(2, 2, 6, 6)
    assert double(x.double()).dtype == torch.float64
    assert_close(network(x).double(), double(x.double()))
    assert double.layers is network.layers
    assert network(x).dtype == torch.float32


@pytest.mark.parametrize("what", ["record", "replaced", "layer", "node"])
def test_unknown_names_are_answered_with_the_nearest(what):
    """A wrong name of a bank, layer or node gets the nearest one as an answer."""
    _, network = read_case(CASES[6])
    calls = {
        "record": lambda: network.record(torch.zeros(1, 2, 6, 6), ["conv3"]),
        "replaced": lambda: network.replaced({"conv3": nn.Identity()}),
        "layer": lambda: network.layer("conv3"),
        "node": lambda: network.node("conv3d"),
    }
    with pytest.raises(ValueError, match="Did you mean 'conv"):
        calls[what]()


@pytest.mark.parametrize(
    "activation", [nn.LeakyReLU(1.5), nn.PReLU(init=5.0), nn.Hardtanh(-99, 99)]
)
def test_heads_outside_the_grammar_stay_views(activation):
    """A head whose parameters no program can say is left behind the unit, and nothing is lost."""
    module = nn.Sequential(nn.Linear(4, 3), activation).eval()
    network, x = read_network(module, torch.zeros(1, 4)), 9 * torch.randn(7, 4)
    (layer,) = network.layers
    assert {head.op for head in layer.heads} == {"identity"}
    replaced = network.replaced({layer.name: layer_module(layer)})
    assert torch.allclose(replaced(x), module(x), atol=1e-5)
