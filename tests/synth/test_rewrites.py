"""Each form that is rewritten, or read in place, becomes the layer that it is, and equals it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from architectures import randomised
from torch import Tensor, nn
from torch.nn import functional as F

from synth.layers import Head
from synth.modules import layer_module
from synth.network import Network, read_network


class Made(nn.Module):
    """A function of named children and parameters."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part if isinstance(part, nn.Module) else nn.Parameter(part))

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


@dataclass(frozen=True)
class Form:
    """A network of one layer, the bank of it, its heads, window and groups, and the views."""

    name: str
    module: Callable[[], nn.Module]
    shape: tuple[int, ...]
    layer: str
    head: str = "identity"
    window: tuple[int, int] = (1, 1)
    groups: int = 1
    views: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


MOVED = ("permute", "permute")
FORMS = (
    Form(
        "dense layer over tokens",
        lambda: nn.Sequential(nn.Linear(5, 4), nn.GELU()),
        (3, 5),
        "0",
        "gelu",
        views=MOVED,
    ),
    Form(
        "dense layer over the last axis of maps",
        lambda: nn.Sequential(nn.Linear(5, 4, bias=False), nn.Hardswish()),
        (3, 2, 5),
        "0",
        "hardswish",
        views=MOVED,
    ),
    Form(
        "dense layer between two transpositions",
        lambda: Made(
            lambda m, x: torch.relu(m.fc(x.transpose(1, 2))).transpose(1, 2), fc=nn.Linear(3, 4)
        ),
        (3, 5),
        "fc",
        "relu",
    ),
    Form(
        "dense layer, transposition, batch norm",
        lambda: Made(
            lambda m, x: F.silu(m.bn(m.fc(x).transpose(1, 2))),
            fc=nn.Linear(5, 4),
            bn=nn.BatchNorm1d(4),
        ),
        (3, 5),
        "fc",
        "silu",
        views=("permute",),
    ),
    Form(
        "product with a matrix",
        lambda: Made(lambda m, x: torch.relu(x @ m.w + m.b), w=torch.randn(5, 4), b=torch.randn(4)),
        (5,),
        "matmul",
        "relu",
    ),
    Form(
        "product and sum, the constant first, over tokens",
        lambda: Made(lambda m, x: torch.tanh(m.b + x @ m.w), w=torch.randn(5, 4), b=torch.randn(4)),
        (3, 5),
        "matmul",
        "tanh",
        views=MOVED,
    ),
    Form(
        "product from the left",
        lambda: Made(lambda m, x: m.w @ x, w=torch.randn(4, 3)),
        (3, 5),
        "matmul",
    ),
    Form("mm", lambda: Made(lambda m, x: x.mm(m.w), w=torch.randn(5, 4)), (5,), "mm"),
    Form(
        "addmm",
        lambda: Made(lambda m, x: torch.addmm(m.b, x, m.w), w=torch.randn(5, 4), b=torch.randn(4)),
        (5,),
        "addmm",
    ),
    Form("batch norm alone", lambda: nn.Sequential(nn.BatchNorm2d(3)), (3, 4, 5), "0", groups=3),
    Form(
        "batch norm of a sequence, with its activation",
        lambda: nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()),
        (3, 5),
        "0",
        "relu",
        groups=3,
    ),
    Form(
        "batch norm of features",
        lambda: nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.Hardsigmoid()),
        (3,),
        "0",
        "hardsigmoid",
        groups=3,
    ),
    Form(
        "numbers a channel",
        lambda: Made(
            lambda m, x: (x - m.mean) / m.std,
            mean=torch.randn(3, 1, 1),
            std=torch.rand(1, 3, 1, 1) + 0.5,
        ),
        (3, 4, 5),
        "sub",
        groups=3,
    ),
    Form(
        "layer scale after a convolution",
        lambda: Made(
            lambda m, x: m.scale * m.conv(x), conv=nn.Conv2d(3, 4, 1), scale=torch.randn(4, 1, 1)
        ),
        (3, 4, 5),
        "conv",
    ),
    Form("prelu alone", lambda: nn.Sequential(nn.PReLU(3)), (3, 4, 5), "0", "prelu", groups=3),
    Form(
        "depthwise convolution",
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, groups=3, bias=False), nn.BatchNorm2d(6), nn.ReLU6()
        ),
        (3, 5, 5),
        "0",
        "clip",
        (3, 3),
        3,
    ),
    Form(
        "grouped sequence, stretched",
        lambda: nn.Sequential(nn.Conv1d(4, 6, 3, groups=2, dilation=2, padding="same"), nn.Tanh()),
        (4, 7),
        "0",
        "tanh",
        (1, 3),
        2,
    ),
    Form(
        "padding that is longer on one side",
        lambda: nn.Sequential(nn.Conv2d(2, 3, (2, 3), padding="same"), nn.SiLU()),
        (2, 4, 5),
        "0",
        "silu",
        (2, 3),
        views=("pad",),
    ),
    Form(
        "gated by its own sigmoid",
        lambda: Made(lambda m, x: (y := m.conv(x)) * torch.sigmoid(y), conv=nn.Conv2d(2, 3, 1)),
        (2, 4, 5),
        "conv",
        "silu",
    ),
    Form(
        "channel attention by another branch",
        lambda: Made(
            lambda m, x: x * torch.sigmoid(m.conv(x.mean((2, 3), keepdim=True))),
            conv=nn.Conv2d(3, 3, 1),
        ),
        (3, 4, 5),
        "conv",
        "sigmoid",
        views=("mean", "mul"),
    ),
)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_form_is_read(form: Form):
    """One layer with its head, window and groups, the views told, and the same output."""
    torch.manual_seed(0)
    module = randomised(form.module())
    network = read_network(module, torch.zeros(1, *form.shape))
    (layer,) = network.layers
    assert (layer.name, layer.geometry.window) == (form.layer, form.window)
    assert (layer.heads[0].op, layer.groups) == (form.head, form.groups)
    assert tuple(view.operation for view in network.views) == form.views
    assert network.opaque == ()
    x = torch.randn(4, *form.shape)
    with torch.no_grad():
        expected = module(x)
        for found in (network(x), network.replaced({layer.name: layer_module(layer)})(x)):
            assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def read(function: Callable[..., Any], *shape: int, **parts: nn.Module | Tensor) -> Network:
    module = randomised(Made(function, **parts))
    return read_network(module, torch.zeros(1, *shape))


def test_a_prelu_after_a_sum_has_its_own_slopes():
    """A layer of identities with a head each stands for an activation that holds weights."""
    network = read(lambda m, x: m.act(x + x), 3, 4, 5, act=nn.PReLU(3))
    (layer,) = network.layers
    slopes = network.module.get_parameter("act.weight").tolist()
    assert layer.heads == tuple(Head("prelu", (("slope", s),)) for s in slopes)
    assert layer.weight.tolist() == [[1.0]] * 3 and not layer.bias.any()


def test_channel_shuffle_has_no_banks_on_the_way():
    """What has five dimensions between two views is passed through and named nowhere."""

    def shuffle(m: nn.Module, x: Tensor) -> Tensor:
        return m.conv(x.view(-1, 2, 2, 3, 3).transpose(1, 2).flatten(1, 2))

    network = read(shuffle, 4, 3, 3, conv=nn.Conv2d(4, 2, 3))
    assert network.opaque == ()
    assert [(v.operation, v.sources) for v in network.views] == [("flatten", ("inputs_0",))]


def test_pieces_of_a_split_are_banks():
    """A split itself is no bank; each of its pieces is a view of what was split."""
    network = read(
        lambda m, x: m.conv(torch.cat(x.chunk(2, 1)[::-1], 1)), 4, 3, 3, conv=nn.Conv2d(4, 2, 1)
    )
    assert network.opaque == ()
    assert [v.sources for v in network.views[:2]] == [("inputs_0",), ("inputs_0",)]
    assert set(network.views[2].sources) == {view.name for view in network.views[:2]}


def test_numbers_are_a_view_without_a_source():
    """A map of coordinates that is made for every sample reads nothing and is no weight."""

    def coordinates(m: nn.Module, x: Tensor) -> Tensor:
        ramp = torch.linspace(-1, 1, 5).view(1, 1, 1, 5).expand(x.shape[0], 1, 4, 5)
        return m.conv(torch.cat([x, ramp], 1))

    network = read(coordinates, 2, 4, 5, conv=nn.Conv2d(3, 2, 1))
    assert network.opaque == ()
    assert [view.sources for view in network.views if view.operation == "expand"] == [()]


def test_weights_of_no_unit_are_named():
    """A table that is added at every place belongs to no unit: it stays, with its reason."""
    network = read(
        lambda m, x: m.fc(x + m.table), 3, 5, fc=nn.Linear(5, 2), table=torch.randn(3, 5)
    )
    (opaque,) = network.opaque
    assert (opaque.operation, opaque.bank) == ("add", "add")
    assert opaque.reason == "add reads table, weights that belong to no unit"
    assert [layer.name for layer in network.layers] == ["fc"]


class Attending(nn.Module):
    """Recurrence, normalisation and attention between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.recurrent = nn.LSTM(6, 5, batch_first=True)
        self.last = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(torch.relu(self.first(x)))
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.last(self.recurrent(x)[0])


def test_what_is_not_understood_is_listed_and_breaks_nothing():
    """Attention, recurrence and layer norm stay as they are; the layers around them are read."""
    torch.manual_seed(0)
    module = Attending().eval()
    network = read_network(module, torch.zeros(1, 3, 4))
    listed = {(o.operation, o.module_path) for o in network.opaque}
    assert listed == {
        ("layer_norm", "norm"),
        ("lstm", "recurrent"),
        ("scaled_dot_product_attention", "attention"),
        ("linear", "attention"),  # it reads all places of all samples as one axis
    }
    assert [layer.name for layer in network.layers] == ["first", "linear_1", "last"]
    x = torch.randn(5, 3, 4)
    replaced = network.replaced({la.name: layer_module(la) for la in network.layers})
    with torch.no_grad():
        assert (replaced(x) - module(x)).abs().max() <= 1e-5 * module(x).abs().max()
