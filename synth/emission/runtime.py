"""Functions that `decompiled.py` carries along: their source is copied there when it is needed.

They use nothing but torch, pathlib and json, no names of primitives (`max`, `abs`, …) and no
annotations, because a reader of the emitted file meets them without this package.
"""

import json
import math

import torch


def atom(read):
    """The value of read(0, 0), which can also be read at other offsets (dy, dx)."""
    value = read(0, 0)
    value.read = read
    return value


def channels(maps, wanted, *, window, stride=(1, 1), dilation=(1, 1), padding=(0, 0)):
    """Channels of maps (N, C, H, W) as (N, h, w), read where a sliding window has its offset 0.

    That is cell (k - 1) // 2 of the k cells of an axis. Outside the maps every channel is 0.
    """
    maps = torch.nn.functional.pad(maps, (padding[1], padding[1], padding[0], padding[0]))
    (top, height), (left, width) = (
        ((k - 1) // 2 * d, size - (k - 1) * d)
        for k, d, size in zip(window, dilation, maps.shape[2:], strict=True)
    )

    def reader(channel):
        def read(dy, dx):
            y, x = top + dy, left + dx
            return maps[:, channel, y : y + height : stride[0], x : x + width : stride[1]]

        return read

    return [atom(reader(channel)) for channel in wanted]


def stack(units, source, *size):
    """Units (N, *size) side by side in dimension 1; a constant fills its place."""
    shape = (source.shape[0], *size)
    return torch.stack([torch.as_tensor(unit).to(source).expand(shape) for unit in units], 1)


def head(function):
    """An activation function whose value remembers what it was applied to, for `pre`."""

    def remembering(x, **parameters):
        unit = torch.as_tensor(function(x, **parameters)).clone()
        vars(unit)["pre"] = x
        return unit

    return remembering


def pre(unit):
    """A unit of the same layer before its activation function."""
    return getattr(unit, "pre", unit)


def load_weights(path):
    """The tensors of a safetensors file: the header's length, the header as JSON, then numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    kinds = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    kinds |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"}
    kinds |= {"BOOL": "bool"}
    numbers = torch.frombuffer(bytearray(data[start:]), dtype=torch.uint8)
    weights = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            kind = getattr(torch, kinds[entry["dtype"]])
            weights[name] = numbers[first:last].clone().view(kind).reshape(entry["shape"])
    return weights


def joined(*parts):
    """All units (N, U, …) from parts: which units these are, and they side by side."""
    order = torch.tensor([unit for units, _ in parts for unit in units]).argsort()
    return torch.cat([values for _, values in parts], 1)[:, order]


def table(text, unit, shape):
    """Weights (R, *shape) and biases (R,) in multiples of `unit`: a line each, behind a name."""
    lines = (line.split() for line in text.strip().splitlines())
    rows = [[float(number) * unit for number in numbers] for _, *numbers in lines]
    numbers = torch.tensor(rows, dtype=torch.float64)
    return numbers[:, :-1].unflatten(1, shape), numbers[:, -1]


class Numpy:
    """torch by the names of numpy, for numbers as for tensors."""

    pi = math.pi

    def __getattr__(self, name):
        function = getattr(torch, name)
        return lambda *values: function(*map(float64, values))


def float64(value):
    """A number, or a truth, as a tensor; what is one stays."""
    if torch.is_tensor(value):
        return value
    return torch.tensor(value, dtype=torch.bool if isinstance(value, bool) else torch.float64)


def kernel(formula):
    """Weights (17, 17) from the positions down and right of the middle, in multiples of 2**-10."""
    steps = torch.arange(-8, 9, dtype=torch.float64)
    down, right = torch.meshgrid(steps, steps, indexing="ij")
    weights = formula(Numpy(), down, right) * torch.ones_like(down)
    return torch.round(weights * 2**10) / 2**10


def convolution(window, *, stride=(1, 1), dilation=(1, 1), padding=(0, 0)):
    """conv(w, maps) for a layer: a kernel w, cut to its window, slides over maps (N, H, W).

    The middle of w is at cell (k - 1) // 2 of the k cells of an axis. Outside the maps is 0.
    """

    reach = max((k - 1) * d for k, d in zip(window, dilation, strict=True))

    def conv(w, maps):
        middle = len(w) // 2 + reach
        rows, columns = (
            slice(middle - (k - 1) // 2 * d, middle + k // 2 * d + 1, d)
            for k, d in zip(window, dilation, strict=True)
        )
        weight = torch.nn.functional.pad(w, (reach, reach, reach, reach))[rows, columns].to(maps)
        maps = maps.reshape(len(maps), *[1] * (4 - maps.dim()), *maps.shape[1:])
        return torch.nn.functional.conv2d(
            maps, weight[None, None], None, stride, padding, dilation
        )[:, 0]

    return conv
