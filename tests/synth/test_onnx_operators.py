"""Every row of the ONNX table gives what the standard's own reference implementation gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnx_cases import BY_HAND, CASES
from onnx_graphs import GRAPHS
from onnx_making import Case, saved

from synth.formats import read_model
from synth.formats.onnx_operators import OPERATORS


def outputs_of(made: onnx.ModelProto, arrays: dict[str, np.ndarray], folder: Path):
    """What the network that is read gives, and what the reference gives."""
    network = read_model(saved(made, folder))
    with torch.no_grad():
        found = network(*(torch.from_numpy(array) for array in arrays.values()))
    several = [found] if isinstance(found, torch.Tensor) else list(found.values())
    return [t.numpy() for t in several], ReferenceEvaluator(made).run(None, arrays)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_row(case: Case, tmp_path: Path) -> None:
    """One node with these attributes and inputs equals the reference in shape and value."""
    found, expected = outputs_of(case.model(), case.arrays(), tmp_path)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "expected"), BY_HAND, ids=lambda given: getattr(given, "label", "")
)
def test_row_by_hand(case: Case, expected: Callable, tmp_path: Path) -> None:
    """The standard holds where its reference implementation departs from it."""
    (array,) = case.arrays().values()
    with torch.no_grad():
        found = read_model(saved(case.model(), tmp_path))(torch.from_numpy(array))
    np.testing.assert_allclose(found.numpy(), expected(array), rtol=1e-5, atol=1e-5)


def test_every_row_has_a_case() -> None:
    """No row of the table is without a test, alone or in a graph."""
    alone = {case.operation for case in (*CASES, *(case for case, _ in BY_HAND))}
    inside = {node.op_type for nodes in GRAPHS.values() for node in nodes}
    assert set(OPERATORS) == alone | inside | {"Upsample"}  # its test is by hand
