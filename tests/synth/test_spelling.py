"""Every operation that we call a view is written in words that run without this package."""

import json
import math
import operator
from typing import Any

import pytest
import torch
from torch import fx

from synth.emission.graph import GraphWriter
from synth.nodes import schema_name
from synth.operations import VIEWS

aten = torch.ops.aten
MAP = torch.linspace(-2, 3, 192).view(2, 4, 4, 6)
SEQUENCE = torch.linspace(-2, 3, 48).view(2, 4, 6)
FLAT = torch.linspace(0.5, 3, 8).view(2, 4)

PLAIN = """relu relu6 leaky_relu hardtanh sigmoid tanh gelu silu hardsigmoid hardswish elu selu celu
softplus mish hardshrink softshrink sign abs neg exp log sqrt rsqrt square reciprocal sin cos erf
max min sum mean var std squeeze amax amin"""
SAME = "alias clone detach contiguous lift_fresh lift_fresh_copy"

CALLS: dict[str, tuple[Any, ...]] = {
    "leaky_relu(x, negative_slope=0.25)": (aten.leaky_relu.default, MAP, 0.25),
    "hardtanh(x, min_val=-0.5, max_val=0.25)": (aten.hardtanh.default, MAP, -0.5, 0.25),
    "gelu(x, approximate": (aten.gelu.default, MAP, {"approximate": "tanh"}),
    "elu(x, alpha=0.5)": (aten.elu.default, MAP, 0.5),
    "elu.default(x, 1.0, 2.0)": (aten.elu.default, MAP, 1.0, 2.0),
    "celu(x, alpha=0.5)": (aten.celu.default, MAP, 0.5),
    "softplus(x, beta=2.0)": (aten.softplus.default, MAP, 2.0),
    "softshrink(x, lambd=0.25)": (aten.softshrink.default, MAP, 0.25),
    "threshold(x, 0.5, 2.0)": (aten.threshold.default, MAP, 0.5, 2.0),
    "torch.clamp(x, min=0.0, max=1.0)": (aten.clamp.default, MAP, 0.0, 1.0),
    "torch.clamp(x, max=1.0)": (aten.clamp_max.default, MAP, 1.0),
    "torch.clamp(x, min=0.5)": (aten.clamp_min.default, MAP, 0.5),
    "x + y": (aten.add.Tensor, MAP, MAP[:, :1]),
    "aten.add.Tensor(x, y, alpha=2)": (aten.add.Tensor, MAP, MAP[:, :1], {"alpha": 2}),
    "x - 2.0": (aten.sub.Tensor, MAP, 2.0),
    "2.0 - x": (aten.rsub.Scalar, MAP, 2.0),
    "x * y": (aten.mul.Tensor, MAP, MAP),
    "x / -2.0": (aten.div.Tensor, MAP, -2.0),
    "aten.div.Tensor_mode": (aten.div.Tensor_mode, MAP, 2.0, {"rounding_mode": "floor"}),
    "torch.pow(x, 2)": (aten.pow.Tensor_Scalar, MAP, 2),
    "torch.pow(2.0, x)": (aten.pow.Scalar, 2.0, MAP),
    "torch.maximum(x, y)": (aten.maximum.default, MAP, 1 - MAP),
    "torch.minimum(x, y)": (aten.minimum.default, MAP, 1 - MAP),
    "max_pool1d(x, 2)": (aten.max_pool1d.default, SEQUENCE, [2], [2]),
    "max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)": (
        *(aten.max_pool2d.default, MAP, [3, 3], [2, 2], [1, 1], [1, 1], True),
    ),
    "max_pool2d(x, [2, 3], return_indices=True)": (
        *(aten.max_pool2d_with_indices.default, MAP, [2, 3], [2, 3]),
    ),
    "avg_pool1d(x, 3, stride=1, padding=1, count_include_pad=False)": (
        *(aten.avg_pool1d.default, SEQUENCE, [3], [1], [1], False, False),
    ),
    "avg_pool2d(x, 2, divisor_override=3)": (
        *(aten.avg_pool2d.default, MAP, [2, 2], [2, 2], [0, 0], False, True, 3),
    ),
    "adaptive_avg_pool1d(x, 2)": (aten.adaptive_avg_pool1d.default, SEQUENCE, [2]),
    "adaptive_avg_pool2d(x, [1, 3])": (aten.adaptive_avg_pool2d.default, MAP, [1, 3]),
    "adaptive_avg_pool2d(x, 1)": (aten._adaptive_avg_pool2d.default, MAP, [1, 1]),
    "adaptive_max_pool1d(x, 2, return_indices=True)": (
        *(aten.adaptive_max_pool1d.default, SEQUENCE, [2]),
    ),
    "adaptive_max_pool2d(x, 2, return_indices=True)": (
        *(aten.adaptive_max_pool2d.default, MAP, [2, 2]),
    ),
    "x.flatten(1)": (aten.flatten.using_ints, MAP, 1),
    "x.flatten(start_dim=1, end_dim=2)": (aten.flatten.using_ints, MAP, 1, 2),
    "x.unflatten(1, [2, -1])": (aten.unflatten.int, MAP, 1, [2, -1]),
    "x.view(8, -1)": (aten.view.default, MAP, [8, -1]),
    "x.view(8, 24)": (aten._unsafe_view.default, MAP, [8, 24]),
    "x.reshape(8, -1)": (aten.reshape.default, MAP, [8, -1]),
    "x.squeeze(0)": (aten.squeeze.dim, MAP[:1], 0),
    "x.squeeze([0, 1])": (aten.squeeze.dims, MAP[:1, :1], [0, 1]),
    "x.unsqueeze(1)": (aten.unsqueeze.default, MAP, 1),
    "x.permute(0, 2, 3, 1)": (aten.permute.default, MAP, [0, 2, 3, 1]),
    "x.transpose(1, -1)": (aten.transpose.int, MAP, 1, -1),
    "x.t()": (aten.t.default, FLAT),
    "x.movedim(1, -1)": (aten.movedim.int, MAP, 1, -1),
    "torch.flip(x, [2])": (aten.flip.default, MAP, [2]),
    "torch.roll(x, [1], dims=[3])": (aten.roll.default, MAP, [1], [3]),
    "x.expand(2, 4, 4, 6)": (aten.expand.default, MAP[:, :1], [2, 4, 4, 6]),
    "x.expand_as(y)": (aten.expand_as.default, MAP[:, :1], MAP),
    "x.repeat(1, 2, 1, 1)": (aten.repeat.default, MAP, [1, 2, 1, 1]),
    "torch.repeat_interleave(x, 2, dim=1)": (aten.repeat_interleave.self_int, MAP, 2, 1),
    "torch.chunk(x, 2, dim=1)": (aten.chunk.default, MAP, 2, 1),
    "torch.split(x, 3, dim=1)": (aten.split.Tensor, MAP, 3, 1),
    "torch.split(x, [1, 3], dim=1)": (aten.split_with_sizes.default, MAP, [1, 3], 1),
    "torch.tensor_split(x, 3, dim=1)": (aten.tensor_split.sections, MAP, 3, 1),
    "torch.unbind(x, dim=1)": (aten.unbind.int, MAP, 1),
    "return x[:, 1:3]": (aten.slice.Tensor, MAP, 1, 1, 3),
    "return x[:, :, ::2]": (aten.slice.Tensor, MAP, 2, 0, 2**63 - 1, 2),
    "return x[:, -2:]": (aten.slice.Tensor, MAP, 1, -2, 2**63 - 1),
    "return x\n": (aten.slice.Tensor, MAP, 1, 0, 2**63 - 1),
    "aten.slice.Tensor(x, -1, 1, 3)": (aten.slice.Tensor, MAP, -1, 1, 3),
    "return x[:, 2]": (aten.select.int, MAP, 1, 2),
    "aten.select.int(x, -1, 2)": (aten.select.int, MAP, -1, 2),
    "x.narrow(1, 1, 2)": (aten.narrow.default, MAP, 1, 1, 2),
    "torch.cat([x, y], dim=1)": (aten.cat.default, [MAP, MAP], 1),
    "torch.stack([x, y], dim=1)": (aten.stack.default, [MAP, MAP], 1),
    "return [x, y][1]": (operator.getitem, [MAP, FLAT], 1),
    "pixel_shuffle(x, 2)": (aten.pixel_shuffle.default, MAP, 2),
    "pixel_unshuffle(x, 2)": (aten.pixel_unshuffle.default, MAP, 2),
    "torch.channel_shuffle(x, 2)": (aten.channel_shuffle.default, MAP, 2),
    'pad(x, [1, 2, 0, 1], mode="circular")': (aten.pad.default, MAP, [1, 2, 0, 1], "circular"),
    "pad(x, [1, 2], value=0.5)": (aten.pad.default, MAP, [1, 2], "constant", 0.5),
    "pad(x, [1, 0, 2, 0], value=-1.0)": (aten.constant_pad_nd.default, MAP, [1, 0, 2, 0], -1.0),
    'pad(x, [1, 2], mode="reflect")': (aten.reflection_pad1d.default, SEQUENCE, [1, 2]),
    'pad(x, [1, 2, 0, 1], mode="reflect")': (aten.reflection_pad2d.default, MAP, [1, 2, 0, 1]),
    'pad(x, [1, 2], mode="replicate")': (aten.replication_pad1d.default, SEQUENCE, [1, 2]),
    'pad(x, [1, 2, 0, 1], mode="replicate")': (aten.replication_pad2d.default, MAP, [1, 2, 0, 1]),
    "interpolate(x, scale_factor=2.0)": (aten.upsample_nearest1d.vec, SEQUENCE, None, [2.0]),
    "interpolate(x, size=[5, 7])": (aten.upsample_nearest2d.vec, MAP, [5, 7], None),
    'interpolate(x, scale_factor=1.5, mode="linear")': (
        *(aten.upsample_linear1d.vec, SEQUENCE, None, False, [1.5]),
    ),
    'interpolate(x, size=8, mode="bilinear", align_corners=True)': (
        *(aten.upsample_bilinear2d.vec, MAP, [8, 8], True, None),
    ),
    'interpolate(x, size=[5, 7], mode="bicubic")': (
        *(aten.upsample_bicubic2d.default, MAP, [5, 7], False),
    ),
    "aten.upsample_nearest2d.default(x, [6, 9], 1.5, 1.5)": (
        *(aten.upsample_nearest2d.default, MAP, [6, 9], 1.5, 1.5),
    ),
    "x.to(torch.float64)": (aten.to.dtype, MAP, torch.float64),
    "return x.to(torch.float16)": (aten._to_copy.default, MAP, {"dtype": torch.float16}),
    "torch.mean(x, [2, 3], keepdim=True)": (aten.mean.dim, MAP, [2, 3], True),
    "torch.sum(x, [1])": (aten.sum.dim_IntList, MAP, [1]),
    "torch.amax(x, dim=[2])": (aten.amax.default, MAP, [2]),
    "torch.max(x, 1, keepdim=True)": (aten.max.dim, MAP, 1, True),
    "torch.min(x, 1)": (aten.min.dim, MAP, 1),
    "torch.max(x, y)": (aten.max.other, MAP, 1 - MAP),
    "torch.var(x, dim=[1], correction=0": (aten.var.correction, MAP, [1], {"correction": 0}),
    "torch.std(x, [1], unbiased=False)": (aten.std.dim, MAP, [1], False),
    "torch.linalg.vector_norm(x, ord=1": (aten.linalg_vector_norm.default, MAP, 1, [1]),
    "torch.linalg.vector_norm(x)": (aten.linalg_vector_norm.default, MAP),
    "logsigmoid(x)": (aten.log_sigmoid.default, MAP),
    "torch.logsumexp(x, [1])": (aten.logsumexp.default, MAP, [1]),
    "torch.softmax(x, 1)": (aten.softmax.int, MAP, 1),
    "torch.log_softmax(x, 1)": (aten.log_softmax.int, MAP, 1),
    "return torch.softmax(x, -1)": (aten._softmax.default, MAP, -1, False),
    "return torch.log_softmax(x, -1)": (aten._log_softmax.default, MAP, -1, False),
    "torch.sort(x, stable=True, dim=1)": (aten.sort.stable, MAP, {"stable": True, "dim": 1}),
    "aten.fft_fft.default(x)": (aten.fft_fft.default, MAP),
}
UNDECIDED = {"dropout", "feature_dropout", "alpha_dropout"}
ABSENT = {"softsign", "tanhshrink", "lp_pool1d", "lp_pool2d"}  # functions of other operations


CALLS |= {f"{name}(": (getattr(aten, name).default, MAP.abs() + 0.5) for name in PLAIN.split()}


def written(target: Any, *args: Any) -> tuple[str, list[torch.Tensor], Any]:
    """The text of a function that makes one call, its arguments, and what the call gives."""
    graph, tensors = fx.Graph(), []
    keywords = args[-1] if isinstance(args[-1], dict) else {}
    given = args[: len(args) - bool(keywords)]

    def node(value: Any) -> Any:
        if isinstance(value, list):
            return [node(v) for v in value]
        if not isinstance(value, torch.Tensor):
            return value
        tensors.append(value)
        return graph.placeholder("xy"[len(tensors) - 1])

    graph.output(graph.call_function(target, tuple(map(node, given)), keywords))
    lines = list(GraphWriter({}, {}, lambda n: n.name).statements(graph))
    names = ", ".join("xy"[: len(tensors)])
    return "\n".join([f"def forward({names}):", *lines, ""]), tensors, target(*given, **keywords)


@pytest.mark.parametrize("words", CALLS)
def test_calls(words: str) -> None:
    """The call is written in these words, and they compute the same, run with torch alone."""
    text, tensors, wanted = written(*CALLS[words])
    assert words in text
    scope: dict[str, Any] = {"torch": torch, "math": math, "json": json}
    exec(text, scope)
    got = scope["forward"](*tensors)
    several = isinstance(wanted, tuple | list)
    for a, b in zip(got, wanted, strict=True) if several else [(got, wanted)]:
        assert a.shape == b.shape and a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_every_view_is_tried() -> None:
    """No operation that the reader takes for a view is missing above."""
    targets = (call[0] for call in CALLS.values())
    names = {schema_name(fx.Graph().call_function(target)) for target in targets}
    assert names >= VIEWS - {*SAME.split(), *UNDECIDED, *ABSENT}


@pytest.mark.parametrize("name", SAME.split())
def test_identities(name: str) -> None:
    """What changes nothing is not written at all."""
    assert "return x\n" in written(getattr(aten, name).default, MAP)[0]


@pytest.mark.parametrize("name", sorted(UNDECIDED))
def test_dropout(name: str) -> None:
    """Dropout hands its input through, unless it is active."""
    target = getattr(aten, name).default
    assert "return x\n" in written(target, MAP, 0.5, False)[0]
    assert f"torch.ops.aten.{name}.default(x, 0.5, True)" in written(target, MAP, 0.5, True)[0]
