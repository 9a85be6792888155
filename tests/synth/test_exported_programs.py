"""Exported programs (.pt2): the same network comes back, or it is told why not."""

import copy
import inspect
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from archives import (
    Masked,
    exported,
    old_layout,
    program,
    rewritten,
    saved,
    saved_program,
    with_program,
)
from torch import nn

from synth.errors import InputError
from synth.formats import read_model
from synth.network import read_network


def told(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_model(path)
    return "\n".join(caught.value.problems)


@pytest.fixture
def sample() -> torch.Tensor:
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("write", [saved, old_layout], ids=["new layout", "old layout"])
def test_round_trip(tmp_path: Path, sample: torch.Tensor, write) -> None:
    """Outputs, layers, their names and weights are those of the module; the batch is free."""
    original = Masked().eval()
    network = read_model(write(original, tmp_path, sample[:2]))
    torch.testing.assert_close(network(sample), original(sample), rtol=0, atol=0)
    assert network.state_dict().keys() == original.state_dict().keys() | {"shift"}
    ours, theirs = (read_network(module, sample[:1]) for module in (network, original))
    assert {"features.0", "fc"} <= {layer.name for layer in ours.layers}
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        assert (a.name, a.geometry, a.heads) == (b.name, b.geometry, b.heads)
        np.testing.assert_array_equal(a.weight, b.weight)
        np.testing.assert_array_equal(a.bias, b.bias)


class Twice(nn.Module):
    """A module called twice, several outputs by name, a split, and sizes that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        twice = self.fc(torch.relu(self.fc(left)))
        a, b = torch.split(twice, [1, 3], dim=1)
        joined = torch.cat([b, a, right], dim=1).reshape(left.shape[0] * 2, -1)
        return {
            "joined": joined.reshape(left.shape[0], -1),
            "sum": torch.einsum("ni->n", twice)[:, None],
        }


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    """Inputs keep their names, outputs their keys, and tied calls their one weight."""
    original = Twice().eval()
    network = read_model(saved(original, tmp_path, torch.rand(2, 4), torch.rand(2, 2)))
    a, b = torch.rand(3, 4), torch.rand(3, 2)
    found, expected = network(a, b), original(a, b)
    assert list(inspect.signature(network.forward).parameters) == ["left", "right"]
    assert list(found) == ["joined", "sum"]
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)
    assert [name for name, _ in network.named_parameters()] == ["fc.weight", "fc.bias"]


def test_weights_in_one_pickle(tmp_path: Path, sample: torch.Tensor) -> None:
    """The weights of torch 2.8, a state dict of torch.save in the archive, are read as tensors."""
    original = Masked().eval()
    path, buffer = saved(original, tmp_path, sample[:2]), io.BytesIO()
    torch.save(dict(original.state_dict()), buffer)
    network = read_model(rewritten(path, {"data/weights/model.pt": buffer.getvalue()}))
    torch.testing.assert_close(network(sample), original(sample), rtol=0, atol=0)


def test_a_copy_has_weights_of_its_own(tmp_path: Path, sample: torch.Tensor) -> None:
    """A deep copy computes with its own weights, not with those of what it was copied from."""
    network = read_model(saved(Masked(), tmp_path, sample[:2]))
    other, before = copy.deepcopy(network), network(sample)
    with torch.no_grad():
        other.get_parameter("fc.bias").add_(1.0)
    torch.testing.assert_close(other(sample), before + 1.0)
    torch.testing.assert_close(network(sample), before, rtol=0, atol=0)


def test_odd_inputs_and_outputs_are_told(tmp_path: Path, sample: torch.Tensor) -> None:
    """Objects that go in, and numbers that come out, are no tensors."""
    path = saved(Masked(), tmp_path, sample[:2])
    changed = program(path)
    signature = changed["graph_module"]["signature"]
    signature["input_specs"][-1] = {
        "user_input": {"arg": {"as_custom_obj": {"name": "x", "class_fqn": "c"}}}
    }
    assert "its argument is custom_obj" in told(with_program(path, changed))
    changed = program(path)
    changed["graph_module"]["signature"]["output_specs"] = [{"user_output": {"arg": {"as_int": 3}}}]
    assert "an output of the program is 3, not a tensor" in told(with_program(path, changed))


def test_shared_storage_comes_back(tmp_path: Path) -> None:
    """Weights that are views of one tensor are stored once, and each comes back as itself."""
    module = nn.Linear(3, 3)
    module.register_buffer("rows", module.weight.detach()[1:])
    module.register_buffer("turned", module.weight.detach().t())

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) + x @ self.inner.turned + (x @ self.inner.rows.t()).sum(1)[:, None]

    x = torch.rand(4, 3)
    network = read_model(saved(Sum(), tmp_path, x))
    torch.testing.assert_close(network(x), Sum()(x))


def test_a_fixed_batch_is_told(tmp_path: Path, sample: torch.Tensor) -> None:
    """A program for one batch size says how to export one for any."""
    message = told(saved(Masked(), tmp_path, sample[:2], free=False))
    assert "its input 'x' has the fixed shape (2, 1, 8, 8)" in message
    assert 'torch.export.Dim("batch")' in message


def test_training_mode_is_told(tmp_path: Path) -> None:
    """A program that changes its own statistics says to call eval() first."""
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecated types
        changing = exported(network, torch.rand(2, 3)).run_decompositions({})
    path = saved_program(changing, tmp_path)
    assert "call module.eval() before the export" in told(path)


def test_operations_that_are_not_torch_s_own_are_told_together(
    tmp_path: Path, sample: torch.Tensor
) -> None:
    """Every node that is not read is listed with its operation."""
    path = saved(Masked(), tmp_path, sample[:2])
    changed = program(path)
    nodes = {node["name"]: node for node in changed["graph_module"]["graph"]["nodes"]}
    nodes["conv2d"]["target"] = "torch.ops.acme.fancy_conv.default"
    nodes["mul"]["target"] = "torch.ops.higher_order.cond"
    nodes["linear"]["target"] = "torch.ops.aten.no_such_thing.default"
    message = told(with_program(path, changed))
    assert "node 'conv2d': acme::fancy_conv is a custom operation" in message
    assert "node 'mul': torch.ops.higher_order.cond has a graph inside" in message
    assert "node 'linear': aten::no_such_thing.default is no operation" in message


def test_other_versions_are_told(tmp_path: Path, sample: torch.Tensor) -> None:
    """A program in another format says by what it was written and what to do."""
    path = saved(Masked(), tmp_path, sample[:2])
    changed = program(path)
    changed["schema_version"]["major"], changed["torch_version"] = 5, "2.3"
    message = told(with_program(path, changed))
    assert "was saved by torch 2.3, whose format is version 5, expected 8" in message
