"""A layer's geometry, heads and weights say the same as torch's own operations."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from grammars.evaluation import evaluate
from grammars.grammar import load_grammar
from grammars.interpreters.torch import TorchAlgebra
from grammars.program import call, tap
from synth.layers import HEADS, Geometry, Head, Layer, as_maps, like
from synth.modules import apply_heads, layer_module


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Geometry, tuple[int, int, int, int], int]:
    """A geometry, a shape (N, C, H, W) that it fits, and a number of units."""
    geometry = Geometry(draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(0, 2)))
    reach = [d * (k - 1) + 1 for k, d in zip(geometry.window, geometry.dilation, strict=True)]
    height, width = (r + draw(st.integers(0, 5)) for r in reach)
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), height, width)
    return geometry, shape, draw(st.integers(1, 4))


def torch_convolution(geometry: Geometry, maps: torch.Tensor, weight: torch.Tensor):
    return F.conv2d(maps, weight, None, geometry.stride, geometry.padding, geometry.dilation)


def make_layer(**changes: Any) -> Layer:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "name": "conv1",
        "source": "input",
        "in_shape": (2, 5, 4),
        "out_shape": (3, 3, 2),
        "geometry": Geometry((3, 3)),
        "weight": rng.standard_normal((3, 18)),
        "bias": rng.standard_normal(3),
        "heads": (Head("relu"), Head("identity"), Head("tanh")),
    }
    return Layer(**(fields | changes))


@settings(max_examples=150)
@given(convolutions(), st.integers(0, 2**31))
def test_patches_times_weights_is_convolution(case, seed):
    """patches @ weight.T equals torch's convolution for any window, stride, dilation, padding."""
    geometry, shape, units = case
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(shape, generator=generator, dtype=torch.float64)
    weight = torch.randn(units, shape[1], *geometry.window, generator=generator).double()
    expected = torch_convolution(geometry, maps, weight)
    rows = geometry.patches(maps) @ weight.reshape(units, -1).T
    assert geometry.out_size(*shape[2:]) == tuple(expected.shape[2:])
    torch.testing.assert_close(rows, expected.permute(0, 2, 3, 1).reshape(-1, units))


@settings(max_examples=100)
@given(convolutions())
def test_columns_are_where_offsets_say(case):
    """Column (channel, dy, dx) of a patch is the source read at anchor + position * stride."""
    geometry, shape, _ = case
    maps = torch.arange(1.0, 1 + int(np.prod(shape))).reshape(shape).double()
    rows = geometry.patches(maps).reshape(shape[0], *geometry.out_size(*shape[2:]), -1)
    layer_columns = [(c, dy, dx) for c in range(shape[1]) for dy, dx in geometry.offsets()]
    y, x = (size - 1 for size in geometry.out_size(*shape[2:]))
    for column, (channel, dy, dx) in enumerate(layer_columns):
        row = geometry.anchor()[0] + y * geometry.stride[0] + dy
        col = geometry.anchor()[1] + x * geometry.stride[1] + dx
        inside = 0 <= row < shape[2] and 0 <= col < shape[3]
        expected = maps[0, channel, row, col].item() if inside else 0.0
        assert rows[0, y, x, column].item() == expected


def test_offset_zero_is_the_central_cell():
    """Offset 0 is cell (k-1)//2, so even windows reach further down and right."""
    assert Geometry((1, 4)).offsets() == ((0, -1), (0, 0), (0, 1), (0, 2))
    assert Geometry((3, 1), dilation=(2, 1)).offsets() == ((-2, 0), (0, 0), (2, 0))


def test_patches_keep_the_dtype():
    """Patches of float32 maps are float32, of float64 maps float64."""
    for dtype in (torch.float32, torch.float64):
        assert Geometry((2, 2)).patches(torch.zeros(1, 1, 3, 3, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 5, 6)])
def test_maps_view_and_return(shape):
    """`like` undoes `as_maps`, and both are views of the same memory."""
    values = torch.randn(shape)
    maps = as_maps(values)
    assert maps.dim() == 4
    assert maps.data_ptr() == values.data_ptr()
    assert torch.equal(like(maps, len(shape)), values)


def test_maps_of_other_ranks_are_refused():
    """A tensor without a channel axis, or with too many, is refused with its shape."""
    with pytest.raises(ValueError, match=r"\(3,\)"):
        as_maps(torch.zeros(3))
    with pytest.raises(ValueError, match="rank 2"):
        like(torch.zeros(1, 2, 3, 3), 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": (0, 3)}, r"window=\(0, 3\)"),
        ({"window": (3,)}, "two integers"),
        ({"window": (3, 3), "padding": (-1, 0)}, r"padding=\(-1, 0\)"),
        ({"window": (3, 3), "stride": (1.5, 1)}, r"stride=\(1.5, 1\)"),
    ],
)
def test_bad_geometry_is_refused(fields, message):
    """A geometry that no convolution has is refused with the value and its name."""
    with pytest.raises(ValueError, match=message):
        Geometry(**fields)


def test_window_larger_than_map_is_refused():
    """A window that does not fit in the padded map is an error, not an empty output."""
    with pytest.raises(ValueError, match="does not fit"):
        Geometry((5, 5)).out_size(3, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": np.zeros((3, 17))}, r"\(3, 17\), expected \(units, columns\) = \(3, 18\)"),
        ({"bias": np.zeros(2)}, r"bias has shape \(2,\)"),
        ({"heads": (Head("relu"),)}, "1 heads for 3 units"),
        ({"out_shape": (3, 3, 3)}, "out_shape"),
        ({"weight": np.full((3, 18), np.nan)}, "NaN"),
    ],
)
def test_layer_with_wrong_shapes_is_refused(changes, message):
    """A layer whose arrays do not fit its geometry is refused by name with both shapes."""
    with pytest.raises(ValueError, match=f"'conv1'.*{message}"):
        make_layer(**changes)


def test_layer_is_frozen_float32_data():
    """Weights are float32 and read-only: nobody changes what a proof speaks of."""
    layer = make_layer()
    assert layer.weight.dtype == layer.bias.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.name = "other"  # type: ignore[misc]


def test_columns_name_each_weight():
    """`columns` gives channel and offset of each weight, channel first."""
    columns = make_layer().columns()
    assert len(columns) == 18
    assert columns[:3] == ((0, -1, -1), (0, -1, 0), (0, -1, 1))
    assert columns[9] == (1, -1, -1)


def test_pre_of_numpy_and_torch_agree():
    """Pre-activations are float64 for numpy and of the patches' dtype for torch."""
    layer = make_layer()
    patches = layer.geometry.patches(torch.randn(2, 2, 5, 4, dtype=torch.float64))
    by_numpy = layer.pre(patches.numpy())
    assert by_numpy.dtype == np.float64
    np.testing.assert_allclose(layer.pre(patches).numpy(), by_numpy, atol=1e-12)
    assert layer.pre(patches.float()).dtype == torch.float32


def test_layer_module_is_pre_and_heads():
    """The module of a layer equals heads(pre(patches)) in float64."""
    layer = make_layer()
    maps = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    pre = layer.pre(layer.geometry.patches(maps)).reshape(2, 3, 2, 3).permute(0, 3, 1, 2)
    expected = apply_heads(layer.heads, pre)
    torch.testing.assert_close(layer_module(layer).double()(maps), expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_read_their_own_channels(groups):
    """A grouped layer is torch's grouped convolution, as a module, on patches and spread out."""
    weight = np.random.default_rng(1).standard_normal((8, 4 // groups * 4)).astype(np.float32)
    fields = {"in_shape": (4, 5, 4), "out_shape": (8, 4, 3), "bias": np.arange(8.0)}
    heads = (Head("relu"),) * 8
    layer = make_layer(
        **fields, geometry=Geometry((2, 2)), weight=weight, heads=heads, groups=groups
    )
    maps = torch.randn(2, 4, 5, 4, dtype=torch.float64)
    kernel = torch.from_numpy(weight).double().reshape(8, 4 // groups, 2, 2)
    expected = F.conv2d(maps, kernel, torch.arange(8.0).double(), groups=groups)
    torch.testing.assert_close(layer_module(layer).double()(maps), F.relu(expected))
    rows, patches = expected.permute(0, 2, 3, 1).reshape(-1, 8), layer.geometry.patches(maps)
    torch.testing.assert_close(layer.pre(patches), rows)
    wide = torch.from_numpy(layer.spread(range(8))).double()
    torch.testing.assert_close(patches @ wide.T + torch.arange(8.0), rows)


HEADS_AND_TORCH = [
    (Head("identity"), lambda a: a),
    (Head("relu"), F.relu),
    (Head("leaky_relu", (("slope", 0.125),)), lambda a: F.leaky_relu(a, 0.125)),
    (Head("leaky_relu", (("slope", 0.1),)), lambda a: F.leaky_relu(a, 0.1)),
    (Head("prelu", (("slope", 1.5),)), lambda a: F.prelu(a, a.new_tensor([1.5]))),
    (Head("prelu", (("slope", -0.5),)), lambda a: F.prelu(a, a.new_tensor([-0.5]))),
    (Head("clip", (("low", 0.0), ("high", 6.0))), F.relu6),
    (Head("clip", (("low", -1.0), ("high", 1.0))), F.hardtanh),
    (Head("sigmoid"), torch.sigmoid),
    (Head("tanh"), torch.tanh),
    (Head("gelu"), F.gelu),
    (Head("silu"), F.silu),
    (Head("hardsigmoid"), F.hardsigmoid),
    (Head("hardswish"), F.hardswish),
    (Head("step"), lambda a: (a > 0).to(a.dtype)),
    (Head("sign"), torch.sign),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_head_is_torch_activation(dtype):
    """A bank of one kind of head is torch's activation."""
    values = 5 * torch.randn(3, 4, 2, 2, dtype=dtype)
    for head, expected in HEADS_AND_TORCH:
        torch.testing.assert_close(apply_heads((head,) * 4, values), expected(values))


def test_each_head_is_a_primitive():
    """Every head can be said in the grammar, and means the same there."""
    grammar = load_grammar(installed=False)
    values = torch.linspace(-8, 8, 401, dtype=torch.float64)
    assert {head.op for head, _ in HEADS_AND_TORCH} == set(HEADS)
    for head, expected in HEADS_AND_TORCH[1:]:
        program = call(head.op, tap("a", 0), **dict(head.params))
        found = evaluate(program, TorchAlgebra(lambda *_: values), grammar)
        torch.testing.assert_close(found, expected(values))


@settings(max_examples=50)
@given(st.lists(st.sampled_from(range(len(HEADS_AND_TORCH))), min_size=1, max_size=12))
def test_mixed_heads_act_unit_by_unit(picks):
    """Heads of any mixture act on their own channel only, in maps and in rows alike."""
    values = 5 * torch.randn(2, len(picks), 3, 2, dtype=torch.float64)
    done = apply_heads([HEADS_AND_TORCH[i][0] for i in picks], values)
    for unit, pick in enumerate(picks):
        torch.testing.assert_close(done[:, unit], HEADS_AND_TORCH[pick][1](values[:, unit]))
    rows = apply_heads([HEADS_AND_TORCH[i][0] for i in picks], values[:, :, 0, 0])
    torch.testing.assert_close(rows, done[:, :, 0, 0])


def test_unknown_head_or_parameter_is_refused():
    """A head outside the table, or with other parameters, is refused with what it takes."""
    with pytest.raises(ValueError, match="'swish' is unknown"):
        Head("swish")
    with pytest.raises(ValueError, match="slope"):
        Head("leaky_relu")
