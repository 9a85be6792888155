"""ONNX models: what is read back equals the network that was written, layer by layer."""

import inspect
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_making import LATEST, drawn, floats, ints, model, number, saved
from torch import nn

from synth.errors import InputError
from synth.formats import read_model
from synth.network import read_network


def told(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_model(path)
    return "\n".join(caught.value.problems)


def trained() -> nn.Sequential:
    """A small network with weights and statistics that are all different."""
    torch.manual_seed(0)
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(2, 4, 3, padding=1, stride=2))
    network.add_module("bn1", nn.BatchNorm2d(4))
    network.add_module("act1", nn.ReLU())
    network.add_module("deep", nn.Sequential(nn.Conv2d(4, 4, 3, groups=2, bias=False), nn.PReLU(4)))
    network.add_module("flat", nn.Flatten())
    network.add_module("fc", nn.Linear(16, 3))
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) - 0.3 * (tensor.ndim > 1)
    return network.eval()


def written(network: nn.Module, *, batch: int | str = "N") -> onnx.ModelProto:
    """`trained` as an exporter writes it: nodes named by scope, weights by their paths."""
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    del state["bn1.num_batches_tracked"]
    state["deep.1.weight"] = state["deep.1.weight"].reshape(4, 1, 1)
    norm = [f"bn1.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "conv1.weight", "conv1.bias"], ["a"], "/conv1/Conv",
             pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3]),
        node("BatchNormalization", ["a", *norm], ["b"], "/bn1/BatchNormalization"),
        node("Relu", ["b"], ["c"], "/act1/Relu"),
        node("Conv", ["c", "deep.0.weight"], ["d"], "/deep/deep.0/Conv", group=2),
        node("PRelu", ["d", "deep.1.weight"], ["e"], "/deep/deep.1/PRelu"),
        node("Flatten", ["e"], ["f"], "/flat/Flatten"),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits"], "/fc/Gemm", transB=1),
    ]  # fmt: skip
    return model(nodes, {"image": (batch, 2, 8, 8)}, ["logits"], state)


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_round_trip(tmp_path: Path, batch: int | str) -> None:
    """Outputs, layers, their names and weights are those of the module; the batch is free."""
    original = trained()
    network = read_model(saved(written(original, batch=batch), tmp_path))
    sample = torch.from_numpy(drawn(5, 2, 8, 8))
    torch.testing.assert_close(network(sample), original(sample), rtol=0, atol=1e-6)
    ours, theirs = (read_network(module, sample[:1]) for module in (network, original))
    assert [layer.name for layer in ours.layers] == ["conv1", "deep.0", "fc"]
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        assert (a.name, a.geometry, a.heads) == (b.name, b.geometry, b.heads)
        np.testing.assert_allclose(a.weight, b.weight, rtol=1e-6)
        np.testing.assert_allclose(a.bias, b.bias, rtol=1e-6)
    assert not ours.opaque


def test_a_fixed_batch_is_freed_in_a_reshape(tmp_path: Path) -> None:
    """A flatten that an exporter wrote for one sample works for any number of them."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "fc"], ["y"]),
    ]
    weights = {"shape": ints(1, -1), "fc": drawn(12, 3)}
    array = drawn(5, 2, 6)
    for shape in (ints(1, -1), ints(1, 12)):
        made = model(nodes, {"x": (1, 2, 6)}, ["y"], weights | {"shape": shape})
        found = read_model(saved(made, tmp_path))(torch.from_numpy(array)).detach()
        np.testing.assert_allclose(found, array.reshape(5, 12) @ weights["fc"], rtol=1e-5)


def test_a_batch_that_cannot_be_freed_is_told(tmp_path: Path) -> None:
    """A graph that mixes or fixes samples is refused with what to do."""
    mixing = helper.make_node("ReduceMean", ["x", "axis"], ["y"])
    made = model([mixing], {"x": ("N", 4)}, ["y"], {"axis": ints(0)})
    assert "'y' depends on the batch that a sample is in. Export" in told(saved(made, tmp_path))
    fixing = helper.make_node("Reshape", ["x", "shape"], ["y"])
    made = model([fixing], {"x": (2, 4, 3)}, ["y"], {"shape": ints(4, 6)})
    assert "depends on the batch" in told(saved(made, tmp_path))


def test_biases_and_gates_are_read_as_one_operation(tmp_path: Path) -> None:
    """A bias added behind a layer is its bias, and x·sigmoid(x) is one activation."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "kernel:0"], ["a"], "net/conv/Conv2D"),
        node("Add", ["shift", "a"], ["b"]),
        node("Sigmoid", ["b"], ["gate"]),
        node("Mul", ["gate", "b"], ["c"]),
        node("Flatten", ["c"], ["d"]),
        node("MatMul", ["d", "W"], ["e"]),
        node("Add", ["e", "v"], ["f"]),
        node("HardSigmoid", ["f"], ["g"], alpha=1 / 6, beta=0.5),
        node("Mul", ["f", "g"], ["h"]),
        node("Gemm", ["h", "last"], ["i"], "last/Gemm"),
        node("Add", ["i", "row"], ["y"]),
    ]
    weights = {"kernel:0": drawn(3, 2, 3, 3), "shift": drawn(3, 1, 1), "W": drawn(12, 5)}
    weights |= {"v": drawn(5), "last": drawn(5, 2), "row": drawn(1, 2)}
    made = model(nodes, {"x": ("N", 2, 4, 4)}, ["y"], weights)
    network = read_network(read_model(saved(made, tmp_path)), torch.zeros(1, 2, 4, 4))
    assert [layer.name for layer in network.layers] == ["net.conv", "W", "last"]
    for layer, name in zip(network.layers, ("shift", "v", "row"), strict=True):
        np.testing.assert_array_equal(layer.bias, weights[name].flatten())
    kinds = {getattr(n.target, "__name__", "") for n in network.graph.nodes}
    assert {"silu.default", "hardswish.default"} <= kinds
    array = drawn(3, 2, 4, 4)
    (expected,) = ReferenceEvaluator(made).run(None, {"x": array})
    np.testing.assert_allclose(network(torch.from_numpy(array)), expected, rtol=1e-4, atol=1e-5)


def test_a_bias_that_others_read_stays_an_addition(tmp_path: Path) -> None:
    """What is read before the addition is not changed by it."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "W"], ["a"]),
        node("Add", ["a", "v"], ["b"]),
        node("Mul", ["a", "b"], ["y"]),
    ]
    weights = {"W": drawn(4, 3), "v": drawn(3)}
    network = read_model(saved(model(nodes, {"x": ("N", 4)}, ["y"], weights), tmp_path))
    array = drawn(2, 4)
    product = array @ weights["W"]
    expected = product * (product + weights["v"])
    np.testing.assert_allclose(network(torch.from_numpy(array)).detach(), expected, rtol=1e-5)


def test_a_scaled_bias_is_not_taken_in(tmp_path: Path) -> None:
    """beta scales the bias of a Gemm, not what is added behind it."""
    node = helper.make_node
    nodes = [node("Gemm", ["x", "W"], ["a"], beta=0.5), node("Add", ["a", "v"], ["y"])]
    weights = {"W": drawn(4, 3), "v": drawn(3)}
    network = read_model(saved(model(nodes, {"x": ("N", 4)}, ["y"], weights), tmp_path))
    array = drawn(2, 4)
    expected = array @ weights["W"] + weights["v"]
    np.testing.assert_allclose(network(torch.from_numpy(array)).detach(), expected, rtol=1e-5)


def test_several_inputs_and_outputs_keep_their_names(tmp_path: Path) -> None:
    """Outputs are a dict by name; inputs are parameters under names that Python allows."""
    node = helper.make_node
    nodes = [node("Add", ["left/x:0", "class"], ["sum"]), node("Mul", ["sum", "sum"], ["square"])]
    shapes = {"left/x:0": ("N", 3), "class": ("N", 3)}
    network = read_model(saved(model(nodes, shapes, ["square", "sum"], {}), tmp_path))
    assert list(inspect.signature(network.forward).parameters) == ["left_x_0", "_class"]
    found = network(torch.ones(2, 3), torch.full((2, 3), 2.0))
    assert list(found) == ["square", "sum"]
    assert found["square"].tolist() == [[9.0] * 3] * 2


def test_shared_weights_are_one_layer_called_twice(tmp_path: Path) -> None:
    """Two nodes with the same initializer hold one parameter."""
    node = helper.make_node
    nodes = [
        node("Gemm", ["x", "fc.weight", "fc.bias"], ["a"], "/fc/Gemm", transB=1),
        node("Relu", ["a"], ["b"]),
        node("Gemm", ["b", "fc.weight", "fc.bias"], ["y"], "/fc_1/Gemm", transB=1),
    ]
    weights = {"fc.weight": drawn(3, 3), "fc.bias": drawn(3)}
    network = read_model(saved(model(nodes, {"x": ("N", 3)}, ["y"], weights), tmp_path))
    assert [name for name, _ in network.named_parameters()] == ["fc.weight", "fc.bias"]


def test_functions_of_the_model_are_written_out(tmp_path: Path) -> None:
    """A local function is a part of the graph like any other."""
    body = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Neg", ["r"], ["b"])]
    opsets = [helper.make_opsetid("", LATEST), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "Fold", ["a"], ["b"], body, opsets[:1])
    call = helper.make_node("Fold", ["x"], ["y"], domain="mine")
    made = model([call], {"x": ("N", 3)}, ["y"], {})
    made.opset_import.append(opsets[1])
    made.functions.append(function)
    network = read_model(saved(made, tmp_path))
    assert network(torch.tensor([[-1.0, 0.5, 2.0]])).tolist() == [[-0.0, -0.5, -2.0]]


def test_awkward_names(tmp_path: Path) -> None:
    """Names that are methods, keywords, code or empty lead to a network that can be exported."""
    names = ["train.weight", "class.weight", "0.weight", "a b/c.weight", "x');import os#", ".", "é"]
    nodes, weights, last = [], {}, "x"
    for i, name in enumerate(names):
        nodes.append(helper.make_node("Gemm", [last, name], [f"y{i}"], transB=1))
        weights[name] = drawn(3, 3, seed=i)
        last = f"y{i}"
    network = read_model(saved(model(nodes, {"x": ("N", 3)}, [last], weights), tmp_path))
    array = drawn(2, 3)
    expected = array
    for name in names:
        expected = expected @ weights[name].T
    read = read_network(network, torch.zeros(1, 3))
    np.testing.assert_allclose(read(torch.from_numpy(array)), expected, rtol=1e-4)
    assert len({layer.name for layer in read.layers}) == len(names)


def test_everything_that_is_not_read_is_told_together(tmp_path: Path) -> None:
    """Each problem names its node or tensor, and all come in one error."""
    node = helper.make_node
    branch = helper.make_graph([node("Identity", ["x"], ["b"])], "b", [], [
        helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, ["N"])])  # fmt: skip
    nodes = [
        node("Magic", ["x"], ["a"], "spell"),
        node("FancyOp", ["a"], ["b"], domain="com.acme"),
        node("If", ["b"], ["y"], "choice", then_branch=branch, else_branch=branch),
    ]
    message = told(saved(model(nodes, {"x": ("N", 3)}, ["y"], {}), tmp_path))
    assert "node spell (Magic): unknown operator; read are Abs, Add" in message
    assert "node that makes 'b' (FancyOp): FancyOp is a custom operator of 'com.acme'" in message
    assert "node choice (If): its attribute 'then_branch' holds a graph" in message


def test_settings_that_are_not_read_are_told_together(tmp_path: Path) -> None:
    """Attributes and types beyond the table are listed by node before anything runs."""
    node = helper.make_node
    nodes = [
        node("LRN", ["x"], ["a"], "lrn", size=4),
        node("AveragePool", ["a"], ["b"], "pool", kernel_shape=[2, 2], dilations=[2, 2]),
        node("MaxPool", ["b"], ["y", "where"], "max", kernel_shape=[2, 2]),
    ]
    message = told(saved(model(nodes, {"x": ("N", 3, 9, 9)}, ["y"], {}), tmp_path))
    for expected in (
        "node lrn (LRN): its size 4 is even",
        "node pool (AveragePool): its window is dilated",
        "node max (MaxPool): its output 'where' is not read",
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("attributes", "given", "expected"),
    [
        ({"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, 2.0, "asymmetric"),
        ({"mode": "linear"}, 1.3, "which torch computes otherwise"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, 2.0, "tf_crop_and_resize"),
        ({"antialias": 1, "mode": "linear"}, 2.0, "its antialias is 1, and only 0 is read"),
    ],
)
def test_resizing_that_torch_does_otherwise(
    tmp_path: Path, attributes: dict, given: float, expected: str
) -> None:
    """No picture is resized by another rule than the one that is written."""
    nodes = [helper.make_node("Resize", ["x", "", "s"], ["y"], "up", **attributes)]
    weights = {"s": floats(1, 1, given, given)}
    message = told(saved(model(nodes, {"x": ("N", 1, 5, 5)}, ["y"], weights), tmp_path))
    assert "node up (Resize)" in message
    assert expected in message


def test_types_and_versions_that_are_not_read(tmp_path: Path) -> None:
    """Half precision, whole-number inputs and other operator sets say what to do."""
    node = helper.make_node("Add", ["x", "w"], ["y"])
    half = {"w": drawn(3).astype(np.float16)}
    made = model([node], {"x": ("N", 3)}, ["y"], half)
    assert "'w' is of type FLOAT16: convert the model to float32" in told(saved(made, tmp_path))
    made = model([node], {"x": ("N", 3)}, ["y"], {"w": drawn(3)})
    made.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    assert "its input 'x' is of type INT64, expected float32" in told(saved(made, tmp_path))
    for version in (6, LATEST + 1):
        made = model([node], {"x": ("N", 3)}, ["y"], {"w": drawn(3)}, opset=version)
        assert f"operator set {version}, expected one from 7 to {LATEST}" in told(
            saved(made, tmp_path)
        )


def test_values_of_the_input_decide_no_shape(tmp_path: Path) -> None:
    """A shape that is computed from activations is told by its node."""
    node = helper.make_node
    nodes = [
        node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT64),
        node("Reshape", ["x", "i"], ["y"], "odd"),
    ]
    message = told(saved(model(nodes, {"x": ("N", 3)}, ["y"], {}), tmp_path))
    assert "node odd (Reshape): its shape is computed from the values" in message


@pytest.mark.parametrize("ways", [["Sign"], ["Greater", "Cast"]])
def test_units_that_jump_are_read(ways: list[str], tmp_path: Path) -> None:
    """Signs, and comparisons with zero that are made numbers, are heads."""
    node, names = helper.make_node, ["h", *(f"h{i}" for i in range(len(ways)))]
    attributes = {"Cast": {"to": onnx.TensorProto.FLOAT}}
    beside = {"Greater": ["zero"]}
    steps = [
        node(way, [names[i], *beside.get(way, [])], [names[i + 1]], **attributes.get(way, {}))
        for i, way in enumerate(ways)
    ]
    last = node("Identity", [names[-1]], ["y"])
    nodes = [node("Gemm", ["x", "w"], ["h"], "dense", transB=1), *steps, last]
    made = model(nodes, {"x": ("N", 3)}, ["y"], {"w": drawn(5, 3), "zero": number(0.0)})
    (layer,) = read_network(read_model(saved(made, tmp_path)), torch.zeros(1, 3)).layers
    assert {head.op for head in layer.heads} == {"sign" if ways == ["Sign"] else "step"}


def test_constant_weights_may_be_computed(tmp_path: Path) -> None:
    """Weights that come out of constants are folded, and give units like any others."""
    node = helper.make_node
    nodes = [
        node("Constant", [], ["k"], value=numpy_helper.from_array(drawn(6, 4))),
        node("Reshape", ["k", "shape"], ["w"]),
        node("Transpose", ["w"], ["t"], perm=[1, 0]),
        node("MatMul", ["x", "t"], ["y"], "dense"),
    ]
    made = model(nodes, {"x": ("N", 3)}, ["y"], {"shape": ints(8, 3)})
    (layer,) = read_network(read_model(saved(made, tmp_path)), torch.zeros(1, 3)).layers
    assert layer.name == "dense"
    np.testing.assert_array_equal(layer.weight, drawn(6, 4).reshape(8, 3))
