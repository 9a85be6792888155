"""Random networks of everything that is read: a seed gives the graph, the weights and the names.

A graph grows from its inputs by steps drawn from `STEPS`; each takes values that it fits, and adds
one or several. What was not read in the end is an output.
"""

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LARGEST = 600  # numbers in a sample of any value
NAMES = ("class", "x", "output", "3x", "a b", "relu", "conv", "for", "class_", "layer", "output_1")


class RandomGraph(nn.Module):
    """The network of a seed; `shapes` are those of its inputs."""

    def __init__(self, seed: int, *, steps: int = 4) -> None:
        super().__init__()
        self.draw = random.Random(seed)
        torch.manual_seed(seed)
        self.shapes = [self._shape() for _ in range(self.draw.choice((1, 1, 1, 2)))]
        self.values = [torch.randn(3, *shape) for shape in self.shapes]
        self.calls: list[tuple[Call, tuple[int, ...]]] = []
        self.kinds: list[str] = []  # of the steps
        self.kept: list[tuple[str, tuple[int, ...]]] = []  # modules and shapes, to be used again
        self.eval()
        while len(self.calls) < steps:
            self._grow()
        read = {i for _, places in self.calls for i in places}
        self.outputs = [i for i in range(len(self.shapes), len(self.values)) if i not in read]
        self.form = self.draw.choice(("tuple", "dict"))
        self.values = []

    def forward(self, *inputs: Tensor) -> Any:
        values = list(inputs)
        for call, places in self.calls:
            values.extend(_several(call(self, *(values[i] for i in places))))
        found = [values[i] for i in self.outputs]
        if len(found) == 1:
            return found[0]
        return tuple(found) if self.form == "tuple" else {f"y{i}": y for i, y in enumerate(found)}

    def _shape(self) -> tuple[int, ...]:
        channels = self.draw.choice((2, 3, 4, 6))
        space = self.draw.choice(((), (9,), (6, 5), (7, 7), (8, 8)))
        return (channels, *space)

    def _grow(self) -> None:
        """One more step, if the drawn one fits a drawn value."""
        step = self.draw.choice(STEPS)
        place = self.draw.randrange(max(0, len(self.values) - 3), len(self.values))
        made = step(self, place)
        if made is None:
            return
        call, places = made
        with torch.no_grad():
            found = _several(call(self, *(self.values[i].clone() for i in places)))
        if all(0 < value[0].numel() <= LARGEST for value in found):
            self.calls.append((call, places))
            self.kinds.append(step.__name__)
            self.values.extend(found)

    def module(self, made: nn.Module, shape: tuple[int, ...]) -> "Call":
        """`made` as a child with a name of its own, in eval mode and with lively statistics."""
        name = self.draw.choice(NAMES)
        while name in self._modules or hasattr(nn.Module, name):
            name = f"{name}{self.draw.randrange(10)}"
        for part in made.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.get_buffer("running_mean").normal_()
                part.get_buffer("running_var").uniform_(0.5, 2)
                nn.init.uniform_(part.weight, 0.5, 1.5)
        self.add_module(name, made.eval())
        self.kept.append((name, shape))
        return lambda graph, x: graph.get_submodule(name)(x)

    def weight(self, *shape: int) -> str:
        """The name of a parameter of the network itself."""
        name = f"weight{len(self._parameters)}"
        self.register_parameter(name, nn.Parameter(torch.randn(shape) / 2))
        return name


Call = Callable[..., Any]
"""Of the graph, which may be a copy by then, and of the values that it reads."""
Made = tuple[Call, tuple[int, ...]] | None
Step = Callable[[RandomGraph, int], Made]


def plain(function: Callable[..., Any]) -> Call:
    """A function of values alone."""
    return lambda graph, *values: function(*values)


def _several(made: Any) -> list[Tensor]:
    return list(made) if isinstance(made, tuple | list) else [made]


def convolution(graph: RandomGraph, place: int) -> Made:
    """Any window, stride, padding and its mode, dilation and groups."""
    shape, draw = tuple(graph.values[place].shape[1:]), graph.draw
    if len(shape) == 1:
        return None
    channels, axes = shape[0], len(shape) - 1
    groups = draw.choice([g for g in (1, 1, 2, 3, channels) if channels % g == 0])
    window = tuple(draw.randint(1, 3) for _ in range(axes))
    how: dict[str, Any] = {"groups": groups, "bias": draw.random() < 0.7}
    how["dilation"] = draw.choice((1, 1, 2))
    if draw.random() < 0.3:
        how["padding"] = "same"
    else:
        how["stride"] = draw.choice((1, 1, 2))
        how["padding"] = tuple(draw.randint(0, k // 2) for k in window)
        if any(how["padding"]):
            how["padding_mode"] = draw.choice(("zeros", "zeros", "reflect", "replicate"))
    reach = [how["dilation"] * (k - 1) + 1 for k in window]
    if any(r > s for r, s in zip(reach, shape[1:], strict=True)):
        return None
    make = nn.Conv1d if axes == 1 else nn.Conv2d
    units = groups * draw.randint(1, max(1, 6 // groups))
    return graph.module(make(channels, units, window, **how), shape), (place,)


def functional_convolution(graph: RandomGraph, place: int) -> Made:
    shape = graph.values[place].shape[1:]
    if len(shape) != 3:
        return None
    kernel = graph.weight(3, shape[0], 1, 1)
    return lambda g, x: F.conv2d(x, g.get_parameter(kernel)), (place,)


def dense(graph: RandomGraph, place: int) -> Made:
    """A dense layer over the last axis, of any rank."""
    shape = tuple(graph.values[place].shape[1:])
    made = nn.Linear(shape[-1], graph.draw.randint(2, 6), bias=graph.draw.random() < 0.7)
    return graph.module(made, shape), (place,)


def dense_of_map(graph: RandomGraph, place: int) -> Made:
    shape = tuple(graph.values[place].shape[1:])
    flat = graph.values[place][0].numel()
    units = graph.draw.randint(2, 6)
    return graph.module(nn.Sequential(nn.Flatten(), nn.Linear(flat, units)), shape), (place,)


def dense_of_channels(graph: RandomGraph, place: int) -> Made:
    """A dense layer with its activation, between two moves of the channel axis."""
    shape = tuple(graph.values[place].shape[1:])
    if len(shape) == 1:
        return None
    layer = graph.module(nn.Linear(shape[0], 4), (*shape[1:], shape[0]))
    return lambda g, x: F.gelu(layer(g, x.movedim(1, -1))).transpose(1, -1), (place,)


def matrix_product(graph: RandomGraph, place: int) -> Made:
    """x @ W, with or without a sum, and W @ x."""
    shape = graph.values[place].shape[1:]
    if len(shape) == 2 and graph.draw.random() < 0.4:
        left = graph.weight(3, shape[0])
        return lambda g, x: g.get_parameter(left) @ x, (place,)
    matrix, bias = graph.weight(shape[-1], 4), graph.weight(4)
    if graph.draw.random() < 0.5:
        return lambda g, x: g.get_parameter(bias) + x @ g.get_parameter(matrix), (place,)
    return lambda g, x: torch.relu(
        torch.matmul(x, g.get_parameter(matrix)) + g.get_parameter(bias)
    ), (place,)


def norm(graph: RandomGraph, place: int) -> Made:
    shape = tuple(graph.values[place].shape[1:])
    make = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    return graph.module(make(shape[0]), shape), (place,)


def scaled(graph: RandomGraph, place: int) -> Made:
    """Arithmetic with one parameter a channel."""
    shape = graph.values[place].shape[1:]
    scale = graph.weight(shape[0], *(1,) * (len(shape) - 1))
    shift = graph.weight(1, shape[0], *(1,) * (len(shape) - 1))
    return lambda g, x: g.get_parameter(scale) * x - g.get_parameter(shift), (place,)


ACTIVATIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    *(F.relu, F.relu6, torch.sigmoid, torch.tanh, F.gelu, F.silu, F.hardswish, F.hardsigmoid),
    *(F.elu, F.selu, F.softplus, F.mish, lambda x: F.celu(x, 0.5)),
    lambda x: F.leaky_relu(x, 0.1),
    lambda x: F.hardtanh(x, -0.5, 0.7),
    lambda x: F.gelu(x, approximate="tanh"),
    lambda x: x.clamp(min=0),
    lambda x: x.clamp(max=0.5),
    lambda x: x * torch.sigmoid(x),
    lambda x: F.relu(x, inplace=True),
)


def activation(graph: RandomGraph, place: int) -> Made:
    return plain(graph.draw.choice(ACTIVATIONS)), (place,)


def prelu(graph: RandomGraph, place: int) -> Made:
    shape = tuple(graph.values[place].shape[1:])
    made = nn.PReLU(graph.draw.choice((1, shape[0])))
    nn.init.uniform_(made.weight, -0.5, 1.5)
    return graph.module(made, shape), (place,)


def pooling(graph: RandomGraph, place: int) -> Made:
    shape, draw = graph.values[place].shape[1:], graph.draw
    if len(shape) == 1 or min(shape[1:]) < 3:
        return None
    window, stride, ceil = draw.choice((2, 3)), draw.choice((1, 2)), draw.random() < 0.5
    two = len(shape) == 3
    kind = draw.choice(("max", "avg", "adaptive"))
    if kind == "max":
        pool = F.max_pool2d if two else F.max_pool1d
        return lambda g, x: pool(x, window, stride, 1, ceil_mode=ceil), (place,)
    if kind == "avg":
        mean = F.avg_pool2d if two else F.avg_pool1d
        return lambda g, x: mean(x, window, stride, 1, ceil, ceil), (place,)
    adaptive = F.adaptive_avg_pool2d if two else F.adaptive_avg_pool1d
    return lambda g, x: adaptive(x, window), (place,)


def padding(graph: RandomGraph, place: int) -> Made:
    shape = graph.values[place].shape[1:]
    if len(shape) == 1 or min(shape[1:]) < 3:
        return None
    ends = [graph.draw.randint(0, 2) for _ in range(2 * len(shape) - 2)]
    mode = graph.draw.choice(("constant", "reflect", "replicate", "circular"))
    return lambda g, x: F.pad(x, ends, mode=mode), (place,)


def resizing(graph: RandomGraph, place: int) -> Made:
    shape = graph.values[place].shape[1:]
    if len(shape) == 1:
        return None
    smooth = "bilinear" if len(shape) == 3 else "linear"
    mode = graph.draw.choice(("nearest", smooth))
    return lambda g, x: F.interpolate(x, scale_factor=2, mode=mode), (place,)


def reduction(graph: RandomGraph, place: int) -> Made:
    """Means over space, softmax over channels, norms."""
    axes = tuple(range(2, graph.values[place].dim()))
    found: list[Callable[[Tensor], Tensor]] = [lambda x: torch.softmax(x, 1)]
    if axes:
        keep = graph.draw.random() < 0.5
        found += [lambda x: x.mean(axes, keepdim=keep), lambda x: x.amax(axes, keepdim=keep)]
    return plain(graph.draw.choice(found)), (place,)


def shapes(graph: RandomGraph, place: int) -> Made:
    """Flatten, reshape, permute; shuffle, exchange and drop channels; pixels from channels."""
    shape = tuple(graph.values[place].shape[1:])
    found: list[Callable[[Tensor], Any]] = [
        lambda x: x.flatten(1),
        lambda x: x.chunk(2, 1),
        lambda x: x[:, 1:],
        lambda x: F.dropout(x, 0.5, training=False),
        lambda x: torch.cat(x.split([1, shape[0] - 1], 1)[::-1], 1),
    ]
    if len(shape) == 3:
        found.append(lambda x: x.permute(0, 2, 1, 3))
    if len(shape) == 2:
        found.append(lambda x: x.transpose(1, 2))
        found.append(lambda x: x.reshape(x.shape[0], shape[1], shape[0]))
    if len(shape) > 1 and shape[0] % 2 == 0:
        found.append(lambda x: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2))
    if len(shape) == 3 and shape[0] % 4 == 0:
        found.append(lambda x: F.pixel_shuffle(x, 2))
    if len(shape) == 1 and shape[0] > 3:
        found.append(lambda x: x.unsqueeze(2).expand(-1, -1, 3))
    return plain(graph.draw.choice(found)), (place,)


def squeeze_and_excite(graph: RandomGraph, place: int) -> Made:
    shape = tuple(graph.values[place].shape[1:])
    if len(shape) != 3:
        return None
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(shape[0], shape[0], 1), nn.Sigmoid())
    called = graph.module(gate, shape)
    return lambda g, x: x * called(g, x), (place,)


def joined(graph: RandomGraph, place: int) -> Made:
    """A sum, a product or a concatenation with another value."""
    shape = graph.values[place].shape
    equal = [i for i, v in enumerate(graph.values) if v.shape == shape]
    beside = [i for i, v in enumerate(graph.values) if v.shape[2:] == shape[2:]]
    beside = [i for i in beside if graph.values[i].dim() == len(shape)]
    if len(equal) > 1 and graph.draw.random() < 0.7:
        call = graph.draw.choice((torch.add, torch.mul, torch.maximum))
        return plain(call), (place, graph.draw.choice(equal))
    return lambda g, a, b: torch.cat([a, b], 1), (place, graph.draw.choice(beside))


def numbers(graph: RandomGraph, place: int) -> Made:
    """A map of numbers that depend on no input, beside the others."""
    shape = graph.values[place].shape[1:]
    if len(shape) != 2:
        return None
    ramp = (1, 1, shape[1])
    return lambda g, x: torch.cat(
        [x, torch.arange(shape[1], dtype=x.dtype).view(ramp).expand(x.shape[0], -1, -1)], 1
    ), (place,)


def again(graph: RandomGraph, place: int) -> Made:
    """A module that was called before."""
    shape = tuple(graph.values[place].shape[1:])
    names = [name for name, given in graph.kept if given == shape]
    if not names:
        return None
    name = graph.draw.choice(names)
    return lambda g, x: g.get_submodule(name)(x), (place,)


STEPS: tuple[Step, ...] = (
    *(convolution, convolution, convolution, convolution, functional_convolution),
    *(dense, dense, dense_of_map, dense_of_channels, matrix_product),
    *(norm, norm, scaled, activation, activation, activation, activation, prelu),
    *(pooling, padding, resizing, reduction, shapes, shapes, squeeze_and_excite),
    *(joined, joined, numbers, again, again),
)
