"""What the ONNX table must be able to do: one or more cases for every row."""

import numpy as np
from onnx_making import Case, drawn, floats, ints, number

MAP, ROW, FLAT = (3, 4, 9, 8), (3, 4, 9), (3, 6)


WEIGHTS = [drawn(6, 4, 3, 2, seed=1), drawn(6, seed=2)]
TALL = [drawn(6, 2, 3, 3, seed=1)]
LINE = [drawn(6, 4, 3, seed=1), drawn(6, seed=2)]
NORM = [drawn(4, seed=1), drawn(4, seed=2), drawn(4, seed=3), np.abs(drawn(4, seed=4)) + 0.1]

CONVOLUTIONS = [
    Case("Conv", [MAP, *WEIGHTS]),
    Case("Conv", [MAP, *WEIGHTS], {"strides": [2, 3], "pads": [1, 0, 1, 0]}),
    Case("Conv", [MAP, *WEIGHTS], {"pads": [2, 1, 0, 1], "dilations": [2, 1]}),
    Case("Conv", [MAP, *WEIGHTS], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 11),
    Case("Conv", [MAP, *WEIGHTS], {"auto_pad": "SAME_LOWER"}),
    Case("Conv", [MAP, WEIGHTS[0]], {"auto_pad": "VALID", "kernel_shape": [3, 2]}),
    Case("Conv", [MAP, *TALL], {"group": 2}),
    Case("Conv", [MAP, drawn(8, 1, 3, 3)], {"group": 4, "pads": [1, 1, 1, 1]}),
    Case("Conv", [ROW, *LINE], {"strides": [2], "pads": [1, 1]}),
    Case("Conv", [ROW, *LINE], {"auto_pad": "SAME_UPPER", "dilations": [2]}),
    Case("ConvTranspose", [MAP, drawn(4, 3, 2, 2), drawn(3)], {"strides": [2, 2]}),
    Case(
        "ConvTranspose",
        [MAP, drawn(4, 1, 3, 3)],
        {"group": 4, "strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
    Case("ConvTranspose", [ROW, drawn(4, 3, 3)], {"strides": [2], "dilations": [2]}),
]
POOLS = [
    Case("MaxPool", [MAP], {"kernel_shape": [2, 3]}),
    Case("MaxPool", [MAP], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("MaxPool", [MAP], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", [MAP], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [0, 0, 2, 1]}),
    Case("MaxPool", [MAP], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    Case("MaxPool", [MAP], {"kernel_shape": [2, 2], "dilations": [3, 2]}),
    Case("MaxPool", [ROW], {"kernel_shape": [3], "strides": [2]}, 11),
    Case("AveragePool", [MAP], {"kernel_shape": [2, 3], "strides": [2, 2]}),
    Case("AveragePool", [MAP], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    Case(
        "AveragePool",
        [MAP],
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1, "strides": [2, 2]},
    ),
    Case("AveragePool", [MAP], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    Case("AveragePool", [MAP], {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER"}, 11),
    Case("AveragePool", [MAP], {"kernel_shape": [3, 2], "pads": [0, 0, 1, 1]}),
    Case(
        "AveragePool", [MAP], {"kernel_shape": [3, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1}
    ),
    Case("AveragePool", [ROW], {"kernel_shape": [3], "strides": [3]}),
    Case("GlobalAveragePool", [MAP]),
    Case("GlobalAveragePool", [ROW]),
    Case("GlobalMaxPool", [MAP]),
    Case("LRN", [(4, 4, 9, 8)], {"size": 3}),
    Case("LRN", [(8, 8, 2, 2)], {"size": 5, "alpha": 0.2, "beta": 0.5, "bias": 2.0}),
]
DENSE = [
    Case("Gemm", [FLAT, drawn(5, 6), drawn(5)], {"transB": 1}),
    Case("Gemm", [FLAT, drawn(6, 5), drawn(5)]),
    Case("Gemm", [FLAT, drawn(6, 5)], {"alpha": 0.5}),
    Case("Gemm", [FLAT, drawn(5, 6), drawn(1, 5)], {"transB": 1, "alpha": 2.0, "beta": 0.25}),
    Case("Gemm", [FLAT, drawn(6, 5), number(3.0)]),
    Case("Gemm", [FLAT, drawn(6, 5), (3, 5)], {"beta": 0.5}),
    Case("MatMul", [FLAT, drawn(6, 5)]),
    Case("MatMul", [(3, 7, 6), drawn(6, 5)]),
    Case("MatMul", [(3, 4, 6), (3, 6, 5)]),
    Case("MatMul", [(3, 2, 4, 6), drawn(2, 6, 5)]),
    Case("BatchNormalization", [MAP, *NORM]),
    Case("BatchNormalization", [(3, 4), *NORM], {"epsilon": 0.1}),
    Case("InstanceNormalization", [MAP, *NORM[:2]], {"epsilon": 0.01}),
    Case("LayerNormalization", [(3, 5, 4), *NORM[:2]]),
    Case("LayerNormalization", [(3, 5, 4), drawn(5, 4)], {"axis": 1, "epsilon": 0.1}),
    Case("Softmax", [(3, 4, 5)]),
    Case("Softmax", [MAP], {"axis": 1}),
    Case("Softmax", [FLAT], {}, 11),
    Case("LogSoftmax", [(3, 4, 5)], {"axis": -2}),
]
ACTIVATIONS = [
    *[
        Case(name, [FLAT])
        for name in ["Abs", "Ceil", "Erf", "Exp", "Floor", "HardSwish", "Identity", "Mish", "Neg"]
    ],
    *[Case(name, [FLAT]) for name in ["Reciprocal", "Relu", "Sigmoid", "Softplus", "Softsign"]],
    Case("Tanh", [MAP]),
    Case("Relu", [MAP], {}, 7),
    Case("Celu", [FLAT], {"alpha": 0.5}),
    Case("Clip", [FLAT, number(-0.5), number(1.5)]),
    Case("Clip", [FLAT, number(0.0), None], {}, 11),
    Case("Clip", [FLAT, None, number(1.0)], {}, 13),
    Case("Clip", [FLAT]),
    Case("Clip", [FLAT], {"min": -1.0, "max": 0.5}, 7),
    Case("Elu", [FLAT]),
    Case("Elu", [FLAT], {"alpha": 0.3}),
    Case("Gelu", [FLAT]),
    Case("Gelu", [FLAT], {"approximate": "tanh"}),
    Case("HardSigmoid", [FLAT]),
    Case("HardSigmoid", [(3, 40)], {"alpha": 1 / 6, "beta": 0.5}),
    Case("LeakyRelu", [FLAT]),
    Case("LeakyRelu", [FLAT], {"alpha": 0.3}),
    Case("PRelu", [MAP, drawn(4, 1, 1)]),
    Case("PRelu", [MAP, floats(0.2)]),
    Case("PRelu", [FLAT, drawn(6)]),
    Case("PRelu", [MAP, drawn(8)]),
    Case("PRelu", [MAP, drawn(1, 4, 1, 1)], {}, 11),
    Case("Selu", [FLAT]),
    Case("Selu", [FLAT], {"alpha": 2.0, "gamma": 3.0}),
    Case("Swish", [FLAT]),
    Case("Swish", [FLAT], {"alpha": 1.5}),
    Case("ThresholdedRelu", [FLAT], {"alpha": 0.5}),
    Case("Dropout", [FLAT], {"ratio": 0.5}, 10),
    Case("Dropout", [FLAT, number(0.5), np.array(False)]),
    Case("Cast", [FLAT], {"to": 1}),
]
ARITHMETIC = [
    Case("Add", [MAP, MAP]),
    Case("Add", [MAP, drawn(4, 1, 1)]),
    Case("Add", [number(2.0), MAP], {}, 7),
    Case("Sub", [MAP, number(0.5)]),
    Case("Sign", [FLAT]),
    Case("Sub", [floats(1.0), MAP]),
    Case("Mul", [MAP, MAP]),
    Case("Mul", [MAP, drawn(1, 8)]),
    Case("Mul", [floats(-3.0), MAP]),
    Case("Div", [MAP, MAP]),
    Case("Div", [number(2.0), MAP]),
    Case("Div", [MAP, drawn(9, 8)]),
    Case("Pow", [MAP, number(2.0)]),
    Case("Pow", [number(2.0), MAP]),
    Case("Sum", [MAP, MAP, drawn(8)]),
    Case("Sum", [MAP]),
    Case("Min", [MAP, MAP, number(0.5)]),
    Case("Min", [number(0.5), MAP]),
    Case("Max", [MAP, drawn(8), MAP]),
    Case("Max", [MAP], {}, 11),
    Case("Max", [MAP, number(0.0)]),
    Case("Where", [np.array([True, False] * 3), FLAT, FLAT]),
]
PARTS = [
    Case("Concat", [MAP, MAP], {"axis": 1}),
    Case("Concat", [MAP, (3, 4, 2, 8)], {"axis": -2}),
    Case("Concat", [MAP], {"axis": 1}),
    Case("Split", [MAP], {"axis": 1, "split": [1, 3]}, 11, 2),
    Case("Split", [MAP, ints(1, 3)], {"axis": 1}, 13, 2),
    Case("Split", [MAP], {"axis": 1}, 13, 2),
    Case("Split", [MAP], {"axis": 2, "num_outputs": 2}, outputs=2),
    Case("Split", [MAP, ints(4)], {"axis": -3}),
    Case("Slice", [MAP, ints(1), ints(3), ints(1)]),
    Case("Slice", [MAP, ints(0, -5), ints(2**62, -1), ints(2, -1), ints(2, 1)], {}, 11),
    Case("Slice", [MAP, ints(-1), ints(-(2**62)), ints(3), ints(-1)]),
    Case("Slice", [MAP], {"starts": [1, 2], "ends": [4, 1000], "axes": [1, 3]}, 9),
    Case("Gather", [MAP, ints(2, 0, -1)], {"axis": 1}),
    Case("Gather", [MAP, np.array(-2)], {"axis": 2}),
    Case("Gather", [MAP, ints(0, 1, 2, 3).reshape(2, 2)], {"axis": 3}, 11),
    Case("DepthToSpace", [(3, 8, 2, 3)], {"blocksize": 2}),
    Case("DepthToSpace", [(3, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", [(3, 2, 4, 6)], {"blocksize": 2}),
]
SHAPES = [
    Case("Flatten", [MAP]),
    Case("Flatten", [FLAT]),
    Case("Flatten", [MAP], {"axis": -3}),
    Case("Reshape", [MAP, ints(0, -1)]),
    Case("Reshape", [MAP, ints(-1, 288)]),
    Case("Reshape", [MAP, ints(-1, 2, 2, 72)]),
    Case("Reshape", [MAP, ints(0, 0, 72)], {}, 11),
    Case("Transpose", [MAP], {"perm": [0, 3, 1, 2]}),
    Case("Squeeze", [(3, 1, 5, 1), ints(1, -1)]),
    Case("Squeeze", [(3, 1, 5, 1)], {"axes": [3]}, 11),
    Case("Squeeze", [(3, 1, 5, 1)]),
    Case("Unsqueeze", [FLAT, ints(1, -1)]),
    Case("Unsqueeze", [FLAT], {"axes": [2]}, 11),
    Case("Expand", [(3, 1, 8), ints(1, 9, 1)]),
    Case("Expand", [FLAT, ints(1)]),
    *[
        case
        for name in ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"]
        for case in [
            Case(name, [MAP, ints(2, 3)], {"keepdims": 0}),
            Case(name, [MAP, ints(-1)]),
            Case(name, [MAP], {"axes": [1]}, 11),
        ]
    ],
    Case("ReduceSum", [MAP], {"noop_with_empty_axes": 1}),
]
FRAMES = [
    Case("Pad", [MAP, ints(0, 0, 1, 2, 0, 0, 3, 0)]),
    Case("Pad", [MAP, ints(0, 1, 0, 0, 0, 2, 0, 1), number(1.5)], {}, 11),
    Case("Pad", [MAP, ints(1, 2, 3, 4), None, ints(-1, 2)], {"mode": "reflect"}),
    Case("Pad", [MAP, ints(0, 0, 1, 0, 0, 0, 2, 3)], {"mode": "edge"}),
    Case("Pad", [MAP, ints(0, 0, 1, 2, 0, 0, 1, 1)], {"mode": "wrap"}),
    Case("Pad", [ROW, ints(0, 0, 2, 0, 0, 1)], {"mode": "reflect"}),
    Case("Pad", [ROW], {"pads": [0, 0, 2, 0, 0, 1], "value": 2.0}, 9),
    Case("Resize", [MAP, None, floats(1, 1, 2, 2)]),
    Case("Resize", [MAP, None, None, ints(3, 4, 13, 5)]),
    Case("Resize", [MAP, None, floats(1, 1, 0.5, 0.5)]),
    *[
        Case(
            "Resize",
            [(3, 2, 5, 6), None, None, ints(3, 2, 8, 4)],
            {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding},
        )
        for coordinates in ["asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel"]
        for rounding in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
    ],
    Case("Resize", [MAP, None, floats(1, 1, 2, 2)], {"mode": "linear"}),
    Case(
        "Resize",
        [MAP, floats(), floats(), ints(3, 4, 18, 5)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        11,
    ),
    Case("Resize", [MAP, None, floats(1.5, 3)], {"mode": "linear", "axes": [3, 2]}),
    Case("Resize", [MAP, None, floats(1, 1, 2, 2)], {"mode": "cubic"}),
    Case("Resize", [ROW, None, floats(1, 1, 3)], {"mode": "linear"}),
    Case(
        "Resize",
        [ROW, None, floats(1, 1, 2)],
        {"coordinate_transformation_mode": "half_pixel_symmetric"},
        19,
    ),
]


def _joint_softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x)
    return powers / powers.sum((1, 2), keepdims=True)


def _normalised(x: np.ndarray) -> np.ndarray:
    gain, offset, mean, variance = (v[:, None] for v in NORM)
    return (x - mean) / np.sqrt(variance + 1e-5) * gain + offset


def _responses(x: np.ndarray) -> np.ndarray:
    squares = np.pad(x**2, [(0, 0), (1, 1), (0, 0), (0, 0)])
    sums = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    return x / (1 + 0.1 / 3 * sums) ** 0.75


# Where the reference does not do what the standard says, numpy does.
BY_HAND = [
    (Case("Softmax", [(3, 4, 5)], {"axis": 1}, 11), _joint_softmax),
    (Case("LogSoftmax", [(3, 4, 5)], {"axis": 1}, 11), lambda x: np.log(_joint_softmax(x))),
    (Case("BatchNormalization", [ROW, *NORM], {"momentum": 0.5}, 9), _normalised),
    (Case("GlobalMaxPool", [ROW]), lambda x: x.max(2, keepdims=True)),
    (Case("LRN", [MAP], {"size": 3, "alpha": 0.1}), _responses),
    (Case("Pad", [FLAT, ints(0, -1, 0, -2)]), lambda x: x[:, 1:-2]),
]
CASES = [*CONVOLUTIONS, *POOLS, *DENSE, *ACTIVATIONS, *ARITHMETIC, *PARTS, *SHAPES, *FRAMES]
