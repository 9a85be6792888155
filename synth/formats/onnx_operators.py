"""The table of ONNX operators that are read: a row makes the torch function of a node."""

from collections.abc import Callable, Mapping

from synth.formats.onnx_dense import DENSE
from synth.formats.onnx_elementwise import ELEMENTWISE
from synth.formats.onnx_frames import FRAMES
from synth.formats.onnx_node import Call, Node
from synth.formats.onnx_shapes import SHAPES
from synth.formats.onnx_windows import WINDOWS

Builder = Callable[[Node], Callable | Call]

OPERATORS: Mapping[str, Builder] = {**DENSE, **ELEMENTWISE, **FRAMES, **SHAPES, **WINDOWS}

# What the constant inputs of an operation are called in the module that holds them.
ROLES: Mapping[str, tuple[str, ...]] = {
    "BatchNormalization": ("", "weight", "bias", "running_mean", "running_var"),
    "Conv": ("", "weight", "bias"),
    "ConvTranspose": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "InstanceNormalization": ("", "weight", "bias"),
    "LayerNormalization": ("", "weight", "bias"),
    "MatMul": ("", "weight", "bias"),
    "PRelu": ("", "weight"),
}
