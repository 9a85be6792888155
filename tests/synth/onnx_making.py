"""Small ONNX models for the tests, made without an exporter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LATEST = onnx.defs.onnx_opset_version()


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    weights: Mapping[str, np.ndarray],
    *,
    opset: int = LATEST,
) -> onnx.ModelProto:
    """A model; a size that is a text is free."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [value(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [value(name, TensorProto.FLOAT, ["N"]) for name in outputs],  # nobody reads their shapes
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 10
    return made


def saved(made: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def number(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float32)


@dataclass(frozen=True)
class Case:
    """One node: a shape is an input (with its batch), an array a constant, None left out."""

    operation: str
    given: Sequence[tuple[int, ...] | np.ndarray | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = LATEST
    outputs: int = 1

    @property
    def label(self) -> str:
        shape = next((g for g in self.given if isinstance(g, tuple)), ())
        settings = [f"{k}={v}" for k, v in self.attributes.items() if not hasattr(v, "dims")]
        return "-".join([self.operation, str(self.opset), "x".join(map(str, shape)), *settings])

    def arrays(self) -> dict[str, np.ndarray]:
        """Inputs by name, with values on both sides of every kink."""
        shapes = {f"x{i}": g for i, g in enumerate(self.given) if isinstance(g, tuple)}
        return {name: 2 * drawn(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}

    def model(self) -> onnx.ModelProto:
        names = ["" if g is None else f"x{i}" for i, g in enumerate(self.given)]
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.operation, names, outputs, "node", **self.attributes)
        inputs = {name: ("N", *a.shape[1:]) for name, a in self.arrays().items()}
        weights = {f"x{i}": g for i, g in enumerate(self.given) if isinstance(g, np.ndarray)}
        return model([node], inputs, outputs, weights, opset=self.opset)
