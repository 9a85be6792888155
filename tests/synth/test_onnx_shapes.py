"""ONNX graphs that compute shapes: sizes are folded or followed, and the batch stays free."""

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_graphs import GRAPHS, graph_of
from onnx_making import LATEST, drawn, floats, model, saved

from synth.formats import read_model

BATCH = torch.export.Dim("batch")


@pytest.mark.parametrize("opset", [15, LATEST])
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_that_compute_shapes(name: str, opset: int, tmp_path: Path) -> None:
    """The graph equals the reference, and can be exported with a free batch."""
    made = graph_of(name, opset)
    network, array = read_model(saved(made, tmp_path)), drawn(5, 2, 4, 3)
    (expected,) = ReferenceEvaluator(made).run(None, {"x": array})
    sample = torch.from_numpy(array)
    exported = torch.export.export(network, (sample[:2],), dynamic_shapes=({0: BATCH},)).module()
    for module in (network, exported):
        np.testing.assert_allclose(module(sample).detach(), expected, rtol=1e-5, atol=1e-5)


def test_old_upsample(tmp_path: Path) -> None:
    """Upsample, gone since operator set 10, repeats pixels."""
    for opset, extra, names in ((7, {"scales": [1.0, 1.0, 2.0, 3.0]}, "x"), (9, {}, "x k")):
        node = helper.make_node("Upsample", names.split(), ["y"], mode="nearest", **extra)
        weights = {"k": floats(1, 1, 2, 3)} if opset == 9 else {}
        made = model([node], {"x": ("N", 2, 4, 3)}, ["y"], weights, opset=opset)
        array = drawn(3, 2, 4, 3)
        found = read_model(saved(made, tmp_path))(torch.from_numpy(array))
        np.testing.assert_array_equal(found, array.repeat(2, 2).repeat(3, 3))
