"""A run of honest certificates, written once for all tests that corrupt it."""

import json

import pytest
from certified import HEADS, Run, honest_layer
from safetensors.numpy import load

from oracles.certificate import write_certificates


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The files of two layers, every head among their units; not to be changed."""
    place = tmp_path_factory.mktemp("run")
    layers, units = zip(
        honest_layer("conv1", 1), honest_layer("block.2", 2, HEADS[:2]), strict=True
    )
    write_certificates(place, layers, [unit for group in units for unit in group])
    return place


@pytest.fixture
def run(folder):
    """The same, read and free to be changed."""
    document = json.loads((folder / "certificates.json").read_text())
    tensors = load((folder / "units.safetensors").read_bytes())
    return Run(document, {name: tensor.copy() for name, tensor in tensors.items()})
