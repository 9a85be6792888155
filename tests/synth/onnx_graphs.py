"""Graphs that compute with shapes and constants beside the network, as exporters write them."""

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx_making import drawn, ints, model


def node(operation: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operation, names, [output], **attributes)


FLOAT, INT = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
CHANNELS = [node("Shape", "x", "s"), node("Gather", "s one", "c")]
GRAPHS = {
    "flatten by the shape": [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n front", "n1"),
        node("Concat", "n1 minus", "target", axis=0),
        node("Reshape", "x target", "y"),
    ],
    "split in halves by the shape": [
        *CHANNELS,
        node("Div", "c two", "half"),
        node("Unsqueeze", "half front", "h"),
        node("Slice", "x h big one1", "y"),
    ],
    "shape from a start": [
        node("Shape", "x", "s", start=2),
        node("ReduceProd", "s", "area", keepdims=1),
        node("Concat", "keep2 area", "target", axis=0),
        node("Reshape", "x target", "y"),
    ],
    "expand by where and equal": [
        node("ConstantOfShape", "four", "ones", value=numpy_helper.from_array(ints(1))),
        node("Mul", "ones minus", "m"),
        node("Equal", "wide m", "open"),
        node("Where", "open ones wide", "target"),
        node("Expand", "x target", "y"),
    ],
    "comparisons as numbers": [
        node("Greater", "x a1", "above"),
        node("Less", "a1 x", "again"),
        node("Cast", "above", "f", to=FLOAT),
        node("Cast", "again", "g", to=FLOAT),
        node("Sum", "f g x", "y"),
    ],
    "expand where a size is greater": [
        node("ConstantOfShape", "four", "ones", value=numpy_helper.from_array(ints(1))),
        node("Greater", "wide ones", "open"),
        node("Where", "open wide ones", "target"),
        node("Less", "ones target", "larger"),
        node("Where", "larger target ones", "same"),
        node("Expand", "x same", "y"),
    ],
    "resize to twice the shape": [
        node("Shape", "x", "s"),
        node("Slice", "s two1 four1", "space"),
        node("Cast", "space", "f", to=FLOAT),
        node("Mul", "f double", "g"),
        node("Floor", "g", "h"),
        node("Cast", "h", "i", to=INT),
        node("Slice", "s front two1", "first"),
        node("Concat", "first i", "target", axis=0),
        node("Resize", "x - - target", "y"),
    ],
    "constants of all kinds": [
        node("Constant", "", "a", value_float=1.5),
        node("Constant", "", "b", value_floats=[1.0, -2.0]),
        node("Constant", "", "c", value=numpy_helper.from_array(drawn(2, 1, 1))),
        node("Constant", "", "k", value_ints=[0, -1]),
        node("Constant", "", "j", value_int=1),
        node("ConstantOfShape", "three1", "zeros"),
        node("Gather", "b j", "d"),
        node("Mul", "x a", "p"),
        node("Add", "p c", "q"),
        node("Mul", "q d", "r"),
        node("Add", "r zeros", "t"),
        node("Reshape", "t k", "y"),
    ],
    "the whole shape of a constant": [
        node("Shape", "c22", "s"),
        node("Transpose", "c22", "t"),
        node("Expand", "t s", "e"),
        node("Squeeze", "one1", "k"),
        node("Gather", "e k", "d"),
        node("ReduceSum", "d", "f", keepdims=0),
        node("Sub", "x f", "y"),
    ],
    "logarithms and roots": [
        node("Abs", "x", "a"),
        node("Add", "a a1", "p"),
        node("Log", "p", "l"),
        node("Sqrt", "p", "q"),
        node("Size", "c22", "n"),
        node("Cast", "n", "f", to=FLOAT),
        node("Mul", "q f", "r"),
        node("Add", "l r", "y"),
    ],
}
CONSTANTS = {
    "zero": np.array(0),
    "one": np.array(1),
    "two": np.array(2),
    "front": ints(0),
    "one1": ints(1),
    "two1": ints(2),
    "three1": ints(3),
    "four1": ints(4),
    "big": ints(2**62),
    "minus": ints(-1),
    "four": ints(4),
    "keep2": ints(0, 0),
    "wide": ints(-1, 2, -1, 3),
    "double": np.array(2.0, dtype=np.float32),
    "a1": np.array(0.5, dtype=np.float32),
    "c22": drawn(2, 2),
}


def graph_of(name: str, opset: int) -> onnx.ModelProto:
    """A model of input x (N, 2, 4, 3) and output y."""
    nodes = GRAPHS[name]
    used = {i for node in nodes for i in node.input}
    weights = {name: array for name, array in CONSTANTS.items() if name in used}
    return model(nodes, {"x": ("N", 2, 4, 3)}, ["y"], weights, opset=opset)
